"""Quantiles of intervals under extra trees: quick, and strong where the time of a pattern matters."""

from __future__ import annotations

import warnings
from typing import Any

from aeon.transformations.collection.interval_based import QUANTTransformer
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor
from sklearn.pipeline import make_pipeline

from tacita.baselines.series import SeriesBaseline
from tacita.catalog.cards import method
from tacita.data.batch import InputSpec
from tacita.tasks import Task


@method(
    "quant",
    title="QUANT, quantiles of intervals with extra trees, aeon",
    paper="https://arxiv.org/abs/2308.00928",
    year=2023,
    family="baseline",
    needs=("steps", "numbers"),
    labels="many",
    summary="Quantiles of halves, quarters, eighths, ... of a series, its differences and its spectrum, "
    "under trees.",
)
class Quant(SeriesBaseline):
    """aeon's QUANT transform under 200 extra trees that look at a tenth of the features, as its classifier.

    Series of unequal lengths go in padded with zeros (their mean). Raises `ConfigError` for series
    of fewer than 3 steps.
    """

    shortest = 3
    """Steps that a second difference needs."""

    def estimator(self, task: Task, spec: InputSpec, rows: int, seed: int) -> Any:
        self.require_steps(spec)
        trees = task.estimator(ExtraTreesClassifier, ExtraTreesRegressor)
        options = {"criterion": "entropy"} if trees is ExtraTreesClassifier else {}
        return make_pipeline(
            Quantiles(),
            trees(n_estimators=200, max_features=0.1, random_state=seed, n_jobs=1, **options),
        )


class Quantiles(QUANTTransformer):
    """aeon's transform, without the warning that numpy has of how it rounds."""

    def _fit(self, X: Any, y: Any = None) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            return super()._fit(X, y)
