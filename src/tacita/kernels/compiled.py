"""How the loops of kernels are compiled for a CPU, by numba: cached on disk, and without the GIL.

A part that is called from an innermost loop has to be inlined for the loop to become vector
instructions. Imported only by modules that are imported when a compiled loop first runs.

The cache on disk looks at the file of a loop alone: who changes a part that is inlined from another
file, such as `exponentials.py`, has to delete the `*.nbi` files of `__pycache__`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numba import njit

Array = np.ndarray[Any, Any]
Number = Any  # one float32 or float64
F = TypeVar("F", bound=Callable[..., Any])

MULTIPLY_ADD = frozenset({"contract"})
"""Multiply and add may be one instruction. Nothing may take numbers for finite: a NaN stays one."""
ANY_ORDER = MULTIPLY_ADD | {"reassoc"}
"""Sums may be taken in any order too."""


def compiled(function: F, fastmath: frozenset[str] = MULTIPLY_ADD) -> F:
    """A loop to call from Python; dividing by zero raises nothing, which would be a branch."""
    options = {"cache": True, "nogil": True, "error_model": "numpy"}
    return njit(fastmath=set(fastmath), **options)(function)


def inlined(function: F, fastmath: frozenset[str] = MULTIPLY_ADD) -> F:
    """A part of compiled functions."""
    return njit(forceinline=True, fastmath=set(fastmath), error_model="numpy")(function)


def summing(function: F) -> F:
    """As `inlined`, and its sums may be taken in any order."""
    return inlined(function, ANY_ORDER)
