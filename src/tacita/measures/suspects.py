"""Labels that are probably wrong: confident learning (Northcutt et al., 2021, arXiv 1911.00068).

It needs probabilities from models that were trained without the sample: out of fold, never in sample.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def suspect_labels(shares: NDArray[Any], codes: NDArray[Any]) -> NDArray[np.int64]:
    """Positions of the labels that are probably wrong, the most suspect first.

    A class's threshold is the mean probability of that class among the samples labelled so (section
    3.1, equation 2). A sample whose most probable class among those above their thresholds is another
    than its label is off the diagonal of the confident joint; one that is predicted as it is labelled is
    let off (as in the authors' cleanlab). They are ordered by the probability of
    the label less the largest of the others (section 3.2.3, normalised margin).

    Shapes: `shares (N, K)`, `codes (N,)`. A class without a label has no threshold and is never meant.

    >>> shares = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.2, 0.8], [0.05, 0.95]])
    >>> suspect_labels(shares, np.array([0, 0, 1, 1, 0])).tolist()
    [4]
    """
    own = codes[:, None] == np.arange(shares.shape[1])
    counts = own.sum(0)
    sums = (shares * own).sum(0)
    thresholds = np.divide(sums, counts, out=np.full(len(counts), np.inf), where=counts > 0)
    confident = np.where(shares >= thresholds - 1e-9, shares, -np.inf)
    meant = confident.argmax(1)
    off = (meant != codes) & np.isfinite(confident.max(1)) & (shares.argmax(1) != codes)
    label = np.take_along_axis(shares, codes[:, None].astype(np.int64), 1)[:, 0]
    margin = label - np.where(own, -np.inf, shares).max(1)
    found = np.flatnonzero(off)
    return found[np.argsort(margin[found], kind="stable")]
