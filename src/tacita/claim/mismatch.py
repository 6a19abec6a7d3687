"""Class distribution mismatch: a pool whose unlabelled samples are partly of classes not to be learnt.

Real unlabelled data are seldom of the labelled classes alone. From data with all labels this makes
such a pool, to see what unknown classes do to a method.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from tacita.audit.poison import Poison, Poisoned
from tacita.data.dataset import Dataset
from tacita.errors import ConfigError, DataError
from tacita.tasks import UNLABELLED, Classification, require_classes


def mismatched(data: Dataset, known: Sequence[str], *, share: float, seed: int = 0) -> Dataset:
    """All samples of the known classes, and as many unlabelled strangers that they are `share` of all.

    known: the names of the classes to be learnt, two or more; the task has these alone, in this order.
    share: of unknown samples among all, from 0 to below 1: for `T` known ones, `ceil(share T / (1 -
        share))` are drawn at random from all other classes.

    Samples stay in order with their stable index, so that `data` still tells what a stranger is. Those
    without a label in `data` are left out. Hide labels of the known ones with `draw_labels`.

    Raises `ConfigError` for a task without classes, a class that it does not have or a share out of
    range, and `DataError` where there are too few samples of other classes.

    >>> y, task = torch.tensor([0, 1, 2, 2, 1]), Classification(("a", "b", "c"))
    >>> data = Dataset.of("tables", torch.zeros(5, 2), y, task)
    >>> pool = mismatched(data, ["c", "a"], share=0.25)
    >>> pool.task.classes, sorted(pool.y.tolist())
    (('c', 'a'), [-1, 0, 0, 1])
    """
    require_classes(
        f"{data.source}: classes are made unknown",
        data.task,
        remedy="Give data with the task classification.",
    )
    strange = [name for name in known if name not in data.task.classes]
    if strange or len(set(known)) != len(known) or len(known) < 2:
        raise ConfigError(
            f"known={list(known)!r}: these are not two or more different classes of {data.source}.",
            remedy=f"Its classes are {', '.join(data.task.classes[:10])}.",
        )
    if not 0 <= share < 1:
        raise ConfigError(
            f"share={share} is not from 0 to below 1.", remedy="Usual are 0.2 to 0.8."
        )
    # The last entry is read by the code -1 of a sample without a label.
    codes = torch.full((len(data.task.classes) + 1,), UNLABELLED)
    for code, name in enumerate(known):
        codes[data.task.classes.index(name)] = code
    y = codes[data.y]
    targets = y != UNLABELLED
    others = (data.labelled & ~targets).nonzero().squeeze(1)
    # Rounded first: 0.8 * 80 / (1 - 0.8) comes out a little above 320.
    count = math.ceil(round(share * int(targets.sum()) / (1 - share), 6))
    if count > len(others):
        most = len(others) / (len(others) + int(targets.sum()))
        raise DataError(
            f"{data.source}: share={share} needs {count} samples of unknown classes, but there are "
            f"{len(others)}.",
            remedy=f"Give a share of at most {math.floor(100 * most) / 100}, or fewer known samples.",
        )
    generator = torch.Generator().manual_seed(seed)
    drawn = others[torch.randperm(len(others), generator=generator)[:count]]
    positions = torch.cat([targets.nonzero().squeeze(1), drawn]).sort().values
    return data.with_labels(y, Classification(tuple(known))).subset(positions)


class UnknownClasses(Poison):
    """A pool with samples of classes not to be learnt, and which they are; see `mismatched`."""

    def __init__(self, known: Sequence[str], *, share: float, seed: int = 0) -> None:
        self.known = tuple(known)
        self.share = share
        self.seed = seed

    def apply(self, data: Dataset) -> Poisoned:
        pool = mismatched(data, self.known, share=self.share, seed=self.seed)
        # Of the known classes every sample has its label here.
        return Poisoned(pool, ~pool.labelled)
