"""Views of sensors with rates of their own: each channel transformed by itself, at its own rate.

The transformations of Um et al., "Data Augmentation of Wearable Sensor Data for Parkinson's Disease
Monitoring using Convolutional Neural Networks", 2017, as Corponi et al., 2024, choose among them. A
row of a recording is a second, so views of rows would tear the signals within a second apart.

Shapes: `x (R, T)` is a signal a row, of which the first `lengths (R,)` samples are valid.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tacita.data.batch import Batch, InputSpec
from tacita.modalities.series.rates import (
    RateGroup,
    channel_rates,
    rate_groups,
    to_rows,
    to_signals,
)
from tacita.processes import rand, randint, randn, uneven
from tacita.values import length_mask

SIGMA, KNOTS, PIECES, SNR = 0.2, 4, 4, 1.5
_CURVE = 256
"""Points at which a smooth curve is kept; between them it is a line."""


def magnitude_warp(x: Tensor, lengths: Tensor) -> Tensor:
    """Times a smooth curve around 1: a cubic spline through 4 knots and both ends, each N(1, 0.2)."""
    return x * read(smooth_curves(x), relative_time(x, lengths) * (_CURVE - 1))


def time_warp(x: Tensor, lengths: Tensor) -> Tensor:
    """Read at a speed that is such a curve, from the first valid sample to the last."""
    speed = smooth_curves(x).clamp_min(0.1)
    time = (speed[:, 1:] + speed[:, :-1]).cumsum(1)
    time = torch.cat([torch.zeros_like(time[:, :1]), time], 1) / time[:, -1:]
    warped = read(time, relative_time(x, lengths) * (_CURVE - 1))
    return read(x, warped * (lengths[:, None] - 1).clamp_min(0))


def permute_pieces(x: Tensor, lengths: Tensor) -> Tensor:
    """Four pieces of equal length in another order than the one they had."""
    rank = rand(x.shape[0], PIECES, device=x.device).argsort(1)
    same = (rank == torch.arange(PIECES, device=x.device)).all(1, keepdim=True)
    rank = torch.where(same, rank.roll(1, 1), rank)
    # Padding is a last piece that stays where it is.
    rank = torch.cat([rank, torch.full_like(rank[:, :1], PIECES)], 1)
    time = torch.arange(x.shape[1], device=x.device)
    piece = (time * PIECES // lengths[:, None].clamp_min(1)).clamp_max(PIECES)
    return x.gather(1, (rank.gather(1, piece) * x.shape[1] + time).argsort(1))


def crop_and_resize(x: Tensor, lengths: Tensor) -> Tensor:
    """A part of 50% to 90%, stretched to the whole length."""
    share = 0.5 + 0.4 * rand(x.shape[0], 1, device=x.device)
    start = (1 - share) * rand(x.shape[0], 1, device=x.device)
    time = start + share * relative_time(x, lengths)
    return read(x, time * (lengths[:, None] - 1).clamp_min(0))


def add_noise(x: Tensor, lengths: Tensor) -> Tensor:
    """Plus white noise at a ratio of signal to noise of 1.5 dB."""
    valid = length_mask(lengths, x.shape[1])
    power = (x * valid).square().sum(1, keepdim=True) / lengths[:, None].clamp_min(1)
    return x + (power / 10 ** (SNR / 10)).sqrt() * randn(*x.shape, like=x)


TRANSFORMATIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "identity": lambda x, lengths: x,
    "magnitude-warp": magnitude_warp,
    "time-warp": time_warp,
    "permutation": permute_pieces,
    "crop-and-resize": crop_and_resize,
    "noise": add_noise,
}


def transformed(x: Tensor, lengths: Tensor, kinds: Tensor) -> Tensor:
    """Each row by the transformation whose number stands in `kinds (R,)`; padding becomes zero."""
    out = x.clone()
    for kind, transformation in enumerate(TRANSFORMATIONS.values()):
        rows = (kinds == kind).nonzero().squeeze(1)
        with uneven(len(rows), x.device) as total:
            if total:
                out[rows] = transformation(x[rows], lengths[rows])
    return out * length_mask(lengths, x.shape[1])


class SensorViews(nn.Module):
    """Each channel of each sample scaled, noised, or transformed at random; padding stays zero.

    transform: whether each channel gets one of the six `TRANSFORMATIONS`, drawn anew.
    scale: standard deviation of a channel's random factor.
    noise: standard deviation of added noise, in standard deviations of the data.

    Shapes: `x (B, S, C)`, a row a second, to the same; `lengths` in seconds are kept.

    >>> views = SensorViews.strong(InputSpec("series", (20, 5), rates=(4, 1)))
    >>> views(Batch(torch.randn(3, 20, 5), torch.zeros(3), torch.arange(3))).x.shape
    torch.Size([3, 20, 5])
    """

    def __init__(
        self, spec: InputSpec, *, transform: bool = False, scale: float = 0.0, noise: float = 0.0
    ) -> None:
        super().__init__()
        self.rates = channel_rates(spec)
        self.groups: tuple[RateGroup, ...] = rate_groups(self.rates)
        self.transform = transform
        self.scale = scale
        self.noise = noise

    @classmethod
    def weak(cls, spec: InputSpec) -> SensorViews:
        """A little noise and a small change of scale."""
        return cls(spec, scale=0.05, noise=0.03)

    @classmethod
    def strong(cls, spec: InputSpec) -> SensorViews:
        """One of the six transformations a channel."""
        return cls(spec, transform=True)

    def draw(self, size: int, device: torch.device) -> Tensor:
        """`(size, channels)` numbers of transformations, drawn evenly."""
        return randint(0, len(TRANSFORMATIONS), (size, len(self.rates)), device)

    def forward(self, batch: Batch) -> Batch:
        if self.transform:
            batch = self.apply_kinds(batch, self.draw(len(batch), batch.x.device))
        x = batch.x
        if self.scale:
            factor = 1 + self.scale * randn(len(batch), 1, len(self.rates), like=x)
            times = torch.tensor(self.rates, device=x.device)
            x = x * factor.repeat_interleave(times, 2)
        if self.noise:
            x = x + self.noise * randn(*x.shape, like=x)
        return batch.with_x(x if batch.mask is None else x * batch.mask[:, :, None])

    def apply_kinds(self, batch: Batch, kinds: Tensor) -> Batch:
        """The batch with channel `c` of sample `i` transformed by number `kinds[i, c]`."""
        seconds = batch.lengths
        if seconds is None:
            seconds = torch.full((len(batch),), batch.x.shape[1], device=batch.x.device)
        out = batch.x.clone()
        for group in self.groups:
            columns = torch.tensor(group.columns, device=out.device)
            signals = to_signals(batch.x, columns, group.rate)
            lengths = (seconds * group.rate).repeat_interleave(len(group.channels))
            own = kinds[:, list(group.channels)].flatten()
            changed = transformed(signals.flatten(0, 1), lengths, own)
            out[:, :, columns] = to_rows(changed.view_as(signals), group.rate)
        return batch.with_x(out)


def smooth_curves(x: Tensor) -> Tensor:
    """`(R, 256)`: a smooth random curve around 1 for each row of `x`, from its begin to its end."""
    heights = 1 + SIGMA * randn(x.shape[0], KNOTS + 2, like=x)
    with torch.autocast(x.device.type, enabled=False):
        return heights @ torch.from_numpy(_spline()).to(x).T


@cache
def _spline() -> NDArray[np.float64]:
    """`(256, 6)`: the cubic spline as the linear map that it is, from heights at knots to points."""
    from scipy.interpolate import CubicSpline  # takes half a second, which other views need not

    knots = np.linspace(0, 1, KNOTS + 2)
    return np.asarray(CubicSpline(knots, np.eye(KNOTS + 2))(np.linspace(0, 1, _CURVE)))


def relative_time(x: Tensor, lengths: Tensor) -> Tensor:
    """`(R, T)`: 0 at the first valid sample, 1 at the last and beyond."""
    last = (lengths - 1).clamp_min(1)[:, None]
    return (torch.arange(x.shape[1], device=x.device, dtype=x.dtype) / last).clamp_max(1.0)


def read(x: Tensor, places: Tensor) -> Tensor:
    """`x (R, T)` at fractional `places (R, P)`, linear between samples.

    >>> read(torch.tensor([[0.0, 10.0]]), torch.tensor([[0.25, 1.0]])).tolist()
    [[2.5, 10.0]]
    """
    left = places.floor().long().clamp(0, x.shape[1] - 1)
    right = (left + 1).clamp_max(x.shape[1] - 1)
    return torch.lerp(x.gather(1, left), x.gather(1, right), places - left)
