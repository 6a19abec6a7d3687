"""Learning from the labelled samples alone: what any use of unlabelled data has to beat."""

from __future__ import annotations

from torch import nn

from tacita.catalog.cards import method
from tacita.data.batch import Batch
from tacita.data.views import default_views
from tacita.encoders.base import Encoder
from tacita.objective import Losses, Objective
from tacita.parts.heads import linear_head
from tacita.tasks import Task


@method(
    "supervised",
    title="Supervised network",
    family="adapt",
    modalities=("images", "series", "tables"),
    labels="many",
    summary="An encoder and a linear head trained on the labelled samples alone, with augmentation.",
    reuses=("views",),
)
class Supervised(Objective[Batch]):
    """The task's own loss on strong views of the labelled samples.

    views: the augmentation; default: the modality's strong views, so that methods which use
        unlabelled data do not win by augmentation alone.
    head: a head to go on from; default: a new linear one.
    """

    head: nn.Module
    reads = "labelled"
    engine_defaults = {"steps": 600, "batch_size": 64, "learning_rate": 3e-3, "weight_decay": 5e-4}

    def __init__(
        self,
        encoder: Encoder,
        task: Task,
        *,
        views: nn.Module | None = None,
        head: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head or linear_head(encoder.dim, task)
        self.task = task
        self.views = views or default_views(encoder.spec, "strong")

    def loss(self, batch: Batch) -> Losses:
        view = self.views(batch)
        logits = self.head(self.encoder(view.x, view.mask).pooled)
        return Losses(supervised=self.task.loss(logits, view.y))
