"""How well stretches of one class are found, whatever their edges: the segment F1 of action segmentation.

Lea et al., "Temporal Convolutional Networks for Action Segmentation and Detection", 2017.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.integer[Any]]


def segment_f1(predicted: Codes, y: Codes, overlap: float = 0.5) -> float:
    """F1 of the segments that are found: of the same class, with a share of their union in common.

    A segment is a longest run of one class; a step that is not known ends both sides' segments. Shapes:
    `(N, L)` codes, `y` -1 where unknown. NaN where there is no segment. overlap: of intersection over union,
    0.5 or more, where no two segments can claim the same one.

    >>> y = np.array([[0, 0, 0, 1, 1, 1]])
    >>> segment_f1(np.array([[0, 0, 1, 1, 1, 1]]), y), segment_f1(np.array([[0, 0, 1, 1, 0, 1]]), y)
    (1.0, 0.3333333333333333)
    """
    known = y >= 0
    mine, true = _numbered(predicted, known), _numbered(y, known)
    if not known.any():
        return float("nan")
    size_mine, size_true = np.bincount(mine), np.bincount(true)
    same = predicted[known] == y[known]
    pairs = mine[same].astype(np.int64) * len(size_true) + true[same]
    found, shared = np.unique(pairs, return_counts=True)
    union = size_mine[found // len(size_true)] + size_true[found % len(size_true)] - shared
    hits = int((shared >= overlap * union).sum())
    return 2 * hits / (len(size_mine) + len(size_true))


def _numbered(codes: Codes, known: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The number of its segment for each known step, from 0, over all series."""
    begins = np.ones(codes.shape, bool)
    begins[:, 1:] = (codes[:, 1:] != codes[:, :-1]) | ~known[:, :-1]
    numbers: NDArray[np.int64] = np.cumsum((begins & known).reshape(-1)) - 1
    return numbers[known.reshape(-1)]
