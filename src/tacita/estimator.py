"""A classifier with scikit-learn's manners: labels, unlabelled samples, and any method of the catalog.

It is what `tacita.adapt` does for one method, over arrays: `Pipeline`, `GridSearchCV`,
`cross_val_score` and `clone` work on it as on scikit-learn's own `SelfTrainingClassifier`.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils import check_random_state
from sklearn.utils.validation import (
    check_consistent_length,
    check_is_fitted,
    column_or_1d,
    validate_data,
)

from tacita.catalog.recipe import recipe_from_options
from tacita.data.check import check_trainable
from tacita.errors import ConfigError, DataError
from tacita.modalities.choice import of_rows
from tacita.modalities.memory import as_dataset
from tacita.model.build import encoder_for, learner_for, needs_encoder, trains
from tacita.model.metrics import Metrics
from tacita.model.model import Model
from tacita.tasks import UNLABELLED, Classification
from tacita.tasks.labels import class_names
from tacita.verbs.plan import resolved

Array = NDArray[Any]


class TacitaClassifier(ClassifierMixin, BaseEstimator):
    """Learn classes from rows of which some have a label: -1, NaN, None or "" means that there is none.

    Numeric labels are missing as -1 or NaN, words as "-1", "" or None, or in an object array as -1:
    scikit-learn's marker. A class can therefore not be called -1.

    method: any method that learns from labels, by its name in the catalog, baselines too.
    encoder: its name; default: the usual one of the modality.
    steps, batch_size, learning_rate: of the training; default: the method's own. They and the encoder
        are left aside for methods without, so that a grid over `method` can hold baselines.
    options: further arguments as in `tacita.adapt`: the method's, `encoder.NAME`, `train.NAME`.
    shape: what a row is reshaped to: an image `(C, H, W)` or a series `(L, C)`.
    random_state: a number, a numpy `RandomState`, or None for numpy's global one.
    device: "auto", "cpu", "cuda", "mps".

    Shapes: `X (N, F)` are tables, or what `shape` says; without it `(N, L, C)` are series or, as uint8,
    grey images `(N, H, W)`; `(N, C, H, W)` are images. `y (N,)`.

    After `fit`: `classes_`, `n_features_in_`, `feature_names_in_` where X had names of columns, and
    `model_`, a `tacita.Model` that can be saved.

    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> few = np.where(np.arange(150) % 15 == 0, y, -1)
    >>> classifier = TacitaClassifier(steps=40, random_state=0).fit(X, few)
    >>> classifier.classes_.tolist(), classifier.score(X, y) > 0.8
    ([0, 1, 2], True)
    """

    classes_: Array
    model_: Model

    def __init__(
        self,
        method: str = "fixmatch",
        *,
        encoder: str | None = None,
        steps: int | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        options: Mapping[str, Any] | None = None,
        shape: tuple[int, ...] | None = None,
        random_state: Any = None,
        device: str = "auto",
    ) -> None:
        self.method = method
        self.encoder = encoder
        self.steps = steps
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.options = options
        self.shape = shape
        self.random_state = random_state
        self.device = device

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
                remedy="Give classes; numbers to predict are for tacita.fit(X, y, task='regression').",
            )
        self.classes_, codes = np.unique(labels, return_inverse=True)
        targets = torch.full((len(x),), UNLABELLED)
        targets[torch.from_numpy(known)] = torch.from_numpy(codes)
        # The classes are told here: they may be fewer than the labels, and keep the type of y.
        task = Classification(tuple(str(name) for name in self.classes_.tolist()))
        data = as_dataset(x, modality=self._modality).with_labels(targets, task).normalised()
        check_trainable(data, fewest=1)
        seed = self.random_state
        if not isinstance(seed, int):
            seed = int(check_random_state(seed).randint(2**31))
        recipe = recipe_from_options("learn", self.method, self._options(), seed)
        recipe.check(data.modality)
        recipe = resolved(recipe, data)
        encoder = encoder_for(recipe, data.spec) if needs_encoder(recipe) else None
        learner = learner_for(recipe, encoder, {"device": self.device}).fit(data, seed=seed)
        self.model_ = Model(recipe, learner, Metrics(protocol="one training", winner=recipe.name))
        return self

    def predict(self, X: Any) -> Array:
        """`(N,)` predicted classes."""
        probabilities = self.predict_proba(X)
        return self.classes_[probabilities.argmax(1)]

    def predict_proba(self, X: Any) -> Array:
        """`(N, K)` class probabilities, in the order of `classes_`."""
        check_is_fitted(self, "model_")
        return self.model_.predict_proba(self._samples(X))

    def embed(self, X: Any) -> Array:
        """`(N, dim)` features. Raises `ConfigError` for a baseline, which has none."""
        check_is_fitted(self, "model_")
        return self.model_.embed(self._samples(X))

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Accuracy over the rows that have a label, so that unlabelled ones are no mistakes.

        Raises `DataError` where none has.
        """
        known, labels = known_labels(y)
        if not known.any():
            raise DataError(
                f"y: none of the {len(known)} samples has a label, so there is no score.",
                remedy="Score rows with labels; in cross-validation, every part needs some.",
            )
        weight = None if sample_weight is None else np.asarray(sample_weight)[known]
        return float(accuracy_score(labels, self.predict(X)[known], sample_weight=weight))

    def _samples(self, X: Any, reset: bool = False) -> Array:
        """X as an array of numbers, checked against what was fitted, in the shape of the samples."""
        x: Array = validate_data(self, X, reset=reset, allow_nd=True)
        if self.shape is None:
            return x
        if x[0].size != prod(self.shape):
            raise ConfigError(
                f"shape={tuple(self.shape)} holds {prod(self.shape)} numbers,"
                f" but a row of X has {x[0].size}.",
                remedy="Give the shape of one sample: (C, H, W) or (L, C).",
            )
        return x.reshape(len(x), *self.shape)

    @property
    def _modality(self) -> str | None:
        return None if self.shape is None else of_rows(self.shape)

    def _options(self) -> dict[str, Any]:
        """The arguments in the flat form of `tacita.adapt`, without those that the method has no use for."""
        given = dict(self.options or {})
        recipe = recipe_from_options("learn", self.method, {})
        if self.encoder is not None and needs_encoder(recipe):
            given["encoder"] = self.encoder
        if trains(recipe, "learn"):
            training = {
                "steps": self.steps,
                "batch_size": self.batch_size,
                "learning_rate": self.learning_rate,
            }
            given |= {f"train.{k}": value for k, value in training.items() if value is not None}
        return given


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
