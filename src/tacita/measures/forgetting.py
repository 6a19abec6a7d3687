"""How much a model that learns one thing after another has kept, from a triangle of figures.

`figures[k][j]` is the figure on data set `j` after learning data set `k`, for `j <= k`: a loss, or an
accuracy where `higher_is_better`. All of these are means over data sets.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

Triangle = Sequence[Sequence[float]]


def average_final(figures: Triangle) -> float:
    """The figure at the end, over all data sets.

    >>> average_final([[1.0], [3.0, 2.0]])
    2.5
    """
    return fmean(figures[-1])


def learning(figures: Triangle) -> float:
    """The figure on each data set right after it was learnt.

    >>> learning([[1.0], [3.0, 2.0]])
    1.5
    """
    return fmean(row[-1] for row in figures)


def forgetting(figures: Triangle, *, higher_is_better: bool = False) -> float:
    """How much worse the earlier ones are at the end than right after they were learnt; 0 for one.

    >>> forgetting([[1.0], [3.0, 2.0]])
    2.0
    """
    if len(figures) < 2:
        return 0.0
    sign = -1.0 if higher_is_better else 1.0
    pairs = zip(figures[-1][:-1], figures[:-1], strict=True)
    return fmean(sign * (end - row[-1]) for end, row in pairs)


def average_over_sessions(figures: Triangle) -> float:
    """The figure over all data sets so far, averaged over the moments after each was learnt.

    >>> average_over_sessions([[1.0], [3.0, 2.0]])
    1.75
    """
    return fmean(fmean(row) for row in figures)
