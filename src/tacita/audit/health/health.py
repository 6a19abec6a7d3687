"""Is the representation alive? Gauges that need no label, and a warning in words when it is not.

A falling loss proves nothing in self-supervised learning. What shows trouble is the embedding: its
rank (RankMe, Garrido et al., 2023, arXiv 2210.02885), its spread on the unit sphere (Chen and He,
2021), dead features, and alignment and uniformity (Wang and Isola, 2020).

Collapse is judged where the loss acts. A collapsed embedding can hide behind features that are still
those of a random encoder; and healthy features of a Transformer share a large mean, so that their
uncentred rank is near 1 though every sample is told from every other.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from tacita.audit.health.rankme import LOW, embeddings, joint
from tacita.data.dataset import Dataset
from tacita.data.modality import default_views
from tacita.data.splits import drawn
from tacita.encoder import Encoder
from tacita.learner import chunks, features
from tacita.measures.spectrum import SpectrumTracker
from tacita.objective import Objective

__all__ = ["Health", "health", "uniformity"]

NEIGHBOURS = 5
ONE_POINT = 0.2
"""Embeddings of less spread on the sphere that fill less than a tenth of the width have collapsed:
healthy ones have 0.7 or more, and those of a siamese network without predictor and stop-gradient
0.1 and falling (measured on digits and wine)."""
NO_SPREAD = 0.01
"""Features whose deviation is a smaller share of their length are those of a constant encoder."""


@dataclass(frozen=True)
class Health:
    """The gauges of an encoder, and of what was trained with it, on some samples.

    effective_rank: RankMe of the features, between 1 and `dim`.
    centred_rank: the same about the features' mean, which a Transformer's features have much of.
    spread: mean standard deviation of the normalised features, times the root of `dim`: 1 when
        they fill the sphere, 0 when all are one point.
    dead: share of the features that are the same for every sample.
    alignment: mean cosine between two weak views of a sample.
    uniformity: log of the mean Gaussian potential of pairs; more negative is more uniform.
    knn: leave-one-out accuracy of the nearest neighbours (5, or one fewer than the rarest class
        has) over the labelled samples, if every class has two.
    embedding_dim, embedding_rank, embedding_spread: of the embeddings on which the loss acts; None
        where no objective is at hand, or one without embeddings of its own, such as reconstruction.
    """

    dim: int
    samples: int
    effective_rank: float
    centred_rank: float
    spread: float
    dead: float
    alignment: float
    uniformity: float
    knn: float | None
    embedding_dim: int | None
    embedding_rank: float | None
    embedding_spread: float | None
    warnings: tuple[str, ...]

    @property
    def rank(self) -> float:
        """What compares runs of one method: of the embeddings, else of the features about their mean."""
        return self.centred_rank if self.embedding_rank is None else self.embedding_rank

    def line(self) -> str:
        """One line for the screen."""
        knn = "" if self.knn is None else f", knn {self.knn:.2f}"
        embedded = ""
        if self.embedding_rank is not None:
            embedded = f" (embeddings {self.embedding_rank:.1f} of {self.embedding_dim})"
        figures = (
            f"effective rank {self.effective_rank:.1f} of {self.dim}{embedded}, "
            f"spread {self.spread:.2f}, dead {self.dead:.0%}, alignment {self.alignment:.2f}, "
            f"uniformity {self.uniformity:.2f}{knn}"
        )
        return f"{figures}; {'; '.join(self.warnings) or 'ok'}"

    def as_dict(self) -> dict[str, Any]:
        """The figures under their names, as they stand in `metrics.json`."""
        return {**asdict(self), "warnings": list(self.warnings)}


def health(
    encoder: Encoder,
    data: Dataset,
    *,
    objective: Objective[Any] | None = None,
    seed: int = 0,
) -> Health:
    """Gauge an encoder on (a seeded draw of) a normalised data set, in evaluation mode.

    objective: what the encoder was pretrained in; then its embeddings are gauged too.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        sample = drawn(data, seed=seed)
        values = features(encoder, sample)
        view = default_views(data.spec, "weak")
        pairs = _view_features(encoder, sample, view), _view_features(encoder, sample, view)
    spectrum = _spectrum(values)
    unit = functional.normalize(values, dim=1)
    knn = _leave_one_out(unit, sample)
    width = values.shape[1]
    embedded = None
    if objective is not None and joint(objective):
        embedded = embeddings(objective, sample).float()
    found = Health(
        dim=width,
        samples=len(values),
        effective_rank=spectrum.rank(),
        centred_rank=spectrum.rank(centre=True),
        spread=_spread(values),
        dead=float((values.std(0) <= 1e-6 * values.abs().mean()).float().mean()),
        alignment=float(functional.cosine_similarity(*pairs).mean()),
        uniformity=uniformity(unit),
        knn=knn,
        embedding_dim=None if embedded is None else embedded.shape[1],
        embedding_rank=None if embedded is None else _spectrum(embedded).rank(),
        embedding_spread=None if embedded is None else _spread(embedded),
        warnings=(),
    )
    told = knn is not None and knn > (1 + _most_frequent(sample)) / 2
    return replace(found, warnings=tuple(_warnings(found, spectrum, neighbours_tell=told)))


