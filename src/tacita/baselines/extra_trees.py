"""Trees whose thresholds are drawn: as good as a forest on most tables, and better with few labels."""

from __future__ import annotations

from typing import Any

from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor

from tacita.baselines.base import Baseline
from tacita.catalog.cards import method
from tacita.data.batch import InputSpec
from tacita.tasks import Task


@method(
    "extra-trees",
    title="Extremely randomised trees, scikit-learn",
    paper="https://doi.org/10.1007/s10994-006-6226-1",
    year=2006,
    family="baseline",
    needs=("rows",),
    labels="few",
    summary="Trees with drawn thresholds on the raw values of the labelled samples, averaged.",
)
class ExtraTrees(Baseline):
    """scikit-learn's extra trees with their defaults: each tree sees all samples, and draws where to cut."""

    def estimator(self, task: Task, spec: InputSpec, rows: int, seed: int) -> Any:
        trees = task.estimator(ExtraTreesClassifier, ExtraTreesRegressor)
        return trees(random_state=seed, n_jobs=1)
