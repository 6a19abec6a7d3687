"""BYOL: one view predicts what a slowly following teacher makes of the other.

Grill et al., "Bootstrap Your Own Latent: A New Approach to Self-Supervised Learning", 2020. Needs
no negatives, so it works with small batches. Four encoder passes a step, two of them without a
gradient.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tacita.catalog.cards import method
from tacita.data.batch import Batch
from tacita.encoder import Encoder
from tacita.errors import ConfigError
from tacita.objective import Losses, Objective
from tacita.parts.checks import require_samples
from tacita.parts.ema import EMA
from tacita.parts.projector import projector as make_projector
from tacita.parts.similarity import negative_cosine
from tacita.views import Views, views_of


@method(
    "byol",
    title="BYOL",
    paper="https://arxiv.org/abs/2006.07733",
    year=2020,
    family="pretrain",
    needs=("views",),
    labels="none",
    summary="Pretrains an encoder without labels: a view predicts what a slow teacher sees in another.",
    reuses=("projector", "views", "similarity", "ema"),
    claim="Features of held-out digits have better neighbours than those of the untrained encoder; "
    "here the gain is small and uneven over seeds; without stop-gradient and predictor they collapse.",
)
class BYOL(Objective[Batch]):
    """A student that predicts the embeddings of its own moving average (equation 2).

    projector: widths of the projector's layers; the last, 256, is the paper's.
    predictor: hidden width of the predictor, which only the student has.
    momentum: the teacher's rate at the start, tau; it rises to 1 along a cosine. The paper's 0.996
        suits hundreds of thousands of steps: runs of hundreds need a teacher that follows sooner.
    views: makes a view of a batch; by default the strong ones of the modality.

    The teacher normalises by the statistics of its batch, as the student does (training mode, as in
    the authors' code), and each view is normalised apart; its running statistics are the student's.
    A loop of one's own calls `start(steps)` and `after_step(step)`; without `start` the momentum
    stays what it is. Raises `ConfigError` for a batch of one sample, which has no such statistics.

    Differs from the paper: AdamW rather than LARS; hidden layers of 256 rather than 4096.
    """

    reads = "unlabelled"
    engine_defaults = {
        "steps": 1000,
        "batch_size": 128,
        "learning_rate": 1e-3,
        "weight_decay": 1.5e-6,
    }

    def __init__(
        self,
        encoder: Encoder,
        *,
        projector: tuple[int, ...] = (256, 256),
        predictor: int = 256,
        momentum: float = 0.99,
        views: Views | None = None,
    ) -> None:
        super().__init__()
        if predictor < 1:
            raise ConfigError(
                f"predictor={predictor} is not a layer width.", remedy="The default is 256."
            )
        self.encoder = encoder
        self.projector = make_projector(encoder.dim, projector)
        self.predictor = make_projector(projector[-1], (predictor, projector[-1]))
        student = nn.ModuleList([self.encoder, self.projector])
        self.average = EMA(student, momentum=momentum, rise="cosine")
        self.views = views_of(views, encoder.spec, "strong")

    def start(self, steps: int) -> None:
        self.average.start(steps)

    def loss(self, batch: Batch) -> Losses:
        require_samples(batch, 2, "byol", "which its batch norms cannot normalise")
        view_a, view_b = self.views(batch), self.views(batch)
        # The teacher first: what its passes take is free again when the student's are kept.
        target_a, target_b = self.targets(view_a), self.targets(view_b)
        p_a = self.predictor(self.anchors(view_a))
        p_b = self.predictor(self.anchors(view_b))
        return Losses(prediction=byol_loss(p_a, p_b, target_a, target_b))

    @torch.no_grad()
    def targets(self, batch: Batch) -> Tensor:
        """`(B, D)`: the teacher's embeddings."""
        encoder, projector = self.average.teacher
        return projector(encoder(batch).pooled)

    def after_step(self, step: int) -> None:
        self.average.update(nn.ModuleList([self.encoder, self.projector]), step)

    def anchors(self, batch: Batch) -> Tensor:
        return self.projector(self.encoder(batch).pooled)


def byol_loss(p_a: Tensor, p_b: Tensor, target_a: Tensor, target_b: Tensor) -> Tensor:
    """Squared distance of unit vectors, `2 - 2 cos`, from each view to the other (equation 2).

    Predictions and the teacher's targets are `(B, D)`; no gradient flows into the targets. The sum
    of both directions lies between 0 and 8.

    >>> z = torch.eye(3)
    >>> byol_loss(z, z, z, z).item()
    0.0
    """
    return (2 + 2 * negative_cosine(p_a, target_b.detach())) + (
        2 + 2 * negative_cosine(p_b, target_a.detach())
    )
