"""The linear model that a user would try first."""

from __future__ import annotations

from typing import Any

from sklearn.linear_model import LogisticRegression as SklearnLogisticRegression
from sklearn.linear_model import Ridge

from tacita.baselines.base import Baseline
from tacita.catalog.cards import method
from tacita.data.batch import InputSpec
from tacita.tasks import Task


@method(
    "logistic-regression",
    title="Logistic regression (ridge regression for numbers), scikit-learn",
    family="baseline",
    needs=("rows",),
    labels="few",
    summary="A linear model on the raw values of the labelled samples.",
)
class LogisticRegression(Baseline):
    """scikit-learn's default logistic regression, or its ridge regression where y is a number."""

    def estimator(self, task: Task, spec: InputSpec, rows: int, seed: int) -> Any:
        return task.estimator(SklearnLogisticRegression(max_iter=1000), Ridge())
