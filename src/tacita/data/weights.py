"""How often each sample counts: weights as their user has them, checked, and brought to a mean of 1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tacita.errors import ConfigError, DataError
from tacita.tasks.labels import as_array, is_nothing, text_of

_REMEDY = "Give one finite number of 0 or more a sample; 0 leaves it out."


def checked_weights(raw: Any, labelled: Tensor, source: str) -> Tensor:
    """`(N,)` float64 weights from any container; `labelled (N,)`: which samples have a label.

    A missing weight is 1 where there is no label that it could count for. Raises `DataError` for another
    number of them, for what is no finite number of 0 or more, naming the sample, and where all are 0.

    >>> checked_weights([1, "0.5", None], torch.tensor([True, True, False]), "example").tolist()
    [1.0, 0.5, 1.0]
    """
    count = len(labelled)
    array = np.asarray(raw) if isinstance(raw, list | tuple) else raw
    if getattr(array, "ndim", 1) != 1 or getattr(array, "shape", (count,)) != (count,):
        raise DataError(
            f"{source}: weights of shape {tuple(array.shape)} for {count} samples.",
            remedy="Give one weight a sample, of shape (N,).",
        )
    values = as_array(raw)
    if values.dtype.kind in "biuf":
        weights = values.astype(np.float64)
    else:
        weights = np.array([_number(value, i, source) for i, value in enumerate(values.tolist())])
    weights[np.isnan(weights) & ~labelled.numpy()] = 1.0
    if np.isnan(weights).any():
        position = int(np.isnan(weights).argmax())
        raise DataError(
            f"{source}: the weight of sample {position}, which has a label, is missing.",
            remedy=_REMEDY,
        )
    wrong = ~np.isfinite(weights) | (weights < 0)
    if wrong.any():
        position = int(wrong.argmax())
        raise DataError(
            f"{source}: the weight of sample {position} is {weights[position]:g}.", remedy=_REMEDY
        )
    if not weights.any():
        raise DataError(
            f"{source}: all sample weights are zero, so there is no sample to learn from.",
            remedy=_REMEDY,
        )
    return torch.from_numpy(weights)


def even_weights(weights: Tensor | None, labelled: Tensor) -> Tensor | None:
    """`(N,)` weights whose mean over the labelled samples is 1; None where these all weigh the same.

    So only their ratios count. Shapes: `weights (N,)` above 0, `labelled (N,)` bool.

    >>> labelled = torch.tensor([True, True, False])
    >>> even_weights(torch.tensor([3.0, 1.0, 9.0]), labelled).tolist()
    [1.5, 0.5, 4.5]
    >>> even_weights(torch.tensor([3.0, 3.0, 1.0]), labelled)
    """
    if weights is None:
        return None
    known = weights[labelled]
    if not len(known) or bool((known == known[0]).all()):
        return None
    # Divided by the largest first, so that no sum of large weights runs over.
    weights = weights / known.max()
    return weights / weights[labelled].mean()


def joined_weights(parts: Sequence[tuple[Tensor | None, int]]) -> Tensor | None:
    """Weights of several data sets end to end, each with its count; 1 where only others have some."""
    if all(weights is None for weights, _ in parts):
        return None
    ones = (torch.ones(count, dtype=torch.float64) for _, count in parts)
    found = [
        one if weights is None else weights for (weights, _), one in zip(parts, ones, strict=True)
    ]
    return torch.cat(found)


def cannot_weigh(name: str, source: str) -> ConfigError:
    """The error for what learns from samples that all count the same."""
    return ConfigError(
        f"{name} cannot weigh samples, and those of {source} have weights.",
        remedy="Leave the weights out, or take a learner that can, such as supervised or"
        " logistic-regression.",
    )


def _number(value: Any, position: int, source: str) -> float:
    text = "" if is_nothing(value) else text_of(value)
    try:
        return float(text or "nan")
    except ValueError as error:
        raise DataError(
            f"{source}: the weight of sample {position} is {text!r}, not a number.",
            remedy=_REMEDY,
        ) from error