def _warnings(found: Health, spectrum: SpectrumTracker, *, neighbours_tell: bool) -> list[str]:
    """What is wrong, the worst first. A large common mean is no fault, and hides no neighbours."""
    warnings = []
    rank, width = found.centred_rank, found.dim
    if found.embedding_rank is not None and found.embedding_spread is not None:
        assert found.embedding_dim is not None
        width_seen = min(found.embedding_dim, found.samples)
        narrow = found.embedding_rank < 2 * LOW * width_seen
        if found.embedding_rank < 2 or (narrow and found.embedding_spread < ONE_POINT):
            warnings.append(
                "COLLAPSED: embeddings of all samples are nearly the same "
                f"(rank {found.embedding_rank:.1f} of {found.embedding_dim}, "
                f"spread {found.embedding_spread:.2f}); "
                "lower the learning rate or take stronger views"
            )
        elif found.embedding_rank < LOW * width_seen:
            warnings.append(
                "the embeddings fill few directions "
                f"(rank {found.embedding_rank:.1f} of {found.embedding_dim})"
            )
    if not neighbours_tell and (math.sqrt(spectrum.spread) < NO_SPREAD or rank < 1.5):
        warnings.append(
            "COLLAPSED: features of all samples are nearly the same "
            f"(effective rank {found.effective_rank:.1f}, {rank:.1f} about their mean); "
            "lower the learning rate or take stronger views"
        )
    elif not neighbours_tell and rank < LOW * min(width, found.samples):
        warnings.append(f"few directions carry information (rank {rank:.1f} of {width})")
    if found.dead > 0.5:
        warnings.append(
            f"{found.dead:.0%} of the features are dead; the encoder is wider than it needs to be"
        )
    if found.samples < 10 * width and found.effective_rank > 0.5 * found.samples:
        warnings.append(f"the rank is bounded by the {found.samples} samples, not by the encoder")
    return warnings


def _spectrum(values: Tensor) -> SpectrumTracker:
    tracker = SpectrumTracker(values.shape[1])
    tracker.update(values)
    return tracker


def _spread(values: Tensor) -> float:
    """Mean deviation of the features on the unit sphere, times the root of their number."""
    unit = functional.normalize(values, dim=1)
    return float(unit.std(0).mean() * math.sqrt(values.shape[1]))


def _most_frequent(data: Dataset) -> float:
    """Share of the most frequent class: the accuracy of knowing nothing."""
    codes = data.task.codes(data.targets[data.labelled])
    return 1.0 if codes is None else float(torch.bincount(codes).max() / len(codes))


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
    return torch.cat([encoder(batch).pooled.float() for batch in views])


def _leave_one_out(unit: Tensor, data: Dataset) -> float | None:
    """Accuracy by the nearest other labelled samples: five, or as many as the rarest class has."""
    known = data.labelled
    y = data.task.codes(data.targets[known])
    if y is None:
        return None
    unit = unit[known]
    counts = torch.bincount(y)
    k = min(NEIGHBOURS, int(counts[counts > 0].min()) - 1) if len(y) else 0
    if k < 1:
        return None
    similarity = unit @ unit.T
    similarity.fill_diagonal_(-torch.inf)
    votes = functional.one_hot(y[similarity.topk(k, dim=1).indices]).sum(1)
    return float((votes.argmax(1) == y).float().mean())
