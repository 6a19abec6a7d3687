"""How the loops of kernels are compiled for a CPU, by numba: cached on disk, and without the GIL.

A part that is called from an innermost loop has to be inlined for the loop to become vector
instructions. Imported only by modules that are imported when a compiled loop first runs.

Where no folder for the cache can be written to, loops are compiled in memory, anew in each process.

The cache on disk looks at the file of a loop alone: who changes a part that is inlined from another
file, such as `exponentials.py`, has to delete the `*.nbi` files of `__pycache__`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

import numpy as np
from numba import njit
from torch import Tensor

Array = np.ndarray[Any, Any]
Number = Any  # one float32 or float64
F = TypeVar("F", bound=Callable[..., Any])

MULTIPLY_ADD = frozenset({"contract"})
"""Multiply and add may be one instruction. Nothing may take numbers for finite: a NaN stays one."""
ANY_ORDER = MULTIPLY_ADD | {"reassoc"}
"""Sums may be taken in any order too."""


def array(tensor: Tensor) -> Array:
    """The numbers one after another, as numpy sees them; a copy only where they lie otherwise."""
    return tensor.detach().resolve_conj().resolve_neg().contiguous().numpy()


def compiled(function: F, fastmath: frozenset[str] = MULTIPLY_ADD) -> F:
    """A loop to call from Python; dividing by zero raises nothing, which would be a branch."""
    options = {"nogil": True, "error_model": "numpy"}
    try:
        return njit(cache=True, fastmath=set(fastmath), **options)(function)
    except RuntimeError as error:
        # numba looks for a place when a function is decorated, and has no error of its own for none.
        if "cannot cache" not in str(error):
            raise
        _say_once()
        return njit(fastmath=set(fastmath), **options)(function)


@cache
def _say_once() -> None:
    logging.getLogger("tacita").warning(
        "Compiled loops cannot be kept: no folder for numba's cache can be written to, so they are"
        " compiled anew in each process. Set NUMBA_CACHE_DIR to a folder that can."
    )


def inlined(function: F, fastmath: frozenset[str] = MULTIPLY_ADD) -> F:
    """A part of compiled functions."""
    return njit(forceinline=True, fastmath=set(fastmath), error_model="numpy")(function)


def summing(function: F) -> F:
    """As `inlined`, and its sums may be taken in any order."""
    return inlined(function, ANY_ORDER)
