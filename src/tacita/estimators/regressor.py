"""A regressor with scikit-learn's manners: targets, rows without one, any method that predicts numbers."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils.validation import (
    check_consistent_length,
    check_is_fitted,
    column_or_1d,
    validate_data,
)

from tacita.data.check import check_trainable
from tacita.errors import DataError
from tacita.estimators.base import Array, TacitaEstimator, need_some, weighed, weights_of
from tacita.modalities.memory import as_dataset


class TacitaRegressor(RegressorMixin, TacitaEstimator):
    """Learn numbers from rows of which some have a target; NaN or None means that there is none.

    Arguments are those of `TacitaEstimator`; the usual method is `supervised`, and any that learns the
    task `regression` will do, baselines too. `y (N,)`; unlike for classes, -1 is a number.

    >>> X = np.random.default_rng(0).normal(size=(80, 3))
    >>> y = np.where(np.arange(80) < 50, X[:, 0] - X[:, 1], np.nan)
    >>> regressor = TacitaRegressor("random-forest", random_state=0).fit(X, y)
    >>> regressor.score(X, X[:, 0] - X[:, 1]) > 0.7
    True
    """

    usual = "supervised"

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Learn from all rows and the targets that there are.

        `sample_weight (N,)`: how much each target counts, as in `TacitaClassifier.fit`. Raises `DataError`
        for targets that are no finite numbers or all one, and `ConfigError` for options that the method
        does not have, and for weights where it cannot weigh.
        """
        if y is None:
            validate_data(self, X, y)  # Says that y is needed.
        x = self._samples(X, reset=True)
        targets = known_numbers(y)
        check_consistent_length(x, targets)
        data = as_dataset(x, targets, modality=self._modality, task="regression")
        data = weighed(data, sample_weight).normalised()
        check_trainable(data, fewest=1)
        self.model_ = self._learnt(data)
        return self

    def predict(self, X: Any) -> Array:
        """`(N,)` predicted numbers, float64."""
        check_is_fitted(self, "model_")
        return np.asarray(self.model_.predict(self._samples(X)), dtype=np.float64)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """R2 over the rows that have a target. Raises `DataError` where none has."""
        targets = known_numbers(y)
        known = ~np.isnan(targets)
        need_some(known)
        weight = weights_of(sample_weight, known)
        return float(r2_score(targets[known], self.predict(X)[known], sample_weight=weight))


def known_numbers(y: Any) -> Array:
    """`y (N,)` as float64, NaN where there is no target.

    Raises `DataError` for what is no number, or infinite.

    >>> known_numbers([1, None, 2.5]).tolist()
    [1.0, nan, 2.5]
    """
    y = column_or_1d(y, warn=True)
    try:
        targets: Array = np.asarray(y, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"y: not all targets are numbers ({error}).",
            remedy="Give numbers, NaN where there is none; for classes there is TacitaClassifier.",
        ) from error
    if np.isinf(targets).any():
        raise DataError(
            f"y: the target of sample {int(np.isinf(targets).argmax())} is infinite: Input contains"
            " infinity.",
            remedy="Give a finite number, or NaN if it is unknown.",
        )
    return targets
