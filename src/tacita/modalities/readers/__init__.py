"""Formats to samples: one module a kind of file, each strict, bounded and free of code execution.

Every reader gives `Samples`; `tacita.modalities.load` turns these into a `Dataset`.
"""
