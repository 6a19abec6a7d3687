"""What the estimators share: their arguments, rows as samples, and one training of one method."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from tacita.catalog.recipe import Recipe, recipe_from_options
from tacita.data.dataset import Dataset
from tacita.errors import ConfigError, DataError
from tacita.modalities.choice import of_rows
from tacita.model.build import encoder_for, learner_for, needs_encoder, trains
from tacita.model.metrics import Metrics
from tacita.model.model import Model
from tacita.verbs.plan import resolved

Array = NDArray[Any]


class TacitaEstimator(BaseEstimator):
    """One method of the catalog over rows of numbers, for pipelines and grids.

    method: its name in the catalog; default: the usual one, which the class names.
    encoder: its name; default: the usual one of the modality.
    steps, batch_size, learning_rate: of the training; default: the method's own. They and the encoder
        are left aside for methods without, so that a grid over `method` can hold baselines.
    options: further arguments as in `tacita.adapt`: the method's, `encoder.NAME`, `train.NAME`.
    shape: what a row is reshaped to: an image `(C, H, W)` or a series `(L, C)`.
    random_state: a number, a numpy `RandomState`, or None for numpy's global one.
    device: "auto", "cpu", "cuda", "mps".

    Shapes: `X (N, F)` are tables, or what `shape` says; without it `(N, L, C)` are series or, as uint8,
    grey images `(N, H, W)`; `(N, C, H, W)` are images.

    After `fit`: `n_features_in_`, `feature_names_in_` where X had names of columns, and `model_`, a
    `tacita.Model` that can be saved.
    """

    section: ClassVar[str] = "learn"
    """What the method does in a recipe."""
    usual: ClassVar[str]
    """The method where none is named."""
    model_: Model

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

    def embed(self, X: Any) -> Array:
        """`(N, dim)` features. Raises `ConfigError` for a baseline, which has none."""
        check_is_fitted(self, "model_")
        return self.model_.embed(self._samples(X))

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

    def _seed(self) -> int:
        """A number out of `random_state`, which it moves on."""
        if isinstance(self.random_state, int | np.integer):
            return int(self.random_state)
        return int(check_random_state(self.random_state).randint(2**31))

    def _recipe(self, data: Dataset, seed: int) -> Recipe:
        """The method on these data, with nothing left to be chosen."""
        recipe = recipe_from_options(self.section, self._method, self._options(), seed)
        recipe.check(data.modality)
        return resolved(recipe, data)

    def _learnt(self, data: Dataset) -> Model:
        """A model of the method, learnt from a normalised data set of which some have labels."""
        seed = self._seed()
        recipe = self._recipe(data, seed)
        encoder = encoder_for(recipe, data.spec) if needs_encoder(recipe) else None
        learner = learner_for(recipe, encoder, {"device": self.device}).fit(data, seed=seed)
        return Model(recipe, learner, Metrics(protocol="one training", winner=recipe.name))

    @property
    def _method(self) -> str:
        return self.usual if self.method is None else self.method

    def _options(self) -> dict[str, Any]:
        """The arguments in the flat form of `tacita.adapt`, without those that the method has no use for."""
        given = dict(self.options or {})
        recipe = recipe_from_options(self.section, self._method, {})
        if self.encoder is not None and needs_encoder(recipe):
            given["encoder"] = self.encoder
        if trains(recipe, self.section):
            training = {
                "steps": self.steps,
                "batch_size": self.batch_size,
                "learning_rate": self.learning_rate,
            }
            given |= {f"train.{k}": value for k, value in training.items() if value is not None}
        return given


def weighed(data: Dataset, sample_weight: Any) -> Dataset:
    """Rows with the weights that they are given, if they are; those of weight 0 are left out."""
    return data if sample_weight is None else data.weighted(sample_weight)


def need_some(known: NDArray[np.bool_]) -> None:
    """Raise `DataError` where no row to be scored has a label."""
    if not known.any():
        raise DataError(
            f"y: none of the {len(known)} samples has a label, so there is no score.",
            remedy="Score rows with labels; in cross-validation, every part needs some.",
        )


def weights_of(sample_weight: Any, known: NDArray[np.bool_]) -> Array | None:
    """The weights of the rows that have a label; None where all weigh the same."""
    return None if sample_weight is None else np.asarray(sample_weight)[known]
