"""The linear model of classes that a user would try first."""

from __future__ import annotations

from typing import Any

from sklearn.linear_model import LogisticRegression as SklearnLogisticRegression

from tacita.baselines.base import Baseline, need_classes
from tacita.catalog.cards import method
from tacita.data.batch import InputSpec
from tacita.tasks import Task


@method(
    "logistic-regression",
    title="Logistic regression, scikit-learn",
    family="baseline",
    needs=("rows",),
    labels="few",
    tasks=("classification", "ordinal"),
    summary="A linear model on the raw values of the labelled samples.",
)
class LogisticRegression(Baseline):
    """scikit-learn's default logistic regression."""

    def estimator(self, task: Task, spec: InputSpec, rows: int, seed: int) -> Any:
        need_classes("logistic-regression", task)
        return SklearnLogisticRegression(max_iter=1000)
