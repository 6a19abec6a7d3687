"""The linear model of numbers that a user would try first."""

from __future__ import annotations

from typing import Any

from sklearn.linear_model import Ridge as SklearnRidge

from tacita.baselines.base import Baseline, need_numbers
from tacita.catalog.cards import method
from tacita.data.batch import InputSpec
from tacita.tasks import Task


@method(
    "ridge",
    title="Ridge regression, scikit-learn",
    paper="https://doi.org/10.1080/00401706.1970.10488634",
    year=1970,
    family="baseline",
    needs=("rows",),
    labels="few",
    tasks=("regression",),
    summary="Linear regression with a small penalty on the raw values of the labelled samples.",
)
class Ridge(Baseline):
    """scikit-learn's default ridge regression."""

    def estimator(self, task: Task, spec: InputSpec, rows: int, seed: int) -> Any:
        need_numbers("ridge", task)
        return SklearnRidge()
