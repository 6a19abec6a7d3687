"""MoCo v3: a view finds what a slowly following teacher makes of its sample's other view.

Chen et al., "An Empirical Study of Training Self-Supervised Vision Transformers", 2021. The other
samples in the batch are its negatives, so it gains from large batches; there is no queue any more.
Four encoder passes a step, two of them without a gradient.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from tacita.catalog.cards import method
from tacita.data.batch import Batch
from tacita.encoder import Encoder
from tacita.encoders.vit import ViT
from tacita.errors import ConfigError
from tacita.objective import Losses, Objective
from tacita.parts.checks import require_finite, require_samples
from tacita.parts.ema import EMA
from tacita.parts.projector import projector as make_projector
from tacita.parts.similarity import unit
from tacita.processes import gathered
from tacita.views import Views, views_of


@method(
    "moco-v3",
    title="MoCo v3",
    paper="https://arxiv.org/abs/2104.02057",
    year=2021,
    family="pretrain",
    needs=("views",),
    labels="none",
    summary="Pretrains an encoder without labels: a view finds its sample among a slow teacher's.",
    reuses=("projector", "views", "similarity", "ema"),
    claim="Features of held-out digits have better neighbours than those of the untrained encoder.",
)
class MoCoV3(Objective[Batch]):
    """Contrast between the student's view of a sample and the teacher's views of the whole batch.

    temperature: sharpness of the contrast, tau; the paper's 0.2.
    projector: widths of the projector's layers; the last, 256, is the paper's.
    predictor: hidden width of the predictor, which only the student has.
    momentum: the teacher's rate at the start, m; it rises to 1 along a cosine. The paper's 0.99.
    freeze_patches: whether the patch projection of a `vit` stays as it was given, at random, which
        keeps large Transformers from unstable training; it learns again afterwards. Encoders
        without one are trained wholly.
    views: makes a view of a batch; by default the strong ones of the modality.

    The teacher normalises by the statistics of its batch, as the student does, each view apart; its
    running statistics are the student's. A loop of one's own calls `start(steps)` and
    `after_step(step)`; without `start` the momentum stays what it is. Raises `ConfigError` for a
    batch of one sample, which has no negatives, and `DivergedError` where the teacher is not finite.

    Differs from the paper: hidden layers of 256 rather than 4096, and one fewer in the projector;
    where several processes train, each contrasts the samples of its own part of the batch.
    """

    reads = "unlabelled"
    engine_defaults = {
        "steps": 1000,
        "batch_size": 128,
        "learning_rate": 1e-3,
        "weight_decay": 0.1,
        "warmup": 0.1,
    }

    def __init__(
        self,
        encoder: Encoder,
        *,
        temperature: float = 0.2,
        projector: tuple[int, ...] = (256, 256),
        predictor: int = 256,
        momentum: float = 0.99,
        freeze_patches: bool = True,
        views: Views | None = None,
    ) -> None:
        super().__init__()
        if not temperature > 0:
            raise ConfigError(
                f"temperature={temperature} is not above 0.", remedy="The paper's value is 0.2."
            )
        if predictor < 1:
            raise ConfigError(
                f"predictor={predictor} is not a layer width.", remedy="The default is 256."
            )
        self.encoder = encoder
        self.projector = make_projector(encoder.dim, projector, norm_output=True)
        dim = projector[-1]
        self.predictor = make_projector(dim, (predictor, dim), norm_output=True)
        student = nn.ModuleList([self.encoder, self.projector])
        self.average = EMA(student, momentum=momentum, rise="cosine")
        self.views = views_of(views, encoder.spec, "strong")
        self.temperature = temperature
        self.freeze_patches = freeze_patches
        self._train_patches(False)

    def start(self, steps: int) -> None:
        self.average.start(steps)

    def loss(self, batch: Batch) -> Losses:
        require_samples(batch, 2, "moco-v3", "which has no negatives")
        view_a, view_b = self.views(batch), self.views(batch)
        # The teacher first: what its passes take is free again when the student's are kept.
        k_a, k_b = self.targets(view_a), self.targets(view_b)
        q_a = self.predictor(self.anchors(view_a))
        q_b = self.predictor(self.anchors(view_b))
        q_a, q_b, k_a, k_b = (gathered(z) for z in (q_a, q_b, k_a, k_b))
        return Losses(contrast=moco_v3_loss(q_a, q_b, k_a, k_b, self.temperature))

    @torch.no_grad()
    def targets(self, batch: Batch) -> Tensor:
        """`(B, D)`: the teacher's embeddings, the paper's keys."""
        encoder, projector = self.average.teacher
        return require_finite(projector(encoder(batch).pooled), "moco-v3")

    def after_step(self, step: int) -> None:
        self.average.update(nn.ModuleList([self.encoder, self.projector]), step)

    def finish(self) -> None:
        self._train_patches(True)

    def _train_patches(self, trained: bool) -> None:
        if self.freeze_patches and isinstance(self.encoder, ViT):
            self.encoder.project.requires_grad_(trained)

    def anchors(self, batch: Batch) -> Tensor:
        return self.projector(self.encoder(batch).pooled)


def moco_v3_loss(q1: Tensor, q2: Tensor, k1: Tensor, k2: Tensor, temperature: float) -> Tensor:
    """The contrast of both directions, `ctr(q1, k2) + ctr(q2, k1)` (algorithm 1).

    Queries of the student and keys of the teacher are `(N, D)`; no gradient flows into the keys.

    >>> z = torch.ones(4, 3)
    >>> torch.isclose(moco_v3_loss(z, z, z, z, 0.2), 2 * 0.4 * torch.tensor(4.0).log()).item()
    True
    """
    return contrast(q1, k2.detach(), temperature) + contrast(q2, k1.detach(), temperature)


def contrast(queries: Tensor, keys: Tensor, temperature: float) -> Tensor:
    """InfoNCE of `(N, D)` queries among `(N, D)` keys, row i matching row i, times 2 tau (equation 1).

    The factor keeps the gradient's size as the temperature changes. In float32, as every softmax.
    """
    with torch.autocast(queries.device.type, enabled=False):
        logits = unit(queries) @ unit(keys).T / temperature  # (N, N)
    matching = torch.arange(len(logits), device=logits.device)
    return 2 * temperature * functional.cross_entropy(logits, matching)
