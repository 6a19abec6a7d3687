"""Crops: a part of each sample, rendered at a size of its own, for a batch at once.

Methods with several crops a sample show the whole to some networks and small parts to others, at
less cost (Caron et al., 2020). The idea carries over to series, as stretches of time, and to tables,
as rows of which some cells are another's.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from tacita.data.batch import Batch
from tacita.errors import ConfigError
from tacita.processes import rand

Crop = Callable[[Batch, Tensor, float], Batch]


class Crops(nn.Module):
    """A random part of each sample; each draws its own.

    scale: the least and the largest part: of an image's area, of a series' length, of a row's cells.
        The rest of a row's cells come from other rows, as nothing can be cut off.
    size: sides of the crop as a share of the sample's; at 1 the part is magnified to the full size.
        Rows of tables keep theirs.

    crop: how the samples of a modality are cropped: batch, shares `(B,)` and size to a batch.

    Shapes: `x (B, C, H, W)` to `(B, C, ceil(H size), ceil(W size))`; `(B, L, C)` to
    `(B, ceil(L size), C)`, its lengths likewise; `(B, F)` to the same. Raises `ConfigError` for a part
    or a size that is nothing or more than the whole.

    >>> import torch
    >>> from tacita.data.batch import InputSpec
    >>> from tacita.data.modality import find
    >>> crops = find("images").crops(InputSpec("images", (1, 8, 8)), scale=(0.1, 0.4), size=0.5)
    >>> crops(Batch.of(torch.randn(4, 1, 8, 8))).x.shape
    torch.Size([4, 1, 4, 4])
    """

    def __init__(self, crop: Crop, *, scale: tuple[float, float], size: float = 1.0) -> None:
        super().__init__()
        least, most = scale
        if not 0 < least <= most <= 1:
            raise ConfigError(
                f"scale={scale} is not from a part to a larger one.",
                remedy="Two shares above 0 and up to 1, for example (0.4, 1.0).",
            )
        if not 0 < size <= 1:
            raise ConfigError(f"size={size} is not above 0 and up to 1.")
        self.crop = crop
        self.scale = scale
        self.size = size

    def forward(self, batch: Batch) -> Batch:
        least, most = self.scale
        share = least + (most - least) * rand(len(batch), device=batch.x.device)
        return self.crop(batch, share, self.size)
