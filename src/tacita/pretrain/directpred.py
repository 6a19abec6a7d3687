"""DirectPred: BYOL whose predictor is not trained but computed from the embeddings' correlation.

Tian et al., "Understanding Self-Supervised Learning Dynamics without Contrastive Pairs", 2021. Where
a predictor has to be linear, or runs are too short to train one. A step costs BYOL's four encoder
passes, two of them without a gradient, and an eigendecomposition of a `(D, D)` matrix. Why it does
not collapse, and when it would, is in `tacita.audit.health.collapse_dynamics`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tacita.catalog.cards import method
from tacita.data.batch import Batch
from tacita.encoder import Encoder
from tacita.objective import Losses, Objective
from tacita.parts.checks import require_samples
from tacita.parts.direct_predictor import DirectPredictor, Rule
from tacita.parts.ema import EMA
from tacita.parts.projector import projector as make_projector
from tacita.pretrain.byol import byol_loss
from tacita.views import Views, views_of


@method(
    "directpred",
    title="DirectPred",
    paper="https://arxiv.org/abs/2102.06810",
    year=2021,
    family="pretrain",
    needs=("views",),
    labels="none",
    summary="Pretrains an encoder without labels, as BYOL or SimSiam, with a predictor that needs no "
    "training.",
    reuses=("projector", "views", "similarity", "ema", "direct predictor"),
    claim="After 270 steps on digits its linear probe is 3 to 7 points above that of a predictor trained as "
    "long; without predictor or stop-gradient embeddings collapse, though the encoder below them can "
    "still be probed.",
)
class DirectPred(Objective[Batch]):
    """A student that predicts its teacher through a linear map set from its own embeddings.

    projector: widths of the projector's layers, the last being D, whose cube the predictor costs.
    rule: how the predictor is set: "root" is DirectPred, "copy" is DirectCopy; see `DirectPredictor`.
    epsilon: what each of its eigenvalues gets on top; the paper's best.
    correlation_momentum: of the running correlation, rho in the paper; its value.
    every: steps between settings; above 1 the predictor is trained between them (the paper's hybrid).
    centred: whether the correlation is taken about the batch's mean.
    momentum: of the teacher, constant as in the paper on STL-10; there 0.996 for long runs. With 0
        there is no teacher: the other view's own embeddings stand still as targets, as in SimSiam,
        and a step has two passes rather than four.
    views: makes a view of a batch; by default the strong ones of the modality.

    The predictor is set after each optimiser step, from the embeddings of both views in that step, and
    begins as the identity. A loop of one's own calls `after_step(step)`, or nothing is ever set.
    Raises `ConfigError` for a batch of one sample, which batch norm cannot normalise.

    Differs from the paper: a projector of 256 and 64 rather than 512 and 128, without biases.
    """

    reads = "unlabelled"
    engine_defaults = {
        "steps": 1000,
        "batch_size": 128,
        "optimizer": "sgd",
        "learning_rate": 0.03,
        "weight_decay": 4e-4,
    }

    def __init__(
        self,
        encoder: Encoder,
        *,
        projector: tuple[int, ...] = (256, 64),
        rule: Rule = "root",
        epsilon: float = 0.1,
        correlation_momentum: float = 0.3,
        every: int = 1,
        centred: bool = False,
        momentum: float = 0.99,
        views: Views | None = None,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.projector = make_projector(encoder.dim, projector)
        self.predictor = DirectPredictor(
            projector[-1],
            rule=rule,
            epsilon=epsilon,
            momentum=correlation_momentum,
            every=every,
            centred=centred,
        )
        student = nn.ModuleList([self.encoder, self.projector])
        self.average = EMA(student, momentum=momentum) if momentum != 0 else None
        self.views = views_of(views, encoder.spec, "strong")
        # Of the parts of the step that is going on; empty again before a checkpoint is written.
        self.seen: list[Tensor] = []

    def loss(self, batch: Batch) -> Losses:
        require_samples(batch, 2, "directpred", "which its batch norms cannot normalise")
        view_a, view_b = self.views(batch), self.views(batch)
        # The teacher first: what its passes take is free again when the student's are kept.
        taught = [self.targets(view) for view in (view_a, view_b) if self.average is not None]
        z_a, z_b = self.anchors(view_a), self.anchors(view_b)
        target_a, target_b = taught or (z_a, z_b)
        if self.training:
            self.seen.append(torch.cat([z_a, z_b]).detach())
        return Losses(
            prediction=byol_loss(self.predictor(z_a), self.predictor(z_b), target_a, target_b)
        )

    @torch.no_grad()
    def targets(self, batch: Batch) -> Tensor:
        """`(B, D)`: what the teacher makes of a view."""
        assert self.average is not None
        encoder, projector = self.average.teacher
        return projector(encoder(batch).pooled)

    def after_step(self, step: int) -> None:
        self.predictor.update(torch.cat(self.seen), step)
        self.seen.clear()
        if self.average is not None:
            self.average.update(nn.ModuleList([self.encoder, self.projector]), step)

    def anchors(self, batch: Batch) -> Tensor:
        return self.projector(self.encoder(batch).pooled)
