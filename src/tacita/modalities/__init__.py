"""Kinds of samples: a folder each, which owns all that is particular to it.

`tacita.data.modality` has the contract; `load.py` is the one way by which anything is read.
"""
