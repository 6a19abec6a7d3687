"""Batched views against torchvision's transforms applied to one image after another."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torchvision.transforms import v2

from benchmarks.timing import Result, side_by_side
from tacita.data.batch import Batch
from tacita.modalities.images.views import ImageViews


def run() -> list[Result]:
    """The same changes on both sides: affine warp, brightness and contrast, erased rectangle."""
    results = []
    for channels, side in ((1, 28), (3, 32), (3, 96)):
        x = torch.rand(256, channels, side, side)
        batch = Batch(x, torch.zeros(256), torch.arange(256))
        views = ImageViews(
            rotate=25.0, translate=0.14, scale=0.2, shear=0.25, intensity=0.4, erase=0.4
        )
        one_by_one = v2.Compose(
            [
                v2.RandomAffine(
                    25.0,
                    translate=(0.14, 0.14),
                    scale=(0.8, 1.2),
                    shear=14.0,
                    interpolation=v2.InterpolationMode.BILINEAR,
                ),
                v2.ColorJitter(brightness=0.4, contrast=0.4),
                v2.RandomErasing(p=1.0, scale=(0.0001, 0.16)),
            ]
        )
        ours, peer = side_by_side(partial(views, batch), partial(_each, one_by_one, x), repeats=5)
        what = f"strong views of 256 images, {channels}x{side}x{side}"
        results.append(Result(what, "torchvision v2, an image at a time", ours, peer, "5"))
    return results


def _each(transform: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    return torch.stack([transform(image) for image in images])
