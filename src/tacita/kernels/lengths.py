"""Loops over time in a program that is exported for any length: they are unrolled for the longest.

How many turns a scan or a power by squaring takes depends on the length, and an exported program has
no such loop. So it does what the longest sequence needs, which the limits of the dimension say.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.fx.experimental.symbolic_shapes import statically_known_true
from torch.nn import functional

from tacita.errors import ConfigError

LONGEST = 2**30
"""A dimension without an upper limit is refused: beyond this, none is meant."""


def is_free(length: int) -> bool:
    """Whether `length` is free in the program that is being exported.

    >>> is_free(8)
    False
    """
    return isinstance(length, torch.SymInt) and torch.compiler.is_exporting()


def enough(length: int) -> int:
    """`length` itself or, where it is free, the first power of two that is longer than the longest.

    Longer: where the two could be equal, the exporter would ask whether they are, and fix the length.

    Raises `ConfigError` where it is free and has no upper limit.

    >>> enough(13)
    13
    """
    if not is_free(length):
        return length
    longest = 1
    while not statically_known_true(length < longest):
        longest *= 2
        if longest > LONGEST:
            raise ConfigError(
                "a scan or a power of a matrix is unrolled in an exported program, and the number of "
                "steps has no upper limit.",
                remedy='Give it one, such as torch.export.Dim("steps", max=4096), or leave it fixed.',
            )
    return longest


def lengthened(x: Tensor, dim: int) -> Tensor:
    """`x` with zeros after its steps, along `dim`, where their number is free; else `x` itself.

    >>> lengthened(torch.ones(1, 3), 1)
    tensor([[1., 1., 1.]])
    """
    length = x.shape[dim]
    if not is_free(length):
        return x
    return functional.pad(x, (*[0, 0] * (x.ndim - 1 - dim), 0, enough(length) - length))
