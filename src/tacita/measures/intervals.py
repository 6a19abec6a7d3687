"""How far a share of right answers may be off, by the number of samples that it was counted on.

Samples are taken as independent: where several are of one subject or machine, the truth is wider.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Interval = tuple[float, float]

Z: Final = 1.959964
"""Of the normal distribution, for intervals of 95%."""


def wilson(right: float, total: float) -> Interval:
    """The 95% interval of a share, from 0 to 1 (Wilson, 1927); all of it where nothing was counted.

    >>> [round(end, 3) for end in wilson(10, 10)]
    [0.722, 1.0]
    >>> wilson(0, 0)
    (0.0, 1.0)
    """
    if total <= 0:
        return 0.0, 1.0
    share, z2 = right / total, Z * Z
    middle = share + z2 / (2 * total)
    half = Z * math.sqrt(share * (1 - share) / total + z2 / (4 * total * total))
    scale = 1 + z2 / total
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)


def mean_of_shares(right: NDArray[Any], total: NDArray[Any]) -> Interval:
    """The 95% interval of the mean of several shares, such as balanced accuracy, from Wilson's of each.

    Their distances from the shares are put together by squares (Zou and Donner, 2008), so that it is
    not empty where every share is 0 or 1. Shapes: `(K,)` each; what was never counted is left out.

    >>> [round(end, 2) for end in mean_of_shares(np.array([10, 10]), np.array([10, 10]))]
    [0.8, 1.0]
    """
    right, total = right[total > 0], total[total > 0]
    if not len(total):
        return 0.0, 1.0
    shares = right / total
    ends = np.array([wilson(float(a), float(b)) for a, b in zip(right, total, strict=True)])
    mean, count = float(shares.mean()), len(total)
    below = float(np.sqrt(np.square(shares - ends[:, 0]).sum())) / count
    above = float(np.sqrt(np.square(ends[:, 1] - shares).sum())) / count
    return max(0.0, mean - below), min(1.0, mean + above)
