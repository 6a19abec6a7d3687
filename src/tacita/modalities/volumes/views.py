"""Views of volumes: crops, turns and intensity of slices; the labels of voxels go along.

A volume is seen in one way from end to end; slices that come alone, as `(M, C, H, W)`, each draw
their own view.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from tacita.data.batch import Batch, InputSpec
from tacita.modalities.images.views import _grid, _uniform
from tacita.processes import rand


class VolumeViews(nn.Module):
    """Random crop and turn in the plane of the slices, then contrast and brightness.

    crop: smallest side of the box that is cut out and enlarged to the full size, as a share of the
        slice's side; 1 cuts nothing.
    rotate: largest turn to either side, in degrees.
    intensity: largest relative change of contrast, and absolute one of brightness in standard
        deviations.

    Shapes: `x (B, C, D, H, W)` or `(M, C, H, W)` to the same. Where `y` has a label a voxel,
    `(B, D, H, W)` or `(M, H, W)`, it is cut and turned alike, by the nearest voxel.

    >>> views = VolumeViews(crop=0.5)
    >>> batch = Batch(torch.randn(4, 1, 6, 8, 8), torch.zeros(4), torch.arange(4))
    >>> views(batch).x.shape
    torch.Size([4, 1, 6, 8, 8])
    """

    def __init__(self, *, crop: float = 1.0, rotate: float = 0.0, intensity: float = 0.0) -> None:
        super().__init__()
        self.crop = crop
        self.rotate = rotate
        self.intensity = intensity

    @classmethod
    def weak(cls, spec: InputSpec) -> VolumeViews:
        """Small crops and turns: what a voxel shows is never in doubt."""
        return cls(crop=0.9, rotate=5.0, intensity=0.1)

    @classmethod
    def strong(cls, spec: InputSpec) -> VolumeViews:
        """Boxes from half the side up, as in Chaitanya et al., 2020, and intensity."""
        return cls(crop=0.52, rotate=15.0, intensity=0.3)

    @property
    def moves_voxels(self) -> bool:
        """Whether a view may show a voxel in another place."""
        return self.crop < 1 or self.rotate > 0

    def forward(self, batch: Batch) -> Batch:
        x, y = batch.x, batch.y
        shape = (len(x),) + (1,) * (x.ndim - 1)
        if self.moves_voxels:
            matrices = self._matrices(x)
            if x.ndim == 5:
                matrices = matrices.repeat_interleave(x.shape[2], 0)
            slices = x.transpose(1, 2).flatten(0, 1) if x.ndim == 5 else x
            grid = _grid(matrices, slices)
            # Border values rather than zeros: zero is the mean after normalisation, not background.
            slices = functional.grid_sample(
                slices, grid, padding_mode="border", align_corners=False
            )
            if y.ndim == x.ndim - 1:
                codes = y.reshape(-1, 1, *y.shape[-2:]).to(grid.dtype)
                y = (
                    functional.grid_sample(
                        codes, grid, mode="nearest", padding_mode="border", align_corners=False
                    )
                    .to(y.dtype)
                    .view(y.shape)
                )
            x = (
                slices
                if x.ndim == 4
                else slices.view(len(x), -1, *slices.shape[1:]).transpose(1, 2)
            )
        if self.intensity:
            contrast = 1 + self.intensity * _uniform(x, shape)
            centre = x.flatten(1).mean(1).view(shape)
            offset = centre * (1 - contrast) + self.intensity * _uniform(x, shape)
            x = torch.addcmul(offset, x, contrast)
        return replace(batch, samples=x, targets=y)

    def _matrices(self, x: Tensor) -> Tensor:
        """`(B, 2, 3)` maps from output to input coordinates in [-1, 1]."""
        count = (len(x),)
        side = 1 - (1 - self.crop) * rand(*count, device=x.device)
        angle = math.radians(self.rotate) * _uniform(x, count)
        aspect = x.shape[-1] / x.shape[-2]
        cos, sin = side * angle.cos(), side * angle.sin()
        turn = torch.stack(
            [torch.stack([cos, -sin / aspect], 1), torch.stack([sin * aspect, cos], 1)], 1
        )
        # The box stays inside: its centre moves by no more than what was cut off.
        shift = (1 - side)[:, None] * _uniform(x, (len(x), 2))
        return torch.cat([turn, shift[:, :, None]], 2).to(x.dtype)
