"""Samples as flat rows of numbers, for methods that know nothing of images, series or categories."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tacita.data.batch import InputSpec


def flat_rows(x: Tensor, spec: InputSpec, *, one_hot: bool = True) -> Tensor:
    """`(B, ...)` normalised samples to `(B, R)`; a table's categories become a column a value.

    A code that is none of a column's categories is zeros.

    >>> spec = InputSpec("tables", (2,), cardinalities=(0, 3))
    >>> flat_rows(torch.tensor([[0.5, 2.0], [0.5, -1.0]]), spec).tolist()
    [[0.5, 0.0, 0.0, 1.0], [0.5, 0.0, 0.0, 0.0]]
    """
    if not one_hot or not any(spec.cardinalities):
        return x.flatten(1)
    columns = [
        (x[:, i : i + 1] == torch.arange(size, device=x.device)).to(x.dtype)
        if size
        else x[:, i : i + 1]
        for i, size in enumerate(spec.cardinalities)
    ]
    return torch.cat(columns, 1)


def row_width(spec: InputSpec, *, one_hot: bool = True) -> int:
    """R of `flat_rows`, without any sample.

    >>> row_width(InputSpec("tables", (2,), cardinalities=(0, 3)))
    4
    """
    if not one_hot or not any(spec.cardinalities):
        return math.prod(spec.shape)
    return sum(size or 1 for size in spec.cardinalities)
