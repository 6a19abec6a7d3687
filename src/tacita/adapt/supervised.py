"""Learning from the labelled samples alone: what any use of unlabelled data has to beat."""

from __future__ import annotations

from torch import Tensor, nn

from tacita.catalog.cards import method
from tacita.data.batch import Batch, of_all
from tacita.encoder import Encoder
from tacita.objective import Losses, Objective
from tacita.parts.mixup import draw_share, mixed, mixed_loss, require_alpha, require_numbers
from tacita.processes import own, randperm
from tacita.tasks import Task
from tacita.views import Views, views_of


@method(
    "supervised",
    title="Supervised network",
    family="adapt",
    needs=("views",),
    labels="many",
    summary="An encoder and a linear head trained on the labelled samples alone, with augmentation.",
    reuses=("views",),
)
class Supervised(Objective[Batch]):
    """The task's own loss on strong views of the labelled samples, mixed with each other if wanted.

    mixup: parameter of the Beta distribution of mixup's shares, one a batch (Zhang et al., 2018, try 0.1
        to 1); by default samples are not mixed.
    views: the augmentation; default: the modality's strong views, so that methods which use
        unlabelled data do not win by augmentation alone.
    head: a head to go on from; default: a new linear one.

    Raises `ConfigError` for a parameter that is not above 0, and where samples cannot be mixed.
    """

    head: nn.Module
    reads = "labelled"
    weighs = True
    engine_defaults = {"steps": 600, "batch_size": 64, "learning_rate": 3e-3, "weight_decay": 5e-4}

    def __init__(
        self,
        encoder: Encoder,
        task: Task,
        *,
        mixup: float | None = None,
        views: Views | None = None,
        head: nn.Module | None = None,
    ) -> None:
        super().__init__()
        if mixup is not None:
            require_numbers(encoder.spec, "supervised with mixup")
        self.encoder = encoder
        self.head = head or task.head(encoder.dim)
        self.task = task
        self.mixup = None if mixup is None else require_alpha(mixup, "mixup")
        self.views = views_of(views, encoder.spec, "strong")

    def loss(self, batch: Batch) -> Losses:
        view = self.views(batch)
        if self.mixup is None:
            return Losses(supervised=self.task.loss(self.logits(view), view.y, view.weights))
        others = of_all(view)
        order = own(randperm(len(view), view.x.device))
        share = draw_share(self.mixup, device=view.x.device)
        logits = self.logits(mixed(view, others, order, share, self.encoder.spec))
        loss = mixed_loss(
            self.task,
            logits,
            view.y,
            others.y[order],
            share,
            view.weights,
            others.weights_at(order),
        )
        return Losses(supervised=loss)

    def logits(self, view: Batch) -> Tensor:
        """`(B, out_dim)` raw outputs."""
        return self.head(self.encoder(view).pooled)
