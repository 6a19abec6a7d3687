"""Which labels are learnt from and which are kept aside: stratified, grouped and seeded.

Classes keep their shares where there are classes; samples of one group (a subject, a machine)
never stand on both sides; what lies in time is cut in time, see `splits_in_time`. Every function gives
positions in the data set, in ascending order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from sklearn.model_selection import (
    GroupKFold,
    GroupShuffleSplit,
    KFold,
    ShuffleSplit,
    StratifiedGroupKFold,
    StratifiedKFold,
    StratifiedShuffleSplit,
)
from torch import Tensor

from tacita.data import splits_in_time
from tacita.data.dataset import Dataset
from tacita.errors import DataError
from tacita.tasks import require_one_class
from tacita.windows import Windows

HELD_OUT = 0.25
"""Share of the labels kept aside for the final figure, where there are enough of them."""
ENOUGH_PER_CLASS = 14
"""Of which ten are left to learn from."""
ENOUGH = 40
FOLDS = 5
SAMPLES = 2560
"""Samples that gauges are computed on: ten a feature of the usual projector."""


@dataclass(frozen=True)
class Fold:
    """Positions of the labels to learn from and of those to be scored on."""

    train: Tensor
    score: Tensor


def hold_out(data: Dataset, share: float, seed: int) -> tuple[Tensor, Tensor]:
    """Split the labelled positions into (kept for learning, held out).

    Raises `DataError` where a class or the groups are too few to be split, or the samples are in doubt.

    >>> from tacita.modalities.load import load
    >>> kept, held = hold_out(load("wine"), 0.25, seed=0)
    >>> len(kept), len(held)
    (133, 45)
    """
    if isinstance(data.samples, Windows):
        return splits_in_time.hold_out(data.samples, data.labelled, share, data.source)
    positions = data.labelled.nonzero().squeeze(1)
    return _part(data, positions, data.task.stratum(data.targets[positions]), share, seed)


def hold_out_samples(data: Dataset, share: float, seed: int) -> tuple[Tensor, Tensor]:
    """Split all positions, with a label or without, into (kept, held out); groups stay together."""
    return _part(data, torch.arange(len(data)), None, share, seed)


def _check_parts(data: Dataset) -> None:
    """Raise `DataError` where samples may be of one thing, so that parts would share it."""
    if data.doubt is not None:
        raise DataError(
            f"{data.source}: {data.doubt.what}. Rows of one series on both sides of a split would make"
            " every score too good.",
            remedy=f"Pass {data.doubt.remedy}.",
        )


def _part(
    data: Dataset, positions: Tensor, stratum: Tensor | None, share: float, seed: int
) -> tuple[Tensor, Tensor]:
    _check_parts(data)
    y = None if stratum is None else stratum.numpy()
    groups = None if data.groups is None else data.groups[positions].numpy()
    if groups is not None:
        splitter = GroupShuffleSplit(1, test_size=share, random_state=seed)
    elif y is not None:
        splitter = StratifiedShuffleSplit(1, test_size=share, random_state=seed)
    else:
        splitter = ShuffleSplit(1, test_size=share, random_state=seed)
    try:
        train, test = next(splitter.split(positions.numpy(), y, groups))
    except ValueError as error:
        raise DataError(
            f"{data.source}: the labels cannot be split into two parts ({error}).",
            remedy="Give more labels or groups, or a file of test samples with --test.",
        ) from error
    return positions[torch.as_tensor(train).sort().values], positions[
        torch.as_tensor(test).sort().values
    ]


def enough_to_hold_out(data: Dataset) -> bool:
    """Whether the labels suffice to keep a part aside and still learn from the rest."""
    if isinstance(data.samples, Windows):
        return splits_in_time.enough_to_hold_out(data.samples, data.labelled)
    y = data.targets[data.labelled]
    if data.groups is not None and len(torch.unique(data.groups[data.labelled])) < 5:
        return False
    stratum = data.task.stratum(y)
    if stratum is None:
        return len(y) >= ENOUGH
    counts = torch.bincount(stratum, minlength=len(data.task.classes))
    return len(y) >= ENOUGH and int(counts.min()) >= ENOUGH_PER_CLASS


def cross_validation(data: Dataset, seed: int) -> list[Fold]:
    """Folds over all labels: up to five, as many as the rarest class or the groups allow.

    With labels for two folds only, they are drawn twice, so that a mean has four scores. The only label of
    a class is learnt from in every fold and scored in none. No folds where fewer than two classes have two
    labels: nothing could be told of a model then. Raises `DataError` where the groups or targets are too few.

    >>> from tacita.modalities.load import load
    >>> len(cross_validation(load("wine"), seed=0))
    5
    """
    _check_parts(data)
    if isinstance(data.samples, Windows):
        found = splits_in_time.cross_validation(data.samples, data.labelled, data.source)
        return [Fold(learnt, scored) for learnt, scored in found]
    positions = data.labelled.nonzero().squeeze(1)
    stratum = data.task.stratum(data.targets[positions])
    alone = torch.zeros(len(positions), dtype=torch.bool)
    if stratum is not None:
        alone = torch.bincount(stratum)[stratum] == 1
        if len(torch.unique(stratum[~alone])) < 2:
            return []
        stratum = stratum[~alone]
    positions, single = positions[~alone], positions[alone]
    y = None if stratum is None else stratum.numpy()
    most = (
        len(positions) // data.task.fewest_scored
        if y is None
        else int(np.unique(y, return_counts=True)[1].min())
    )
    groups = None if data.groups is None else data.groups[positions].numpy()
    if groups is not None:
        most = min(most, len(np.unique(groups)))
    count = min(FOLDS, most)
    if count < 2:
        raise DataError(
            f"{data.source}: the labels are too few for two folds.",
            remedy="Give at least two labels a class (and two groups), or test samples with --test.",
        )
    if groups is not None and y is not None:
        splitters = [StratifiedGroupKFold(count, shuffle=True, random_state=seed)]
    elif groups is not None:
        splitters = [GroupKFold(count, shuffle=True, random_state=seed)]
    else:
        kind = KFold if y is None else StratifiedKFold
        repeats = 2 if count == 2 else 1
        splitters = [kind(count, shuffle=True, random_state=seed + i) for i in range(repeats)]
    folds = []
    for splitter in splitters:
        for train, test in splitter.split(positions.numpy(), y, groups):
            score = positions[torch.as_tensor(test)]
            also = single
            if data.groups is not None:
                also = also[~torch.isin(data.groups[also], data.groups[score])]
            learnt = torch.cat([positions[torch.as_tensor(train)], also]).sort().values
            folds.append(Fold(learnt, score))
    return folds


def draw_labels(data: Dataset, per_class: int, seed: int) -> Tensor:
    """Positions of `per_class` labelled samples of each class, drawn at random.

    Raises `DataError` naming a class that has fewer, `ConfigError` for a task without classes.

    >>> from tacita.modalities.load import load
    >>> wine = load("wine")
    >>> int(wine.hide_labels(draw_labels(wine, 2, seed=0)).labelled.sum())
    6
    """
    require_one_class("labels_per_class was given", data.task, remedy="Leave it out.")
    generator = torch.Generator().manual_seed(seed)
    drawn = []
    for code, name in enumerate(data.task.classes):
        members = (data.y == code).nonzero().squeeze(1)
        if len(members) < per_class:
            raise DataError(
                f"{data.source}: class {name!r} has {len(members)} labels, fewer than {per_class}.",
                remedy=f"Try --labels-per-class {max(len(members), 1)}.",
            )
        drawn.append(members[torch.randperm(len(members), generator=generator)[:per_class]])
    return torch.cat(drawn).sort().values


def drawn(data: Dataset, samples: int = SAMPLES, seed: int = 0) -> Dataset:
    """At most `samples` of a data set, with a label or not, the same ones each time."""
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(seed))
    return data.subset(order[:samples].sort().values)
