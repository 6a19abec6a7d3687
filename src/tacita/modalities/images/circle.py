"""Views of images that have no up and no side: any turn, mirrored or not, of what lies in a circle.

A turned square shows by its corners that it was turned, and a network would learn that. So what lies
outside the inscribed circle is hidden (Slijepcevic et al., 2022, section 3, on radio galaxies); cells,
particles and satellite images are alike.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tacita.data.batch import Batch, InputSpec
from tacita.modalities.images.views import ImageViews


class RotationInvariantViews(ImageViews):
    """Turned by any angle and mirrored, in the inscribed circle; outside all is 0, the data's mean.

    The arguments are those of `ImageViews`; `rotate` is 180 degrees and `flip` is on. Give an encoder
    that hides the corners too (`tang-cnn`), or images whose corners are empty: else it sees corners in
    prediction that it never saw in training.

    >>> views = RotationInvariantViews(noise=0.1)
    >>> batch = Batch(torch.ones(2, 1, 8, 8), torch.zeros(2), torch.arange(2))
    >>> views(batch).x[0, 0, 0].tolist()[:2]
    [0.0, 0.0]
    """

    def __init__(
        self,
        *,
        translate: float = 0.0,
        scale: float = 0.0,
        shear: float = 0.0,
        intensity: float = 0.0,
        noise: float = 0.0,
    ) -> None:
        super().__init__(
            rotate=180.0,
            flip=True,
            translate=translate,
            scale=scale,
            shear=shear,
            intensity=intensity,
            noise=noise,
        )

    @classmethod
    def weak(cls, spec: InputSpec) -> RotationInvariantViews:
        """Turned and mirrored, and nothing else."""
        return cls()

    @classmethod
    def strong(cls, spec: InputSpec) -> RotationInvariantViews:
        """Warps, intensity and noise as well; nothing is erased, since a source is small."""
        return cls(translate=0.14, scale=0.2, shear=0.25, intensity=0.4, noise=0.1)

    def forward(self, batch: Batch) -> Batch:
        view = super().forward(batch)
        return view.with_x(in_circle(view.x))


def in_circle(x: Tensor) -> Tensor:
    """`(..., H, W)` images with 0 outside the inscribed circle."""
    return x.masked_fill(~circle(x.shape[-2], x.shape[-1], x.device), 0.0)


def circle(height: int, width: int, device: torch.device | None = None) -> Tensor:
    """`(H, W)` bool, True where a pixel's centre lies in the circle that touches the shorter sides.

    >>> circle(4, 4).int().tolist()
    [[0, 1, 1, 0], [1, 1, 1, 1], [1, 1, 1, 1], [0, 1, 1, 0]]
    """
    y = torch.arange(height, device=device) - (height - 1) / 2
    x = torch.arange(width, device=device) - (width - 1) / 2
    return y[:, None] ** 2 + x[None, :] ** 2 <= (min(height, width) / 2) ** 2
