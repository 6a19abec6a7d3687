"""Views of series: scale, noise, a smooth warp of time and hidden stretches, for a batch at once."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tacita.data.batch import Batch, InputSpec
from tacita.processes import rand, randint, randn
from tacita.values import length_mask


class SeriesViews(nn.Module):
    """Random magnitude, noise, smooth time warp, shift and hidden stretch; padding stays zero.

    scale: standard deviation of a channel's random factor.
    noise: standard deviation of the noise, in standard deviations of the data.
    warp: largest local change of speed; the first and the last value stay where they are.
    crop: largest share of the series that is cut off (the rest is stretched to the full length).
    erase: largest share of the series that is set to zero in one stretch.

    Shapes: `x (B, L, C)` to the same; `lengths` are kept.

    >>> views = SeriesViews(noise=0.1, warp=0.3)
    >>> batch = Batch(torch.randn(4, 50, 3), torch.zeros(4), torch.arange(4))
    >>> views(batch).x.shape
    torch.Size([4, 50, 3])
    """

    def __init__(
        self,
        *,
        scale: float = 0.0,
        noise: float = 0.0,
        warp: float = 0.0,
        crop: float = 0.0,
        erase: float = 0.0,
    ) -> None:
        super().__init__()
        self.scale = scale
        self.noise = noise
        self.warp = warp
        self.crop = crop
        self.erase = erase

    @classmethod
    def weak(cls, spec: InputSpec) -> SeriesViews:
        """A little noise and a small change of scale."""
        return cls(scale=0.05, noise=0.03, crop=0.05)

    @classmethod
    def strong(cls, spec: InputSpec) -> SeriesViews:
        """Scale, noise, warped time, a crop and a hidden stretch (after Um et al., 2017)."""
        return cls(scale=0.2, noise=0.15, warp=0.3, crop=0.2, erase=0.25)

    def forward(self, batch: Batch) -> Batch:
        x = batch.x
        size, length, channels = x.shape
        lengths = batch.lengths
        if lengths is None:
            lengths = torch.full((size,), length, device=x.device)
        if (self.warp or self.crop) and length > 1:
            x = resample(x, self._times(lengths, length))
        if self.scale:
            x = x * (1 + self.scale * randn(size, 1, channels, like=x))
        if self.noise:
            x = x + self.noise * randn(*x.shape, like=x)
        if self.erase:
            share = self.erase * rand(size, 1, device=x.device)
            start = rand(size, 1, device=x.device) * (1 - share)
            where = torch.arange(length, device=x.device) / lengths[:, None]
            x = x.masked_fill(((where >= start) & (where < start + share))[:, :, None], 0.0)
        if batch.lengths is not None:
            x = x * length_mask(batch.lengths, length)[:, :, None]
        return batch.with_x(x)

    def _times(self, lengths: Tensor, length: int) -> Tensor:
        """`(B, L)`: at which (fractional) time of the input each output value is read."""
        device, size = lengths.device, len(lengths)
        last = (lengths - 1).clamp_min(1)[:, None]
        # Time runs 0..1 over the valid part; beyond it the answer is padding anyway.
        time = (torch.arange(length, device=device) / last).clamp_max(1.0)
        if self.warp:
            # A sine of random phase and one or two periods, zero at both ends: monotone if warp < 1.
            turns = randint(1, 3, (size, 1), device)
            bend = self.warp * (rand(size, 1, device=device) * 2 - 1)
            time = time + bend * torch.sin(torch.pi * turns * time) / (torch.pi * turns)
        if self.crop:
            keep = 1 - self.crop * rand(size, 1, device=device)
            time = time * keep + rand(size, 1, device=device) * (1 - keep)
        return time * (lengths[:, None] - 1)


def resample(x: Tensor, times: Tensor) -> Tensor:
    """Linear interpolation of `(B, L, C)` at `(B, L)` times."""
    left = times.floor().long().clamp(0, x.shape[1] - 1)
    right = (left + 1).clamp_max(x.shape[1] - 1)
    weight = (times - left)[:, :, None].to(x.dtype)
    shape = (-1, -1, x.shape[2])
    before = x.gather(1, left[:, :, None].expand(shape))
    after = x.gather(1, right[:, :, None].expand(shape))
    return torch.lerp(before, after, weight)
