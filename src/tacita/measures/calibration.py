"""Is a model as sure as it is right? Expected calibration error, its relative by entropy, and the curve.

Guo et al., 2017, arXiv 1706.04599 (ECE); Laves et al., 2019, arXiv 1909.13550 (UCE). Nothing is fitted
here: probabilities are judged as they are. Errors of few samples are estimated too large, by about the
root of bins over samples.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from tacita.errors import ConfigError, DataError

BINS: Final = 15
"""Equal bins between 0 and 1, as in Guo et al."""


@dataclass(frozen=True)
class Reliability:
    """What was said against what came true, in the bins that hold samples.

    Shapes: `said`, `found` and `count` `(bins,)`.
    error: the mean gap of the two, a sample counting as one; NaN without samples.
    """

    said: Tensor
    found: Tensor
    count: Tensor
    error: float


def reliability(probabilities: Tensor, y: Tensor, bins: int = BINS) -> Reliability:
    """Confidence (`said`) and accuracy (`found`) by bins of the confidence; the error is the ECE.

    Shapes: `probabilities (N, K)`, `y (N,)` codes. Raises `ConfigError` for shapes that do not fit,
    `DataError` naming a row that does not sum to 1.

    >>> sure = torch.tensor([[0.9, 0.1], [0.8, 0.2]])
    >>> round(reliability(sure, torch.tensor([0, 1]), bins=1).error, 4)
    0.35
    """
    p = _checked(probabilities, y, bins)
    confidence, predicted = p.max(1)
    return _binned(confidence, (predicted == y).double(), bins)


def uncertainty(probabilities: Tensor, y: Tensor, bins: int = BINS) -> Reliability:
    """Normalised entropy (`said`) and error rate (`found`) by bins of the entropy; the error is the UCE.

    The entropy is divided by that of equal probabilities, so that it is between 0 and 1. It is no
    probability of being wrong: of two classes at 1/2 it is 1, where half are right. So even perfect
    probabilities have a UCE above 0, and only models on the same samples are compared by it.
    Shapes and errors: as in `reliability`.

    >>> torn = torch.tensor([[0.5, 0.5], [0.5, 0.5]])
    >>> uncertainty(torn, torch.tensor([0, 1])).error
    0.5
    """
    p = _checked(probabilities, y, bins)
    most = math.log(max(p.shape[1], 2))
    entropy = torch.special.entr(p).sum(1) / most
    return _binned(entropy.clamp(0, 1), (p.argmax(1) != y).double(), bins)


def ece(probabilities: Tensor, y: Tensor, bins: int = BINS) -> float:
    """Expected calibration error of `probabilities (N, K)` against classes `y (N,)`; see `reliability`.

    Raises `ConfigError` as `reliability` does.

    >>> ece(torch.tensor([[0.75, 0.25], [0.75, 0.25]]), torch.tensor([0, 1]))
    0.25
    """
    return reliability(probabilities, y, bins).error


def uce(probabilities: Tensor, y: Tensor, bins: int = BINS) -> float:
    """Uncertainty calibration error of `probabilities (N, K)` against classes `y (N,)`; see `uncertainty`.

    >>> round(uce(torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([0, 0])), 3)
    0.0
    """
    return uncertainty(probabilities, y, bins).error


def _binned(said: Tensor, found: Tensor, bins: int) -> Reliability:
    """A bin holds what is above its lower end, and at most its upper one."""
    place = (said * bins).ceil().long().sub(1).clamp(0, bins - 1)
    count = torch.bincount(place, minlength=bins)
    full = count > 0
    said = torch.bincount(place, said, bins)[full] / count[full]
    found = torch.bincount(place, found, bins)[full] / count[full]
    gaps = (said - found).abs() * count[full]
    error = float(gaps.sum() / len(place)) if len(place) else math.nan
    return Reliability(said, found, count[full], error)


def _checked(probabilities: Tensor, y: Tensor, bins: int) -> Tensor:
    if probabilities.ndim != 2 or y.shape != probabilities.shape[:1] or bins < 1:
        raise ConfigError(
            f"probabilities {tuple(probabilities.shape)}, labels {tuple(y.shape)} and {bins} bins "
            "do not fit.",
            remedy="Give (N, K) probabilities, (N,) codes and 1 bin or more.",
        )
    p = probabilities.double()
    wrong = (p.sum(1) - 1).abs() > 1e-3  # probabilities that are NaN have an error that is
    if bool(wrong.any()):
        row = int(wrong.nonzero()[0])
        raise DataError(
            f"The probabilities of sample {row} sum to {float(p[row].sum()):.4g}.",
            remedy="Give probabilities (predict_proba), not logits.",
        )
    return p
