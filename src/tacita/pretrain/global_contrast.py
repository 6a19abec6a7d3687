"""The first of two stages before segmentation: slices at the same height of aligned volumes attract.

Chaitanya et al., "Contrastive Learning of Global and Local Features for Medical Image Segmentation
with Limited Annotations", 2020, section 3.1. Volumes of one kind of scan show the same anatomy at the
same height, so the height says which slices match and which differ, where SimCLR takes every other
slice for a negative. Only the way down of the U-Net is trained. Three trainings follow each other,
each with its own optimiser and each resumable:

>>> import torch
>>> from tacita import train
>>> from tacita.adapt.segmentation import Segmentation
>>> from tacita.modalities.memory import as_dataset
>>> from tacita.encoders import build
>>> from tacita.pretrain.local_contrast import LocalContrast
>>> x = torch.randn(4, 1, 6, 16, 16)
>>> y = (x[:, 0] > 0).long()
>>> y[1:] = -1                                     # one volume is labelled
>>> data = as_dataset(x, y).normalised()
>>> encoder = build("unet", data.spec, widths=(4, 8, 8))
>>> for objective in (GlobalContrast(encoder), LocalContrast(encoder)):
...     history = train(objective, data, steps=2, batch_size=4)
>>> learner = Segmentation(encoder, engine={"steps": 2}).fit(data)
>>> learner.predict(data).shape
(4, 6, 16, 16)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from tacita.catalog.cards import method
from tacita.data.batch import Batch
from tacita.encoder import Encoder, SliceEncoder
from tacita.errors import ConfigError
from tacita.modalities.volumes.views import VolumeViews
from tacita.objective import Losses, Objective
from tacita.parts.checks import require_samples
from tacita.parts.contrast import masked_ntxent, partition_pairs, view_pairs
from tacita.parts.slices import check_stage, drawn_slices, middle_slices
from tacita.processes import gathered, processes

Positives = Literal["views", "slices", "volumes"]


@method(
    "global-contrast",
    title="Global contrast of slices",
    paper="https://arxiv.org/abs/2006.10511",
    year=2020,
    family="pretrain",
    needs=("slices",),
    labels="none",
    summary="Pretrains a U-Net's way down on aligned volumes: slices at the same height attract.",
    reuses=("contrast", "unet", "views"),
    claim="Slices of unseen subjects find their height far better than with SimCLR's pairs; with "
    "local-contrast after it the Dice from one labelled volume rises by 1 point after 1,000 steps, in all of "
    "four seeds, and did not after some hundreds.",
)
class GlobalContrast(Objective[Batch]):
    """One random slice of each part of each volume; images of the same part attract, of others repel.

    positives: what attracts. "volumes" (the paper's G^D): a slice, its view, and slices and views of
        the same part of other volumes. "slices" (G^D-): a slice and two views of it. "views" (G^R):
        two views, as in SimCLR, with every other image of the batch a negative.
    partitions: S, into how many parts a volume is cut along its depth.
    temperature: tau.
    projector: widths of the projector's layers, from the flattened deepest map on; without biases.
    views: makes a view of slices; by default crops from half the side up, turns, and intensity.

    The volumes must be aligned along the depth, with the same field of view. Raises `ConfigError` for
    an encoder that is no U-Net, for fewer slices than partitions, and for a batch of one volume where
    volumes are to match.

    Differs from the paper: pairs are those of all volumes in the batch, each counted once, where the
    authors' code forms groups of two; views turn slices a little too.
    """

    encoder: SliceEncoder
    reads = "unlabelled"
    engine_defaults = {"steps": 1000, "batch_size": 6, "learning_rate": 1e-3, "weight_decay": 0.0}

    def __init__(
        self,
        encoder: Encoder,
        *,
        positives: Positives = "volumes",
        partitions: int = 4,
        temperature: float = 0.1,
        projector: tuple[int, int] = (1024, 128),
        views: Callable[[Batch], Batch] | None = None,
    ) -> None:
        super().__init__()
        if positives not in ("views", "slices", "volumes"):
            raise ConfigError(
                f"positives={positives!r} is not one.", remedy="Choose views, slices or volumes."
            )
        self.encoder = check_stage(encoder, partitions, temperature)
        self.positives = positives
        self.partitions = partitions
        self.temperature = temperature
        hidden, out = projector
        factor = 2 ** (len(self.encoder.widths) - 1)
        cells = [-(-side // factor) for side in encoder.spec.shape[2:]]
        self.projector = nn.Sequential(
            nn.Flatten(),
            nn.Linear(self.encoder.widths[-1] * cells[0] * cells[1], hidden, bias=False),
            nn.ReLU(),
            nn.Linear(hidden, out, bias=False),
        )
        self.views = views or VolumeViews.strong(encoder.spec)
        # The loss does not reach the way up.
        self.encoder.expanding.requires_grad_(False)

    def loss(self, batch: Batch) -> Losses:
        if self.positives == "volumes":
            require_samples(batch, 2, "global-contrast", "which has no other volume to match")
        slices = drawn_slices(batch.x, self.partitions).flatten(0, 1)
        seen = Batch(slices, batch.y, batch.index)
        images = {
            "views": lambda: [self.views(seen).x, self.views(seen).x],
            "slices": lambda: [slices, self.views(seen).x, self.views(seen).x],
            "volumes": lambda: [slices, self.views(seen).x],
        }[self.positives]()
        kinds = self.embedded(torch.cat(images)).chunk(len(images))
        z = torch.cat([gathered(kind) for kind in kinds])
        positive, negative = self.pairs(len(batch) * processes(), len(images), z.device)
        return Losses(contrast=masked_ntxent(z, positive, negative, self.temperature))

    def embedded(self, slices: Tensor) -> Tensor:
        """`(M, K)` embeddings of `(M, C, H, W)` slices."""
        slices = slices.contiguous(memory_format=torch.channels_last)
        return self.projector(self.encoder.contract(slices)[-1])

    def pairs(self, volumes: int, kinds: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Which images attract and repel: kind by kind, volume by volume, part by part."""
        count = volumes * self.partitions
        if self.positives == "views":
            return view_pairs(count, device)
        image = torch.arange(kinds * count, device=device)
        return partition_pairs(
            image % self.partitions,
            image // self.partitions % volumes,
            image // count,
            across=self.positives == "volumes",
        )

    def finish(self) -> None:
        self.encoder.expanding.requires_grad_(True)

    def anchors(self, batch: Batch) -> Tensor:
        """The embeddings of the middle slices of a volume's parts, one after another."""
        slices = middle_slices(batch.x, self.partitions)
        return self.embedded(slices.flatten(0, 1)).reshape(len(batch), -1)
