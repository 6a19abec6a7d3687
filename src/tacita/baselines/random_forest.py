"""The forest that a user would try on anything."""

from __future__ import annotations

from typing import Any

from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

from tacita.baselines.base import Baseline
from tacita.catalog.cards import method
from tacita.data.batch import InputSpec
from tacita.tasks import Task


@method(
    "random-forest",
    title="Random forest, scikit-learn",
    paper="https://doi.org/10.1023/A:1010933404324",
    year=2001,
    family="baseline",
    needs=("rows",),
    labels="few",
    summary="A forest of decision trees on the raw values of the labelled samples.",
)
class RandomForest(Baseline):
    """scikit-learn's random forest with its defaults."""

    def estimator(self, task: Task, spec: InputSpec, rows: int, seed: int) -> Any:
        forest = task.estimator(RandomForestClassifier, RandomForestRegressor)
        return forest(random_state=seed, n_jobs=1)
