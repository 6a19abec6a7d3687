"""Numbers and texts of NumPy as Python's own, wherever options are given."""

from __future__ import annotations

import sys
from typing import Any


def plain(value: Any) -> Any:
    """A value with the scalars of NumPy in it as Python's, and its arrays as lists; others stay.

    >>> import numpy as np
    >>> plain({"steps": np.int64(5), "widths": np.array([8, 16]), "name": "a"})
    {'steps': 5, 'widths': [8, 16], 'name': 'a'}
    """
    if isinstance(value, dict):
        return {plain(key): plain(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(map(plain, value))
    numpy = sys.modules.get("numpy")  # Not imported for this: without it there is nothing of it.
    if numpy is None:
        return value
    if isinstance(value, numpy.generic):
        return value.item()
    return value.tolist() if isinstance(value, numpy.ndarray) else value
