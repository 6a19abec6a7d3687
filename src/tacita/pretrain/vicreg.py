"""VICReg: views agree, every feature of the embeddings varies, and no two features say the same.

Bardes et al., "VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised Learning",
2022. Collapse is prevented by a term of its own, on each view apart: neither negatives nor a
teacher, and the two views need not even have the same kind of encoder. Two encoder passes a step.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from tacita.catalog.cards import method
from tacita.data.batch import Batch
from tacita.encoder import Encoder
from tacita.errors import ConfigError
from tacita.objective import Losses, Objective
from tacita.parts.checks import require_samples
from tacita.parts.projector import projector as make_projector
from tacita.processes import gathered
from tacita.views import Views, views_of


@method(
    "vicreg",
    title="VICReg",
    paper="https://arxiv.org/abs/2105.04906",
    year=2022,
    family="pretrain",
    needs=("views",),
    labels="none",
    summary="Pretrains an encoder without labels: views agree, features vary and are decorrelated.",
    reuses=("projector", "views"),
    claim="Features of held-out digits have better neighbours than those of the untrained encoder; without "
    "the variance term their scale collapses.",
)
class VICReg(Objective[Batch]):
    """Variance, invariance and covariance of the embeddings of two views (equation 6).

    invariance_weight: lambda in the paper; its value.
    variance_weight: mu in the paper; its value.
    covariance_weight: nu in the paper; its value.
    projector: widths of the layers of the projector, the paper's expander; the last is D.
    views: makes a view of a batch; by default the strong ones of the modality.

    Raises `ConfigError` for a batch of one sample, which has no variance.

    Differs from the paper: the terms are those of the authors' code, where the invariance is a mean
    over features too and the variance of the two views is averaged; a projector of two layers and
    D = 256 rather than three and 8192, for data sets of thousands rather than a million; AdamW
    rather than LARS.
    """

    reads = "unlabelled"
    engine_defaults = {
        "steps": 1000,
        "batch_size": 128,
        "learning_rate": 1e-3,
        "weight_decay": 1e-6,
    }

    def __init__(
        self,
        encoder: Encoder,
        *,
        invariance_weight: float = 25.0,
        variance_weight: float = 25.0,
        covariance_weight: float = 1.0,
        projector: tuple[int, ...] = (256, 256),
        views: Views | None = None,
    ) -> None:
        super().__init__()
        weights = (invariance_weight, variance_weight, covariance_weight)
        if not all(weight >= 0 for weight in weights):
            raise ConfigError(
                f"The weights of vicreg, {weights}, are not all 0 or more.",
                remedy="The paper has invariance_weight=25, variance_weight=25, covariance_weight=1.",
            )
        self.encoder = encoder
        self.projector = make_projector(encoder.dim, projector)
        self.views = views_of(views, encoder.spec, "strong")
        self.weights = weights

    def loss(self, batch: Batch) -> Losses:
        require_samples(batch, 2, "vicreg", "which has no variance")
        z_a = gathered(self.anchors(self.views(batch)))
        z_b = gathered(self.anchors(self.views(batch)))
        return vicreg_loss(z_a, z_b, *self.weights)

    def anchors(self, batch: Batch) -> Tensor:
        return self.projector(self.encoder(batch).pooled)


def vicreg_loss(
    z_a: Tensor,
    z_b: Tensor,
    invariance_weight: float = 25.0,
    variance_weight: float = 25.0,
    covariance_weight: float = 1.0,
) -> Losses:
    """The three weighted terms (equation 6) of embeddings `z_a, z_b (B, D)`, at least in float32.

    >>> vicreg_loss(torch.ones(4, 3), torch.ones(4, 3)).total.item()  # collapse: 25 * (1 - 0.01)
    24.75
    """
    z_a, z_b = (z if z.dtype == torch.float64 else z.float() for z in (z_a, z_b))
    return Losses(
        invariance=invariance_weight * functional.mse_loss(z_a, z_b),
        variance=variance_weight * (variance_term(z_a) + variance_term(z_b)) / 2,
        covariance=covariance_weight * (covariance_term(z_a) + covariance_term(z_b)),
    )


def variance_term(z: Tensor) -> Tensor:
    """How far the deviation of each feature of `(B, D)` is below 1, on average (equations 1 and 2)."""
    return functional.relu(1 - (z.var(0) + 1e-4).sqrt()).mean()


def covariance_term(z: Tensor) -> Tensor:
    """Sum of the squared covariances of different features of `(B, D)`, over D (equations 3 and 4)."""
    count, dim = z.shape
    centred = z - z.mean(0)
    with torch.autocast(z.device.type, enabled=False):
        covariance = centred.T @ centred / (count - 1)  # (D, D)
    return (covariance.square().sum() - covariance.diagonal().square().sum()) / dim
