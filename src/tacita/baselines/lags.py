"""Every time step of a series as one row of numbers: what stands around it, and what it varies about."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

LAGS = (0, 1, 2, 4, 8, 16)
"""Steps before and after whose values are in a row; 0 is the step itself."""
WIDTHS = (9, 33)
"""Of the windows about a step whose mean and deviation are in a row."""


def lag_rows(x: Tensor, lengths: Tensor | None = None) -> Tensor:
    """`(B, L, R)` rows of the steps of series `(B, L, C)`.

    Beyond either end of a series stands its first or last value; windows are cut there.

    >>> lag_rows(torch.arange(4.0).view(1, 4, 1))[0, :, :3].tolist()  # itself, one before, one after
    [[0.0, 0.0, 1.0], [1.0, 0.0, 2.0], [2.0, 1.0, 3.0], [3.0, 2.0, 3.0]]
    """
    count, longest, _ = x.shape
    last = torch.full((count,), longest) if lengths is None else lengths
    last = (last - 1)[:, None]
    steps = torch.arange(longest)
    columns = []
    for lag in LAGS:
        for shift in (0,) if lag == 0 else (-lag, lag):
            at = torch.minimum((steps + shift).clamp_min(0).expand(count, -1), last)
            columns.append(x.gather(1, at[:, :, None].expand_as(x)))
    valid = (steps <= last)[:, :, None].double()
    # About each series' own mean, so that sums of squares keep their digits.
    centre = (x * valid).sum(1, keepdim=True) / valid.sum(1, keepdim=True)
    apart = (x - centre) * valid
    for width in WIDTHS:
        size = _sums(valid, width).clamp_min(1)
        mean = _sums(apart, width) / size
        square = _sums(apart.square(), width) / size
        columns += [mean + centre, (square - mean.square()).clamp_min(0).sqrt()]
    return torch.cat([column.float() for column in columns], 2)


def row_width(channels: int) -> int:
    """How many numbers a row has.

    >>> row_width(1)
    15
    """
    return channels * (2 * len(LAGS) - 1 + 2 * len(WIDTHS))


def _sums(values: Tensor, width: int) -> Tensor:
    """`(B, L, C)` sums over windows of an odd width about each step, in float64."""
    half = width // 2
    total = functional.pad(values.double(), (0, 0, half + 1, half)).cumsum(1)
    return total[:, width:] - total[:, :-width]
