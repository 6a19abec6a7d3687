"""How well a number tells one class from the others, at every threshold that it could be cut at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.metrics import average_precision_score, roc_curve

POINTS: Final = 200
"""Thresholds that a curve keeps at most; its ends are among them."""


@dataclass(frozen=True)
class Operating:
    """One class against the others: what comes of each threshold, from the highest down.

    A sample is taken for the class where its probability is `threshold` or more. Shapes: all `(T,)`;
    `precision` is NaN where nothing is taken.
    """

    name: str
    threshold: NDArray[np.float64]
    recall: NDArray[np.float64]
    false_alarms: NDArray[np.float64]
    """The share of the other classes that is taken for this one."""
    precision: NDArray[np.float64]
    positives: int
    negatives: int
    auc: float
    average_precision: float


def aucs(shares: NDArray[Any], codes: NDArray[Any]) -> NDArray[np.float64]:
    """`(K,)` area under the ROC curve of each class against the others, NaN where one side is empty.

    Shapes: `shares (N, K)`, `codes (N,)`.

    >>> aucs(np.array([[0.9, 0.1], [0.6, 0.4], [0.7, 0.3]]), np.array([0, 1, 0])).tolist()
    [1.0, 1.0]
    """
    ranks = rankdata(shares, axis=0)
    own = codes[:, None] == np.arange(shares.shape[1])
    positives = own.sum(0)
    pairs = positives * (len(codes) - positives)
    wins = (ranks * own).sum(0) - positives * (positives + 1) / 2
    return np.divide(wins, pairs, out=np.full(len(pairs), np.nan), where=pairs > 0)


def operating(name: str, score: NDArray[Any], positive: NDArray[np.bool_]) -> Operating | None:
    """The thresholds of one class's probabilities `(N,)`; None where one side has no sample.

    >>> found = operating("ill", np.array([0.9, 0.2, 0.6]), np.array([True, False, False]))
    >>> found.threshold.tolist(), found.recall.tolist(), found.precision.tolist()
    ([0.9, 0.6, 0.2], [1.0, 1.0, 1.0], [1.0, 0.5, 0.3333333333333333])
    """
    count = int(positive.sum())
    others = len(positive) - count
    if not count or not others:
        return None
    false_alarms, recall, threshold = roc_curve(positive, score, drop_intermediate=False)
    # The first threshold of scikit-learn is infinite: nothing is taken.
    false_alarms, recall, threshold = false_alarms[1:], recall[1:], threshold[1:]
    taken = recall * count + false_alarms * others
    kept = np.arange(len(threshold))
    if len(kept) > POINTS:
        kept = np.unique(np.linspace(0, len(threshold) - 1, POINTS).round().astype(np.int64))
    auc = aucs(np.stack([1 - score, score], 1), positive.astype(np.int64))[1]
    return Operating(
        name,
        threshold[kept],
        recall[kept],
        false_alarms[kept],
        (recall * count / taken)[kept],
        count,
        others,
        float(auc),
        float(average_precision_score(positive, score)),
    )
