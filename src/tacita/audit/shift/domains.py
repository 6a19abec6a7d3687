"""Does a representation know where a sample came from, and does a learner do without knowing it?

Domains are the groups of a data set: scanners, sites, subjects, styles. Leave-one-domain-out scores a
learner on a domain that it never saw; purity and a linear probe say how much of the features is
about the domain, which is what a learner could lean on there and would miss elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from tacita.data.dataset import Dataset
from tacita.errors import ConfigError, DataError
from tacita.learner import Learner
from tacita.parts.similarity import unit

NEIGHBOURS = 10
FOLDS = 5
_ROWS = 1024


@dataclass(frozen=True)
class DomainScores:
    """What a learner scores on each domain when it has learnt from the others.

    scores: the task's metric on the labelled samples of each domain, by its code in `groups`.
    """

    scores: dict[int, float]

    @property
    def mean(self) -> float:
        """Each domain counts the same, however many samples it has."""
        return float(np.mean(list(self.scores.values())))

    @property
    def worst(self) -> float:
        """The least of them."""
        return min(self.scores.values())


def leave_one_domain_out(
    data: Dataset, make: Callable[[Dataset], Learner], *, seed: int = 0
) -> DomainScores:
    """Score a learner on each domain in turn, with the rest of the data to learn from.

    make: an unfitted learner for the seen domains, which it gets as they go to `fit`: normalised by
        their own statistics, unless the data are normalised already (as for a given encoder). Here is
        the place to pretrain on them.

    Raises `DataError` for data without groups, or of one group, or with a group that has no label.

    >>> from tacita.baselines.random_forest import RandomForest
    >>> from tacita.modalities.memory import as_dataset
    >>> x, y = torch.arange(12) % 2 + torch.rand(12) / 9, ["low", "high"] * 6
    >>> data = as_dataset(x[:, None], y, groups=torch.arange(12) // 4)
    >>> leave_one_domain_out(data, lambda seen: RandomForest()).scores
    {0: 1.0, 1: 1.0, 2: 1.0}
    """
    groups = _groups(data)
    scores = {}
    for domain in torch.unique(groups).tolist():
        seen, unseen = split_domains(data, [domain])
        if seen.normaliser is None:
            seen = seen.normalised()
        if not bool(unseen.labelled.any()):
            raise DataError(
                f"{data.source}: no sample of group {domain} has a label to score on.",
                remedy="Leave that group out.",
            )
        scores[domain] = make(seen).fit(seen, seed=seed).score(unseen)
    return DomainScores(scores)


def split_domains(data: Dataset, unseen: Collection[int]) -> tuple[Dataset, Dataset]:
    """The samples of all other groups, and those of the groups `unseen`.

    Raises `DataError` where there are no groups or one of the sides is empty.
    """
    aside = torch.isin(_groups(data), torch.tensor(sorted(unseen)))
    if bool(aside.all()) or not bool(aside.any()):
        raise DataError(
            f"{data.source}: with the groups {sorted(unseen)} unseen, one side has no sample.",
            remedy=f"There are {torch.unique(_groups(data)).tolist()}.",
        )
    return data.subset(~aside), data.subset(aside)


def domain_purity(features: Tensor, domains: Tensor, k: int = NEIGHBOURS) -> float:
    """Mean share of the `k` nearest neighbours (by cosine, itself left out) in a sample's own domain.

    Where features know nothing of domains, this is the chance that two samples share one: the sum of
    their squared shares, nearly. Shapes: `features (N, D)`, `domains (N,)` codes.
    Raises `ConfigError` unless there are more than `k` samples.

    >>> features = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]])
    >>> domain_purity(features, torch.tensor([0, 0, 1, 1]), k=1)
    1.0
    """
    _check(features, domains)
    if not 1 <= k < len(features):
        raise ConfigError(
            f"k={k} neighbours of {len(features)} samples.",
            remedy="Give a number from 1 to one less than there are samples.",
        )
    z = unit(features)
    shares = []
    for start in range(0, len(z), _ROWS):
        rows = torch.arange(start, min(start + _ROWS, len(z)))
        similarity = z[rows] @ z.T
        similarity[torch.arange(len(rows)), rows] = -torch.inf
        nearest = similarity.topk(k, dim=1).indices
        shares.append((domains[nearest] == domains[rows][:, None]).double().mean(1))
    return float(torch.cat(shares).mean())


def domain_probe(features: Tensor, domains: Tensor, *, seed: int = 0) -> float:
    """Balanced accuracy of a linear probe that tells domains by features, over stratified folds.

    Each domain counts the same, so that 1 / (number of domains) is no better than a guess. Logistic
    regression with scikit-learn's penalty on standardised features. Shapes: as in `domain_purity`.
    Raises `DataError` unless there are two domains, and two samples of each.

    >>> features = torch.arange(8.0).view(8, 1)
    >>> domain_probe(features, torch.tensor([0, 0, 0, 0, 1, 1, 1, 1]))
    1.0
    """
    _check(features, domains)
    counts = torch.unique(domains, return_counts=True)[1]
    if len(counts) < 2 or int(counts.min()) < 2:
        raise DataError(
            f"there are {len(counts)} domains, the smallest of {int(counts.min())} samples.",
            remedy="Give at least two domains with at least two samples each.",
        )
    folds = StratifiedKFold(min(FOLDS, int(counts.min())), shuffle=True, random_state=seed)
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    scores = cross_val_score(
        probe, features.double().numpy(), domains.numpy(), cv=folds, scoring="balanced_accuracy"
    )
    return float(scores.mean())


def _groups(data: Dataset) -> Tensor:
    if data.groups is None:
        raise DataError(
            f"{data.source}: the samples have no groups.", remedy="Name the domains with --group."
        )
    return data.groups


def _check(features: Tensor, domains: Tensor) -> None:
    if features.ndim != 2 or domains.shape != features.shape[:1]:
        raise ConfigError(
            f"features {tuple(features.shape)} and domains {tuple(domains.shape)} do not fit.",
            remedy="Give (N, D) features and (N,) codes.",
        )
