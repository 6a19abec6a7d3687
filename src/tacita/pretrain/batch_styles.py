"""Batch Styles Standardisation: contrast between images that all look alike, so that looks cannot help.

Scalbert, Vakalopoulou and Couzinié-Devy, "Towards domain-invariant Self-Supervised Learning with
Batch Styles Standardization", 2024. For images from several sources (scanners, sites, media), to be
used on images of yet another; which image is from where need not be known. SimCLR, with a style a
view: one encoder pass a step, over both views, and two Fourier transforms of the batch a view.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from tacita.catalog.cards import method
from tacita.data.batch import Batch
from tacita.encoder import Encoder
from tacita.errors import ConfigError
from tacita.modalities.images.batch_styles import BatchStyles
from tacita.objective import Losses
from tacita.parts.checks import require_samples
from tacita.parts.contrast import masked_ntxent, view_pairs
from tacita.pretrain.simclr import SimCLR
from tacita.processes import gathered, kinds
from tacita.views import Views


@method(
    "batch-styles",
    title="Batch Styles Standardisation",
    paper="https://arxiv.org/abs/2303.06088",
    year=2024,
    family="pretrain",
    needs=("pixels",),
    labels="none",
    summary="Pretrains an encoder for images of a new source: SimCLR on batches of one style.",
    reuses=("projector", "views", "similarity", "contrast", "simclr"),
    claim="A probe reads 67% of digits on photographs of two domains never seen, against 35% after SimCLR, "
    "and domains mix more than after either rival; with a style an image (Fourier augmentation) it is 72%, "
    "so that here one style a batch gains over none, and not over that.",
)
class StandardisedSimCLR(SimCLR):
    """SimCLR whose views have one style each: all images of a view share their low amplitudes.

    ratio: the range that the share of frequencies given to a view is drawn from, by area.
    negatives: whose views repel: those of the other samples in the same view (`"same-view"`), so that
        no image is told from another by its style at all, or in both, as in SimCLR (`"all"`).
    temperature: sharpness of the contrast, as in `simclr`.
    projector: widths of the projector's layers, as in `simclr`.
    views: makes a view of a batch; by default the strong ones of images with a style a batch. Any
        other objective takes `tacita.modalities.images.batch_styles.BatchStyles` as its `views` too.

    Both views pass the networks as one batch. Apart, the statistics of a batch norm would take the
    one style of each away while training, the encoder would not have to, and afterwards, with running
    statistics, the styles would be back. Raises `ConfigError` for a batch of one sample, and for an
    encoder of anything but images.

    Differs from the paper: as `simclr` does, but for the passes; SimCLR alone, with two views (SwAV and
    MSN are not here); which negatives the authors have could not be seen.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        ratio: tuple[float, float] = (0.0, 0.02),
        negatives: Literal["all", "same-view"] = "same-view",
        temperature: float = 0.2,
        projector: tuple[int, ...] = (256, 128),
        views: Views | None = None,
    ) -> None:
        if negatives not in ("all", "same-view"):
            raise ConfigError(
                f"negatives={negatives!r} is unknown.", remedy="Known: all, same-view."
            )
        views = views or BatchStyles.strong(encoder.spec, ratio)
        super().__init__(encoder, temperature=temperature, projector=projector, views=views)
        self.negatives = negatives

    def loss(self, batch: Batch) -> Losses:
        require_samples(batch, 2, "batch-styles", "which has no negatives")
        view_a, view_b = self.views(batch), self.views(batch)
        with kinds(len(view_a), len(view_b)):
            z_a, z_b = self.anchors(batch.with_x(torch.cat([view_a.x, view_b.x]))).chunk(2)
        z = torch.cat([gathered(z_a), gathered(z_b)])
        pairs = view_pairs if self.negatives == "all" else same_view_pairs
        return Losses(contrast=masked_ntxent(z, *pairs(len(z) // 2, z.device), self.temperature))


def same_view_pairs(count: int, device: torch.device | None = None) -> tuple[Tensor, Tensor]:
    """The masks of `view_pairs`, with negatives of an anchor's own view only: `(2N, 2N)` each.

    >>> positive, negative = same_view_pairs(2)
    >>> positive.int().tolist()[0], negative.int().tolist()[0]
    ([0, 0, 1, 0], [0, 1, 0, 0])
    """
    positive, negative = view_pairs(count, device)
    view = torch.arange(2 * count, device=device) // count
    return positive, negative & (view[:, None] == view)
