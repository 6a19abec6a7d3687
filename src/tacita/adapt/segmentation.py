"""Segmentation of volumes: a U-Net, pretrained or not, learns a class a voxel from few labels.

The third stage of Chaitanya et al., 2020: all weights are trained on slices of the labelled volumes by
the Dice loss. Predictions are whole volumes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tacita.adapt.trained import Trained
from tacita.catalog.cards import method
from tacita.data.batch import Batch
from tacita.data.dataset import Dataset
from tacita.encoder import Encoder
from tacita.encoders.unet import UNet
from tacita.engine.scores import Score
from tacita.errors import ConfigError
from tacita.learner import chunks
from tacita.modalities.volumes.views import VolumeViews
from tacita.objective import Losses, Objective
from tacita.processes import mean_of, rand
from tacita.tasks import UNLABELLED, Task, full_precision, require_voxels


class SegmentSlices(Objective[Batch]):
    """The task's loss, Dice, on views of random slices of the labelled volumes.

    slices: how many of each volume a step, those with a label first.
    cross_entropy: weight of the voxels' mean cross-entropy beside the Dice; the paper has none.
    views: of slices with the labels of their voxels; by default small crops and turns, and intensity.

    Raises `ConfigError` for another encoder than a U-Net, and another task than segmentation.
    """

    head: nn.Module
    reads = "labelled"

    def __init__(
        self,
        encoder: Encoder,
        task: Task,
        *,
        slices: int = 16,
        cross_entropy: float = 0.0,
        views: Callable[[Batch], Batch] | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(encoder, UNet):
            raise ConfigError(
                f"Segmentation needs a feature a voxel, which {type(encoder).__name__} does not give.",
                remedy="Choose encoder=unet.",
            )
        require_voxels(task)
        if slices < 1:
            raise ConfigError(f"slices={slices}: it must be 1 or more.")
        if not cross_entropy >= 0:
            raise ConfigError(f"cross_entropy={cross_entropy}: a weight is 0 or more.")
        self.encoder: UNet = encoder
        self.task = task
        self.slices = slices
        self.cross_entropy = cross_entropy
        self.views = views or VolumeViews(crop=0.8, rotate=10.0, intensity=0.2)
        self.head = task.head(encoder.dim)

    def loss(self, batch: Batch) -> Losses:
        seen = self.views(labelled_slices(batch, self.slices))
        logits = voxel_logits(self.encoder, self.head, seen.x[:, :, None])[:, :, 0]
        dice = self.task.loss(logits, seen.y)
        if not self.cross_entropy:
            return Losses(dice=dice)
        cost = functional.cross_entropy(
            full_precision(logits), seen.y, ignore_index=UNLABELLED, reduction="sum"
        )
        cost = mean_of(cost, (seen.y != UNLABELLED).sum())
        return Losses(dice=dice, cross_entropy=self.cross_entropy * cost)


@method(
    "segmentation",
    title="Segmentation of volumes",
    paper="https://arxiv.org/abs/2006.10511",
    year=2020,
    family="adapt",
    needs=("slices",),
    labels="few",
    tasks=("segmentation",),
    summary="Adapts a U-Net to a few volumes with a class a voxel, and predicts whole volumes.",
    reuses=("unet", "views"),
)
class Segmentation(Trained):
    """Dice on slices of the labelled volumes, all weights trained from where the encoder is.

    slices: how many of each labelled volume a step sees.
    cross_entropy: weight of the voxels' mean cross-entropy beside the Dice; the paper has none.
    engine: arguments of `tacita.engine.train.train`; they override the method's own. With
        `stopping=Stopping(held_out_dice(volumes))` the weights are kept that do best on other volumes.

    Differs from the paper: no elastic deformation among the views; the Dice of a batch rather than of
    each slice; neither mixup nor self-training.
    """

    tiny = {"slices": 2}
    engine_defaults = {"steps": 500, "batch_size": 2, "learning_rate": 1e-3, "weight_decay": 0.0}

    def __init__(
        self,
        encoder: Encoder,
        *,
        slices: int = 16,
        cross_entropy: float = 0.0,
        engine: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(
            encoder,
            SegmentSlices,
            options={"slices": slices, "cross_entropy": cross_entropy},
            engine={**self.engine_defaults, **(engine or {})},
        )
        self.slices = slices
        self.cross_entropy = cross_entropy

    def rebuild(self, task: Task, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self.head = task.head(self.encoder.dim)

    def outputs(self, batch: Batch) -> Tensor:
        return voxel_logits(self.encoder, self.head, batch.x)


def voxel_logits(encoder: Encoder, head: nn.Module, x: Tensor) -> Tensor:
    """`(B, K, D, H, W)` logits of volumes `(B, C, D, H, W)`, by a head on the voxels' features."""
    logits = head(encoder(x).tokens)
    return logits.view(x.shape[0], *x.shape[2:], -1).movedim(-1, 1)


def labelled_slices(batch: Batch, count: int) -> Batch:
    """Random slices `(B * n, C, H, W)` of each volume with their labels `(B * n, H, W)`.

    `n` is `count`, or the depth if that is less; slices with a labelled voxel are taken first.
    """
    known = (batch.y != UNLABELLED).flatten(2).any(2)  # (B, D)
    draw = rand(*known.shape, device=known.device) + known
    at = draw.topk(min(count, known.shape[1]), dim=1).indices
    row = torch.arange(len(batch), device=known.device)[:, None]
    x = batch.x.transpose(1, 2)[row, at].flatten(0, 1)
    return Batch(x, batch.y[row, at].flatten(0, 1), batch.index.repeat_interleave(at.shape[1]))


def held_out_dice(data: Dataset) -> Score:
    """Mean Dice of an objective on labelled volumes that are not trained on, to stop by.

    Raises `ConfigError` for volumes that are not normalised by the training data.
    """
    if data.normaliser is None:
        raise ConfigError(
            f"{data.source}: the held-out volumes are not normalised.",
            remedy="Normalise them as the training data: held.normalised(data.normaliser).",
        )
    data = data.subset(data.labelled)

    @torch.no_grad()
    def score(objective: Objective[Any]) -> float:
        assert objective.head is not None
        device = next(objective.parameters()).device
        logits = [
            voxel_logits(objective.encoder, objective.head, batch.x.to(device)).float().cpu()
            for batch in chunks(data)
        ]
        return data.task.scores(torch.cat(logits), data.y)[data.task.metric]

    return score
