"""Is the representation alive? Gauges that need no label, and a warning in words when it is not.

A falling loss proves nothing in self-supervised learning. What shows trouble is the embedding: its
effective rank (RankMe, Garrido et al., 2023, arXiv 2210.02885), its spread on the unit sphere
(Chen and He, 2021), dead features, and alignment and uniformity (Wang and Isola, 2020).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from tacita.data.dataset import Dataset
from tacita.data.views import default_views
from tacita.encoders.base import Encoder
from tacita.learner import chunks, features

SAMPLES = 2048
"""Samples that the gauges are computed on; drawn with a fixed seed."""
NEIGHBOURS = 5


@dataclass(frozen=True)
class Health:
    """The gauges of an encoder on some samples.

    effective_rank: RankMe of the features, between 1 and `dim`.
    spread: mean standard deviation of the normalised features, times the root of `dim`: 1 when
        they fill the sphere, 0 when all are one point.
    dead: share of the features that are the same for every sample.
    alignment: mean cosine between two weak views of a sample.
    uniformity: log of the mean Gaussian potential of pairs; more negative is more uniform.
    knn: leave-one-out accuracy of the nearest neighbours (5, or one fewer than the rarest class
        has) over the labelled samples, if every class has two.
    """

    dim: int
    samples: int
    effective_rank: float
    spread: float
    dead: float
    alignment: float
    uniformity: float
    knn: float | None
    warnings: tuple[str, ...]

    def line(self) -> str:
        """One line for the screen."""
        knn = "" if self.knn is None else f", knn {self.knn:.2f}"
        figures = (
            f"effective rank {self.effective_rank:.1f} of {self.dim}, spread {self.spread:.2f}, "
            f"dead {self.dead:.0%}, alignment {self.alignment:.2f}, "
            f"uniformity {self.uniformity:.2f}{knn}"
        )
        return f"{figures}; {'; '.join(self.warnings) or 'ok'}"

    def as_dict(self) -> dict[str, Any]:
        """The figures under their names, as they stand in `metrics.json`."""
        return {**asdict(self), "warnings": list(self.warnings)}


def health(encoder: Encoder, data: Dataset, *, seed: int = 0) -> Health:
    """Gauge an encoder on (a seeded draw of) a normalised data set, in evaluation mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        draw = torch.randperm(len(data))[:SAMPLES].sort().values
        sample = data.subset(draw)
        values = features(encoder, sample)
        view = default_views(data.spec, "weak")
        pairs = _view_features(encoder, sample, view), _view_features(encoder, sample, view)
    unit = functional.normalize(values, dim=1)
    rank = effective_rank(values)
    spread = float(unit.std(0).mean() * math.sqrt(values.shape[1]))
    dead = float((values.std(0) <= 1e-6 * (1 + values.abs().mean())).float().mean())
    alignment = float(functional.cosine_similarity(*pairs).mean())
    warnings = []
    if rank < 2 or spread < 0.1:
        warnings.append(
            f"COLLAPSED: features of all samples are nearly the same (effective rank {rank:.1f}); "
            "lower the learning rate or take stronger views"
        )
    elif rank < 0.05 * values.shape[1]:
        warnings.append(
            f"few directions carry information (effective rank {rank:.1f} of {values.shape[1]})"
        )
    if dead > 0.5:
        warnings.append(
            f"{dead:.0%} of the features are dead; the encoder is wider than it needs to be"
        )
    if len(values) < 10 * values.shape[1] and rank > 0.5 * len(values):
        warnings.append(f"the rank is bounded by the {len(values)} samples, not by the encoder")
    return Health(
        dim=values.shape[1],
        samples=len(values),
        effective_rank=rank,
        spread=spread,
        dead=dead,
        alignment=alignment,
        uniformity=uniformity(unit),
        knn=_leave_one_out(unit, sample),
        warnings=tuple(warnings),
    )


def effective_rank(values: Tensor, epsilon: float = 1e-7) -> float:
    """RankMe: the exponential of the entropy of the normalised singular values (eq. 1 and 2).

    `values (N, K)`, uncentred, as in the paper; computed in float64.

    >>> round(effective_rank(torch.eye(5)), 3)
    5.0
    """
    sigma = torch.linalg.svdvals(values.double())
    total = sigma.sum()
    if total == 0:
        return 1.0
    p = sigma / total + epsilon
    return float(torch.exp(-(p * p.log()).sum()))


def uniformity(unit: Tensor, scale: float = 2.0) -> float:
    """`log E exp(-2 |a - b|^2)` over pairs of different samples; `unit (N, D)` on the sphere.

    >>> uniformity(torch.ones(3, 1))
    0.0
    """
    if len(unit) < 2:
        return 0.0
    squared = torch.pdist(unit).square()
    return float(torch.logsumexp(-scale * squared, 0) - math.log(len(squared)))


@torch.no_grad()
def _view_features(encoder: Encoder, data: Dataset, view: torch.nn.Module) -> Tensor:
    encoder.eval()
    views = (view(batch) for batch in chunks(data))
    return torch.cat([encoder(batch.x, batch.mask).pooled.float() for batch in views])


def _leave_one_out(unit: Tensor, data: Dataset) -> float | None:
    """Accuracy by the nearest other labelled samples: five, or as many as the rarest class has."""
    if not data.task.discrete:
        return None
    known = data.labelled
    unit, y = unit[known], data.y[known]
    counts = torch.bincount(y)
    k = min(NEIGHBOURS, int(counts[counts > 0].min()) - 1) if len(y) else 0
    if k < 1:
        return None
    similarity = unit @ unit.T
    similarity.fill_diagonal_(-torch.inf)
    votes = functional.one_hot(y[similarity.topk(k, dim=1).indices]).sum(1)
    return float((votes.argmax(1) == y).float().mean())
