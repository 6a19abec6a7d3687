"""A random rectangle of each image, rendered at a size of its own."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from tacita.data.batch import Batch
from tacita.processes import rand

ASPECT = 4 / 3
"""The longer side of a crop by the shorter, at most; both as shares of the image's sides."""


def crop_images(batch: Batch, share: Tensor, size: float) -> Batch:
    """A rectangle of the area `share (B,)`, of random aspect and anywhere within the image."""
    height, width = batch.x.shape[2:]
    aspect = math.log(ASPECT) * (2 * rand(*share.shape, device=share.device, dtype=share.dtype) - 1)
    # Coordinates run from -1 to 1: a side of the crop is twice its share.
    down = (share * aspect.exp()).sqrt().clamp_max(1.0)
    across = (share / aspect.exp()).sqrt().clamp_max(1.0)
    rows = _line(down, math.ceil(height * size))
    columns = _line(across, math.ceil(width * size))
    shape = (-1, rows.shape[1], columns.shape[1])
    grid = torch.stack([columns[:, None].expand(shape), rows[:, :, None].expand(shape)], 3)
    # Border values: the outermost pixels' centres lie inside of the image's edge.
    return batch.with_x(
        functional.grid_sample(
            batch.x, grid.to(batch.x.dtype), padding_mode="border", align_corners=False
        )
    )


def _line(side: Tensor, count: int) -> Tensor:
    """`(B, count)` centres of a crop's pixels along a side of -1 to 1, the crop being `side (B,)` of it."""
    centres = (2 * torch.arange(count, device=side.device) + 1) / count - 1
    shift = (1 - side) * (2 * rand(*side.shape, device=side.device, dtype=side.dtype) - 1)
    return side[:, None] * centres + shift[:, None]
