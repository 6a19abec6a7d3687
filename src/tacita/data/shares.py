"""Prior probability shift: the same classes in other shares, with as many samples in all.

Classes that are common among the labels may be rare among the unlabelled samples. From data with labels
this makes such a pool, to see what that does to a method; the size stays, so that it is not the number
of samples that is seen.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from tacita.data.dataset import Dataset
from tacita.errors import ConfigError, DataError
from tacita.tasks import require_one_class


def with_shares(data: Dataset, shares: Mapping[str, float], *, size: int, seed: int = 0) -> Dataset:
    """`size` labelled samples of which each class has its share, drawn at random without repeats.

    shares: by the classes' names, summing to 1; a class that is not named is left out.
    size: the same for every share. Counts are whole, so each is less than one sample off its share.

    Samples stay in order with their stable index and their label; hide labels with `hide_labels`.
    With one seed, a class's samples at a smaller share are among those at a larger one.

    Raises `ConfigError` for a task without classes, a class that it does not have, or shares that do
    not sum to 1; `DataError` with the largest size that there is where a class has too few samples.

    >>> from tacita.tasks import Classification
    >>> y, task = torch.tensor([0, 1, 0, 1, 0, 1]), Classification(("a", "b"))
    >>> pool = with_shares(Dataset.of("tables", torch.zeros(6, 2), y, task), {"a": 0.75, "b": 0.25}, size=4)
    >>> sorted(pool.y.tolist())
    [0, 0, 0, 1]
    """
    require_one_class(
        f"{data.source}: classes were given shares", data.task, remedy="Leave the shares out."
    )
    strange = [name for name in shares if name not in data.task.classes]
    if strange:
        raise ConfigError(
            f"shares has {strange[0]!r}, which is no class of {data.source}.",
            remedy=f"Its classes are {', '.join(data.task.classes[:10])}.",
        )
    wanted = torch.tensor(list(shares.values()), dtype=torch.float64)
    if size < 1 or not bool((wanted >= 0).all()) or abs(float(wanted.sum()) - 1) > 1e-6:
        raise ConfigError(
            f"shares={dict(shares)} of size={size}: they are no parts of a whole.",
            remedy="Give shares from 0 to 1 that sum to 1, and a size of 1 or more.",
        )
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(data), generator=generator)
    drawn = []
    for name, count, share in zip(shares, counts_of(wanted, size), shares.values(), strict=True):
        members = order[data.y[order] == data.task.classes.index(name)]
        if count > len(members):
            raise DataError(
                f"{data.source}: {share:g} of {size} samples are {count} of {name!r}, but there are "
                f"{len(members)}.",
                remedy=f"Give a size of at most {int(len(members) / share)}.",
            )
        drawn.append(members[:count])
    return data.subset(torch.cat(drawn).sort().values)


def counts_of(shares: Tensor, size: int) -> list[int]:
    """Whole numbers that sum to `size` and are less than 1 off their shares: the largest remainders win.

    >>> counts_of(torch.tensor([0.5, 0.25, 0.25]), 7)
    [3, 2, 2]
    """
    exact = (shares.double() * size / shares.double().sum()).round(decimals=9)
    counts = exact.floor()
    rest = size - int(counts.sum())
    # A stable order, so that equal remainders go to the first of them.
    largest = (exact - counts).argsort(descending=True, stable=True)[:rest]
    counts[largest] += 1
    return [int(count) for count in counts]
