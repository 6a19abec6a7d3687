"""Crops: a part of each sample, rendered at a size of its own, for a batch at once.

Methods with several crops a sample show the whole to some networks and small parts to others, at
less cost (Caron et al., 2020). The idea carries over to series, as stretches of time, and to tables,
as rows of which some cells are another's.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from tacita.data.batch import Batch, InputSpec, length_mask
from tacita.data.views.series import resample
from tacita.errors import ConfigError

ASPECT = 4 / 3
"""The longer side of a crop by the shorter, at most; both as shares of the image's sides."""


class Crops(nn.Module):
    """A random part of each sample; each draws its own.

    scale: the least and the largest part: of an image's area, of a series' length, of a row's cells.
        The rest of a row's cells come from other rows, as nothing can be cut off.
    size: sides of the crop as a share of the sample's; at 1 the part is magnified to the full size.
        Rows of tables keep theirs.

    Shapes: `x (B, C, H, W)` to `(B, C, ceil(H size), ceil(W size))`; `(B, L, C)` to
    `(B, ceil(L size), C)`, its lengths likewise; `(B, F)` to the same. Raises `ConfigError` for a part
    or a size that is nothing or more than the whole, and for other modalities.

    >>> crops = Crops(InputSpec("images", (1, 8, 8)), scale=(0.1, 0.4), size=0.5)
    >>> crops(Batch(torch.randn(4, 1, 8, 8), torch.zeros(4), torch.arange(4))).x.shape
    torch.Size([4, 1, 4, 4])
    """

    def __init__(self, spec: InputSpec, *, scale: tuple[float, float], size: float = 1.0) -> None:
        super().__init__()
        if spec.modality not in CROPS:
            raise ConfigError(
                f"There are no crops of {spec.modality}.", remedy=f"Known: {', '.join(CROPS)}."
            )
        least, most = scale
        if not 0 < least <= most <= 1:
            raise ConfigError(
                f"scale={scale} is not from a part to a larger one.",
                remedy="Two shares above 0 and up to 1, for example (0.4, 1.0).",
            )
        if not 0 < size <= 1:
            raise ConfigError(f"size={size} is not above 0 and up to 1.")
        self.modality = spec.modality
        self.scale = scale
        self.size = size

    def forward(self, batch: Batch) -> Batch:
        least, most = self.scale
        share = least + (most - least) * torch.rand(len(batch), device=batch.x.device)
        return CROPS[self.modality](batch, share, self.size)


def crop_images(batch: Batch, share: Tensor, size: float) -> Batch:
    """A rectangle of the area `share (B,)`, of random aspect and anywhere within the image."""
    height, width = batch.x.shape[2:]
    aspect = math.log(ASPECT) * (2 * torch.rand_like(share) - 1)
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
    shift = (1 - side) * (2 * torch.rand_like(side) - 1)
    return side[:, None] * centres + shift[:, None]


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
    start = (1 - share) * torch.rand_like(share)
    times = (start[:, None] + share[:, None] * time) * (lengths - 1)[:, None]
    x = resample(batch.x, times)
    if batch.lengths is None:
        return batch.with_x(x)
    x = x.masked_fill(~length_mask(fewer, steps)[:, :, None], 0.0)
    return Batch(x, batch.y, batch.index, fewer)


def crop_rows(batch: Batch, share: Tensor, size: float) -> Batch:
    """Of each row a share of the cells, on average; the others are the same columns' of other rows."""
    x = batch.x
    other = x.gather(0, torch.randint(len(x), x.shape, device=x.device))
    return batch.with_x(torch.where(torch.rand_like(x) < share[:, None], x, other))


CROPS = {"images": crop_images, "series": crop_series, "tables": crop_rows}
