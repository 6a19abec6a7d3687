"""A random stretch of each series, resampled in as many steps as are wanted."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tacita.data.batch import Batch
from tacita.modalities.series.views import resample
from tacita.processes import rand
from tacita.values import Ragged, length_mask


def crop_series(batch: Batch, share: Tensor, size: float) -> Batch:
    """A stretch of `share (B,)` of the valid steps, anywhere among them, resampled in `size` of them."""
    length = batch.x.shape[1]
    lengths = torch.full_like(share, length).long() if batch.lengths is None else batch.lengths
    fewer = (lengths * size).ceil().long()
    steps = math.ceil(length * size)
    # Time runs 0..1 over the crop; beyond it the answer is padding anyway.
    time = (torch.arange(steps, device=share.device) / (fewer - 1).clamp_min(1)[:, None]).clamp_max(
        1.0
    )
    start = (1 - share) * rand(*share.shape, device=share.device, dtype=share.dtype)
    times = (start[:, None] + share[:, None] * time) * (lengths - 1)[:, None]
    x = resample(batch.x, times)
    if batch.lengths is None:
        return batch.with_x(x)
    x = x.masked_fill(~length_mask(fewer, steps)[:, :, None], 0.0)
    return batch.with_samples(Ragged.of(x, fewer))
