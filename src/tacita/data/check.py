"""Whether there are labels enough to learn from; asked before any training."""

from __future__ import annotations

from tacita.data.dataset import Dataset
from tacita.errors import DataError
from tacita.words import plural


def check_trainable(data: Dataset, *, fewest: int = 2) -> None:
    """Raises `DataError` unless there are two classes with enough labels (or two differing targets).

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
            " (-1, NaN, None and empty mean unlabelled).",
        )
    data.task.check_enough(data.targets[data.labelled], data.source, fewest)
