"""How far forecasts are off, in units that are of no data's own.

Shapes: `N` windows, `H` steps ahead, `K` targets; what nobody knows is NaN and counts for nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor


def scaled_errors(forecast: Tensor, future: Tensor, scale: Tensor) -> Tensor:
    """`(N, H, K)` absolute errors over `scale (N, K)`; NaN where that is not above 0.

    Their mean is the mean absolute scaled error (MASE) of Hyndman and Koehler (2006), whose scale is the mean
    absolute change over a season in the history.

    >>> import torch
    >>> scaled_errors(torch.tensor([[[3.0]]]), torch.tensor([[[1.0]]]), torch.tensor([[4.0]])).item()
    0.5
    """
    usable = scale.where(scale > 0, float("nan"))[:, None]
    return (forecast - future).abs() / usable


def smape(forecast: Tensor, future: Tensor) -> float:
    """The symmetric mean absolute percentage error of the M4 competition, from 0 to 200; 0 where both are 0.

    >>> import torch
    >>> smape(torch.tensor([3.0, 0.0]), torch.tensor([1.0, 0.0]))
    50.0
    """
    size = forecast.abs() + future.abs()
    each = 200 * (forecast - future).abs() / size.where(size != 0, 1)
    return float(each.nanmean())


def pinball(off: Tensor, levels: Sequence[float]) -> Tensor:
    """The loss of quantiles: `off (..., Q)` is the value minus each quantile, `levels` has Q.

    >>> import torch
    >>> pinball(torch.tensor([2.0, -2.0]), [0.75, 0.75]).tolist()
    [1.5, 0.5]
    """
    share = off.new_tensor(levels)
    return (share * off).maximum((share - 1) * off)


def coverage(future: Tensor, low: Tensor, high: Tensor) -> float:
    """The share of values that lie within their intervals.

    >>> import torch
    >>> coverage(torch.tensor([1.0, 3.0]), torch.zeros(2), torch.full((2,), 2.0))
    0.5
    """
    known = ~future.isnan()
    inside = (future >= low) & (future <= high) & known
    count = int(known.sum())
    return int(inside.sum()) / count if count else float("nan")
