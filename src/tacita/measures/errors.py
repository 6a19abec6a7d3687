"""Where predictions are wrong: which classes are taken for which, and which samples are missed worst.

Axis alphabet: `N` samples, `K` classes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Codes = NDArray[np.integer[Any]]


def confusion(predicted: Codes, y: Codes, classes: int) -> NDArray[np.int64]:
    """`(K, K)` counts: a row is the true class, a column the predicted one.

    >>> confusion(np.array([0, 1, 1]), np.array([0, 0, 1]), 2).tolist()
    [[1, 1], [0, 1]]
    """
    cells = y.astype(np.int64) * classes + predicted
    return np.bincount(cells, minlength=classes**2).reshape(classes, classes)


def confident_errors(probabilities: Floats, y: Codes, top: int) -> NDArray[np.int64]:
    """Positions of the wrong predictions, the surest first, at most `top` of them.

    >>> confident_errors(np.array([[0.6, 0.4], [0.1, 0.9], [0.3, 0.7]]), np.array([1, 0, 1]), 5).tolist()
    [1, 0]
    """
    wrong = np.flatnonzero(probabilities.argmax(1) != y)
    order = np.argsort(-probabilities[wrong].max(1), kind="stable")
    return wrong[order[:top]]


def largest_errors(predicted: Floats, true: Floats, top: int) -> NDArray[np.int64]:
    """Positions of a regression's predictions that are farthest off, at most `top` of them.

    >>> largest_errors(np.array([1.0, 2.0, 9.0]), np.array([1.0, 2.5, 3.0]), 2).tolist()
    [2, 1]
    """
    return np.argsort(-np.abs(predicted - true), kind="stable")[:top]


def macro_f1(matrix: NDArray[np.int64]) -> float:
    """Mean F1 of the classes of a `(K, K)` confusion matrix that have a sample or were predicted.

    >>> round(macro_f1(np.array([[1, 1], [0, 1]])), 3)
    0.667
    """
    sizes = matrix.sum(0) + matrix.sum(1)
    seen = sizes > 0
    return float((2 * np.diag(matrix)[seen] / sizes[seen]).mean()) if seen.any() else float("nan")
