"""How label spreading looks for neighbours, whether it was fitted just now or loaded."""

from __future__ import annotations

from sklearn.neighbors import NearestNeighbors
from sklearn.semi_supervised import LabelSpreading as SklearnLabelSpreading


def plain_neighbours(fitted: SklearnLabelSpreading) -> None:
    """Let a fitted estimator look for neighbours by a plain search, which finds the same.

    Where columns are few, scikit-learn keeps the samples in a tree of compiled code; a model that was
    loaded has only the samples.
    """
    plain = NearestNeighbors(n_neighbors=fitted.n_neighbors, algorithm="brute")
    fitted.nn_fit = plain.fit(fitted.X_)
