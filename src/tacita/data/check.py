"""Whether there are labels enough to learn from, and whether they are labels; asked before any training."""

from __future__ import annotations

from tacita.data.dataset import Dataset
from tacita.errors import DataError
from tacita.tasks.declared import DOUBTFUL
from tacita.words import plural


def check_trainable(data: Dataset, *, fewest: int = 2) -> None:
    """Raises `DataError` unless there are two classes with enough labels (or two differing targets).

    A word that may mean "no label", and that has more samples than all other classes together, is
    refused until its user says what it is.
    fewest: labels a class; cross-validation needs 2, one training 1.

    >>> import torch
    >>> from tacita.modalities.memory import as_dataset
    >>> check_trainable(as_dataset(torch.rand(4, 2), ["a", "a", "b", "b"]))
    """
    data = data.learnable()
    if not bool(data.labelled.any()):
        raise DataError(
            f"{data.source}: none of the {len(data)} samples has a label.",
            remedy=f"Give at least {plural(fewest, 'label')} a class, or use pretrain, which needs none"
            " (NaN, None, empty and, among whole numbers, -1 mean unlabelled).",
        )
    counts = data.task.counts(data.targets[data.labelled])
    for word in doubtful_classes(data):
        if 2 * counts[word] > sum(counts.values()):
            raise DataError(
                f"{data.source}: {word!r} is the label of {counts[word]} of"
                f" {sum(counts.values())} samples, and may mean that they have none.",
                remedy=told_either_way(word),
            )
    data.task.check_enough(data.targets[data.labelled], data.source, fewest)


def doubtful_classes(data: Dataset) -> list[str]:
    """Classes of labels whose names often mean "no label", and of which nobody has said that they do not."""
    counts = data.task.counts(data.targets[data.labelled])
    return [
        name
        for name in data.task.classes
        if counts.get(name) and name.lower() in DOUBTFUL and name not in data.meta.as_class
    ]


def told_either_way(word: str) -> str:
    """How to say whether a word is a class."""
    return (
        f"Say which: unlabelled_as={word!r} (--unlabelled-as={word}) if there is no label,"
        f" as_class={word!r} (--class={word}) if it is a class."
    )
