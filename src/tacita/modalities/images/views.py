"""Views of images: one affine warp, intensity, noise and an erased square, for a batch at once.

All geometric changes are composed into one matrix an image, so pixels are resampled once: that
is both the fast way and the sharp one. Bound by `grid_sample`, about 10 memory passes an image.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from tacita.data.batch import Batch, InputSpec
from tacita.processes import rand, randn


class ImageViews(nn.Module):
    """Random affine warp, contrast, brightness, noise and erasing; each image draws its own.

    rotate: largest turn to either side, in degrees.
    translate: largest shift, as a share of the image's side.
    scale: largest relative change of size; each axis also draws its own half of it.
    shear: largest shear.
    flip: whether half of the images are mirrored left to right; off, since it changes digits,
        letters and anything with a side.
    intensity: largest relative change of contrast, and absolute one of brightness in standard
        deviations.
    noise: standard deviation of pixel noise, in standard deviations of the data.
    erase: largest side of the erased square, as a share of the image's side.

    Shapes: `x (B, C, H, W)` to the same.

    >>> views = ImageViews(rotate=30.0)
    >>> batch = Batch(torch.randn(4, 1, 8, 8), torch.zeros(4), torch.arange(4))
    >>> views(batch).x.shape
    torch.Size([4, 1, 8, 8])
    """

    def __init__(
        self,
        *,
        rotate: float = 0.0,
        translate: float = 0.0,
        scale: float = 0.0,
        shear: float = 0.0,
        flip: bool = False,
        intensity: float = 0.0,
        noise: float = 0.0,
        erase: float = 0.0,
    ) -> None:
        super().__init__()
        self.rotate = rotate
        self.translate = translate
        self.scale = scale
        self.shear = shear
        self.flip = flip
        self.intensity = intensity
        self.noise = noise
        self.erase = erase

    @classmethod
    def weak(cls, spec: InputSpec) -> ImageViews:
        """Small shifts and turns: the label is hardly ever in doubt."""
        return cls(rotate=8.0, translate=0.06, scale=0.06)

    @classmethod
    def strong(cls, spec: InputSpec) -> ImageViews:
        """Large warps, intensity and erasing: the label can still be read."""
        return cls(
            rotate=25.0, translate=0.14, scale=0.2, shear=0.25, intensity=0.4, noise=0.1, erase=0.4
        )

    def forward(self, batch: Batch) -> Batch:
        x = batch.x
        if self.rotate or self.translate or self.scale or self.shear or self.flip:
            # Border values rather than zeros: zero is the mean after normalisation, not background.
            x = functional.grid_sample(
                x, _grid(self._matrices(x), x), padding_mode="border", align_corners=False
            )
        if self.intensity:
            shape = (len(x), 1, 1, 1)
            contrast = 1 + self.intensity * _uniform(x, shape)
            centre = x.mean((1, 2, 3), keepdim=True)
            # One pass: (x - centre) * contrast + centre + brightness.
            offset = centre * (1 - contrast) + self.intensity * _uniform(x, shape)
            x = torch.addcmul(offset, x, contrast)
        if self.noise:
            x = x + self.noise * randn(*x.shape, like=x)
        if self.erase:
            hole = self._hole(x)
            # In place where the tensor is ours: a copy would cost as much as the warp.
            x = x.masked_fill(hole, 0.0) if x is batch.x else x.masked_fill_(hole, 0.0)
        return batch.with_x(x)

    def _matrices(self, x: Tensor) -> Tensor:
        """`(B, 2, 3)` maps from output to input coordinates in [-1, 1]."""
        count = (len(x),)
        angle = math.radians(self.rotate) * _uniform(x, count)
        size = 1 + self.scale * _uniform(x, count)
        size_x = size * (1 + self.scale / 2 * _uniform(x, count))
        size_y = size * (1 + self.scale / 2 * _uniform(x, count))
        shear = self.shear * _uniform(x, count)
        if self.flip:
            size_x = size_x * torch.where(rand(*count, device=x.device) < 0.5, -1.0, 1.0)
        aspect = x.shape[3] / x.shape[2]
        cos, sin = angle.cos(), angle.sin()
        row_x = torch.stack([cos * size_x, (shear * cos - sin) * size_y / aspect], 1)
        row_y = torch.stack([sin * size_x * aspect, (shear * sin + cos) * size_y], 1)
        # Coordinates run over a length of 2, so a share of the side is twice as much.
        shift = 2 * self.translate * _uniform(x, (len(x), 2))
        return torch.cat([torch.stack([row_x, row_y], 1), shift[:, :, None]], 2).to(x.dtype)

    def _hole(self, x: Tensor) -> Tensor:
        """`(B, 1, H, W)` bool: a square of random side and place, to be set to the data's mean."""
        batch, _, height, width = x.shape
        half = self.erase / 2 * rand(batch, 1, device=x.device)
        y0, x0 = rand(2, batch, 1, device=x.device, dim=1)
        inside_y = (_centres(height, x) - y0).abs() < half
        inside_x = (_centres(width, x) - x0).abs() < half
        return inside_y[:, None, :, None] & inside_x[:, None, None, :]


def _grid(matrices: Tensor, x: Tensor) -> Tensor:
    """`(B, H, W, 2)` input coordinates of each output pixel, as `affine_grid` gives them.

    A sum of a row's and a column's part, where `affine_grid` multiplies matrices a pixel: a third
    of its time.
    """
    batch, _, height, width = x.shape
    across = 2 * _centres(width, x) - 1
    down = 2 * _centres(height, x) - 1
    grid = x.new_empty(batch, height, width, 2)
    for axis in range(2):
        along_x, along_y, shift = matrices[:, axis, :, None].unbind(1)
        row, column = along_x * across, along_y * down + shift
        torch.add(row[:, None, :], column[:, :, None], out=grid[..., axis])
    return grid


def _centres(count: int, like: Tensor) -> Tensor:
    """Centres of pixels along a side that runs from 0 to 1."""
    return (torch.arange(count, device=like.device) + 0.5) / count


def _uniform(like: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Uniform in [-1, 1]."""
    return rand(*shape, device=like.device) * 2 - 1
