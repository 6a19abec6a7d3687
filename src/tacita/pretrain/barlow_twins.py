"""Barlow Twins: embeddings of two views agree feature by feature, and no two features say the same.

Zbontar et al., "Barlow Twins: Self-Supervised Learning via Redundancy Reduction", 2021. Needs
neither negatives nor a teacher, and works with small batches. Two encoder passes a step.
"""

from __future__ import annotations

import torch
from torch import Tensor

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
    "barlow-twins",
    title="Barlow Twins",
    paper="https://arxiv.org/abs/2103.03230",
    year=2021,
    family="pretrain",
    needs=("views",),
    labels="none",
    summary="Pretrains an encoder without labels: views agree, features are decorrelated.",
    reuses=("projector", "views"),
    claim="Features of held-out digits have better neighbours than those of the untrained encoder.",
)
class BarlowTwins(Objective[Batch]):
    """Redundancy reduction between the embeddings of two views.

    off_diagonal: weight of the redundancy term, lambda in the paper; its value.
    projector: widths of the projector's layers, the last being D.
    views: makes a view of a batch; by default the strong ones of the modality.

    The projector's batch norm and the standardisation see one view at a time, as in the paper: the
    two passes are apart. Raises `ConfigError` for a batch of one sample, which has no spread.

    Differs from the paper: a projector of two layers and D = 256 rather than three and 8192, for
    data sets of thousands rather than a million (Bandara et al., 2023, use 2 layers there).
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
        off_diagonal: float = 5.1e-3,
        projector: tuple[int, ...] = (256, 256),
        views: Views | None = None,
    ) -> None:
        super().__init__()
        if off_diagonal < 0:
            raise ConfigError(
                f"off_diagonal={off_diagonal} is negative.", remedy="The paper's value is 0.0051."
            )
        self.encoder = encoder
        self.projector = make_projector(encoder.dim, projector)
        self.views = views_of(views, encoder.spec, "strong")
        self.off_diagonal = off_diagonal

    def loss(self, batch: Batch) -> Losses:
        require_samples(batch, 2, "barlow-twins", "over which nothing can be correlated")
        z_a = gathered(self.anchors(self.views(batch)))
        z_b = gathered(self.anchors(self.views(batch)))
        return barlow_twins_loss(z_a, z_b, self.off_diagonal)

    def anchors(self, batch: Batch) -> Tensor:
        return self.projector(self.encoder(batch).pooled)


def barlow_twins_loss(z_a: Tensor, z_b: Tensor, off_diagonal: float) -> Losses:
    """`sum_i (1 - C_ii)^2 + off_diagonal * sum_{i != j} C_ij^2` (equation 1); `z_a, z_b (B, D)`.

    >>> z = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    >>> barlow_twins_loss(z, z, 0.1).total.item()
    0.0
    """
    correlation = cross_correlation(z_a, z_b)
    diagonal = correlation.diagonal()
    return Losses(
        invariance=(1 - diagonal).square().sum(),
        redundancy=off_diagonal * (correlation.square().sum() - diagonal.square().sum()),
    )


def cross_correlation(z_a: Tensor, z_b: Tensor) -> Tensor:
    """`(D, D)` correlations over the batch between features of `z_a` and of `z_b`, both `(B, D)`.

    In float32 whatever the precision around it: squares of small correlations are summed.
    """
    with torch.autocast(z_a.device.type, enabled=False):
        return standardise(z_a).T @ standardise(z_b) / len(z_a)


def standardise(z: Tensor) -> Tensor:
    """Each feature of `(B, D)` to mean 0 and deviation 1 over the batch (dividing by B, not B - 1).

    A feature that hardly varies (deviation below 1e-4) stays near 0 instead of becoming noise.
    """
    z = z if z.dtype == torch.float64 else z.float()
    centred = z - z.mean(0)
    return centred * centred.square().mean(0).clamp_min(1e-8).rsqrt()
