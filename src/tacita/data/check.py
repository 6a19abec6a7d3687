"""Whether there are labels enough to learn from; asked before any training."""

from __future__ import annotations

import torch

from tacita.data.dataset import Dataset
from tacita.errors import DataError
from tacita.tasks import UNLABELLED

_FEWEST = 2


def check_trainable(data: Dataset, *, fewest: int = 2) -> None:
    """Raises `DataError` unless there are two classes with enough labels (or two differing targets).

    fewest: labels a class; cross-validation needs 2, one training 1.

    >>> from tacita.modalities.memory import as_dataset
    >>> check_trainable(as_dataset(torch.rand(4, 2), ["a", "a", "b", "b"]))
    """
    data = data.learnable()
    known = data.y[data.labelled]
    if not len(known):
        raise DataError(
            f"{data.source}: none of the {len(data)} samples has a label.",
            remedy=f"Give at least {_labels(fewest)} a class, or use pretrain, which needs none"
            " (-1, NaN, None and empty mean unlabelled).",
        )
    if not data.task.discrete:
        values = torch.unique(known)
        if len(values[values != UNLABELLED] if data.task.coded else values) < _FEWEST:
            raise DataError(
                f"{data.source}: the labels are all {known.flatten()[0].item():g}.",
                remedy="Give targets that differ.",
            )
        return
    counts = torch.bincount(known, minlength=len(data.task.classes)).tolist()
    present = [name for name, count in zip(data.task.classes, counts, strict=True) if count]
    if len(present) < _FEWEST:
        raise DataError(
            f"{data.source}: all {len(known)} labels are of one class, {present[0]!r}.",
            remedy="Give labels of at least two classes; -1 means unlabelled, so name a class"
            " otherwise.",
        )
    for name, count in zip(data.task.classes, counts, strict=True):
        if count < fewest:
            raise DataError(
                f"{data.source}: the class {name!r} has {_labels(count)}.",
                remedy=f"Give at least {_labels(fewest)} a class, or leave the class out.",
            )


def _labels(count: int) -> str:
    return f"{count} label{'s' * (count != 1)}"
