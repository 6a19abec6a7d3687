"""A classifier with scikit-learn's manners: labels, unlabelled samples, and any method of the catalog.

It is what `tacita.adapt` does for one method, over arrays: `Pipeline`, `GridSearchCV`,
`cross_val_score` and `clone` work on it as on scikit-learn's own `SelfTrainingClassifier`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
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
from tacita.data.reading import Reading, Words
from tacita.data.weights import checked_weights
from tacita.errors import DataError
from tacita.estimators.base import Array, TacitaEstimator, need_some, weighed, weights_of
from tacita.modalities.finish import as_told
from tacita.modalities.memory import as_dataset
from tacita.tasks import UNLABELLED, Classification
from tacita.tasks.label_types import label_type_of
from tacita.tasks.labels import class_names


class TacitaClassifier(ClassifierMixin, TacitaEstimator):
    """Learn classes from rows of which some have a label: -1, NaN, None or "" means that there is none.

    Numeric labels are missing as -1 or NaN, words as "" or None, or in an object array as the number -1:
    scikit-learn's marker. Every other word is a class.

    Arguments are those of `TacitaEstimator` and these; the usual method is `fixmatch`, and any that
    learns from labels will do, baselines too. `y (N,)`. After `fit` there are `classes_` as well.

    unlabelled_as: words that mean that there is no label, such as "NA".
    as_class: words that are classes though they may look like no label, such as "none" or "-1".

    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> few = np.where(np.arange(150) % 15 == 0, y, -1)
    >>> classifier = TacitaClassifier(steps=40, random_state=0).fit(X, few)
    >>> classifier.classes_.tolist(), classifier.score(X, y) > 0.8
    ([0, 1, 2], True)
    """

    usual = "fixmatch"
    classes_: Array

    def __init__(
        self,
        method: str | None = None,
        *,
        encoder: str | None = None,
        steps: int | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        options: Mapping[str, Any] | None = None,
        shape: tuple[int, ...] | None = None,
        unlabelled_as: Words | None = None,
        as_class: Words | None = None,
        random_state: Any = None,
        device: str = "auto",
    ) -> None:
        super().__init__(
            method,
            encoder=encoder,
            steps=steps,
            batch_size=batch_size,
            learning_rate=learning_rate,
            options=options,
            shape=shape,
            random_state=random_state,
            device=device,
        )
        self.unlabelled_as = unlabelled_as
        self.as_class = as_class

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Learn from all rows and the labels that there are.

        `sample_weight (N,)`: how much each label counts, by their ratios: their mean is made 1, so that a
        penalty stays as strong as without them. A row of weight 0 is left out, with or without a label;
        otherwise the weight of a row without one does not count. Raises `DataError` for fewer than two
        classes, and `ConfigError` for options that the method does not have, and for weights where it
        cannot weigh.
        """
        if y is None:
            validate_data(self, X, y)  # Says that y is needed.
        x = self._samples(X, reset=True)
        known, labels = known_labels(y, self._reading)
        check_consistent_length(x, known)
        if labels.dtype.kind == "f" and bool((labels != np.round(labels)).any()):
            raise DataError(
                f"Unknown label type: y is continuous, such as {labels[labels % 1 != 0][0]:g}.",
                remedy="Give classes; for numbers to predict there is TacitaRegressor.",
            )
        weights = None
        if sample_weight is not None:
            weights = checked_weights(sample_weight, torch.from_numpy(known), "array")
            there = (weights > 0).numpy()
            labels = labels[there[known]]
            x, known, weights = x[there], known[there], weights[weights > 0]
        self.classes_, codes = np.unique(labels, return_inverse=True)
        targets = torch.full((len(x),), UNLABELLED)
        targets[torch.from_numpy(known)] = torch.from_numpy(codes)
        # The classes are told here: they may be fewer than the labels, and keep the type of y.
        names = np.array([str(name) for name in self.classes_.tolist()], dtype=object)
        task = Classification(tuple(names), label_type=label_type_of(self.classes_, names))
        data = as_dataset(x, modality=self._modality).with_labels(targets, task)
        data = weighed(data, weights).normalised()
        _, words = as_told(None, self._reading, "y")
        data = replace(data, meta=data.meta.model_copy(update=words))
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
        known, labels = known_labels(y, self._reading)
        need_some(known)
        weight = weights_of(sample_weight, known)
        return float(accuracy_score(labels, self.predict(X)[known], sample_weight=weight))

    @property
    def _reading(self) -> Reading:
        return Reading(unlabelled_as=self.unlabelled_as, as_class=self.as_class)


def known_labels(y: Any, reading: Reading | None = None) -> tuple[NDArray[np.bool_], Array]:
    """Which of `y (N,)` are labels, and those in a type of their own; see `TacitaClassifier`.

    Raises `DataError` for labels of which some are words and some numbers.

    >>> known, labels = known_labels(["b", None, "a", ""])
    >>> known.tolist(), labels.tolist()
    ([True, False, True, False], ['b', 'a'])
    """
    y = column_or_1d(y, warn=True)
    raw, _ = as_told(y, reading or Reading(), "y")
    known = np.array([name is not None for name in class_names(raw, "y")], dtype=bool)
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
