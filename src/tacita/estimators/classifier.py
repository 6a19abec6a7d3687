"""A classifier with scikit-learn's manners: labels, unlabelled samples, and any method of the catalog.

It is what `tacita.adapt` does for one method, over arrays: `Pipeline`, `GridSearchCV`,
`cross_val_score` and `clone` work on it as on scikit-learn's own `SelfTrainingClassifier`.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils.validation import (
    check_consistent_length,
    check_is_fitted,
    column_or_1d,
    validate_data,
)

from tacita.data.check import check_trainable
from tacita.errors import DataError
from tacita.estimators.base import Array, TacitaEstimator, need_some, weights_of
from tacita.modalities.memory import as_dataset
from tacita.tasks import UNLABELLED, Classification
from tacita.tasks.labels import class_names


class TacitaClassifier(ClassifierMixin, TacitaEstimator):
    """Learn classes from rows of which some have a label: -1, NaN, None or "" means that there is none.

    Numeric labels are missing as -1 or NaN, words as "-1", "" or None, or in an object array as -1:
    scikit-learn's marker. A class can therefore not be called -1.

    Arguments are those of `TacitaEstimator`; the usual method is `fixmatch`, and any that learns from
    labels will do, baselines too. `y (N,)`. After `fit` there are `classes_` as well.

    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> few = np.where(np.arange(150) % 15 == 0, y, -1)
    >>> classifier = TacitaClassifier(steps=40, random_state=0).fit(X, few)
    >>> classifier.classes_.tolist(), classifier.score(X, y) > 0.8
    ([0, 1, 2], True)
    """

    usual = "fixmatch"
    classes_: Array

    def fit(self, X: Any, y: Any) -> Self:
        """Learn from all rows and the labels that there are.

        Raises `DataError` for fewer than two classes, and `ConfigError` for options that the method
        does not have.
        """
        if y is None:
            validate_data(self, X, y)  # Says that y is needed.
        x = self._samples(X, reset=True)
        known, labels = known_labels(y)
        check_consistent_length(x, known)
        if labels.dtype.kind == "f" and bool((labels != np.round(labels)).any()):
            raise DataError(
                f"Unknown label type: y is continuous, such as {labels[labels % 1 != 0][0]:g}.",
                remedy="Give classes; for numbers to predict there is TacitaRegressor.",
            )
        self.classes_, codes = np.unique(labels, return_inverse=True)
        targets = torch.full((len(x),), UNLABELLED)
        targets[torch.from_numpy(known)] = torch.from_numpy(codes)
        # The classes are told here: they may be fewer than the labels, and keep the type of y.
        task = Classification(tuple(str(name) for name in self.classes_.tolist()))
        data = as_dataset(x, modality=self._modality).with_labels(targets, task).normalised()
        check_trainable(data, fewest=1)
        self.model_ = self._learnt(data)
        return self

    def predict(self, X: Any) -> Array:
        """`(N,)` predicted classes."""
        probabilities = self.predict_proba(X)
        return self.classes_[probabilities.argmax(1)]

    def predict_proba(self, X: Any) -> Array:
        """`(N, K)` class probabilities, in the order of `classes_`."""
        check_is_fitted(self, "model_")
        return self.model_.predict_proba(self._samples(X))

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Accuracy over the rows that have a label, so that unlabelled ones are no mistakes.

        Raises `DataError` where none has.
        """
        known, labels = known_labels(y)
        need_some(known)
        weight = weights_of(sample_weight, known)
        return float(accuracy_score(labels, self.predict(X)[known], sample_weight=weight))


def known_labels(y: Any) -> tuple[NDArray[np.bool_], Array]:
    """Which of `y (N,)` are labels, and those in a type of their own; see `TacitaClassifier`.

    Raises `DataError` for labels of which some are words and some numbers.

    >>> known, labels = known_labels(["b", None, "a", ""])
    >>> known.tolist(), labels.tolist()
    ([True, False, True, False], ['b', 'a'])
    """
    y = column_or_1d(y, warn=True)
    known = np.array([name is not None for name in class_names(y, "y")], dtype=bool)
    labels = y[known]
    if labels.dtype == object:
        words = [isinstance(label, str) for label in labels]
        if any(words) and not all(words):
            word, number = labels[words.index(True)], labels[words.index(False)]
            raise DataError(
                f"y has words and numbers as labels, such as {word!r} and {number!r}.",
                remedy="Write all of them as words, or all as numbers.",
            )
        labels = np.array(labels.tolist())
    return known, labels
