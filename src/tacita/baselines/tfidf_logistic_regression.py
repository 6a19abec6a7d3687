"""The linear model of kinds of texts that a user would try first."""

from __future__ import annotations

from typing import Any

from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from tacita.baselines.base import need_classes
from tacita.baselines.tfidf import TfIdfBaseline
from tacita.catalog.cards import method
from tacita.data.batch import InputSpec
from tacita.tasks import Task


@method(
    "tfidf-logistic-regression",
    title="Logistic regression on TF-IDF, scikit-learn",
    paper="https://doi.org/10.1016/0306-4573(88)90021-0",
    year=1988,
    family="baseline",
    needs=("tokens",),
    labels="few",
    tasks=("classification", "ordinal"),
    summary="A linear model of how often each token occurs in the labelled texts.",
)
class TfIdfLogisticRegression(TfIdfBaseline):
    """scikit-learn's logistic regression.

    penalty: scikit-learn's C, the inverse of the penalty: rows of TF-IDF are of length 1, and weak as they
        are, its default of 1 would learn little from a few of them.
    """

    def __init__(self, *, penalty: float = 10.0) -> None:
        self.penalty = penalty

    def estimator(self, task: Task, spec: InputSpec, rows: int, seed: int) -> Any:
        need_classes("tfidf-logistic-regression", task)
        linear = LogisticRegression(C=self.penalty, max_iter=1000)
        return make_pipeline(self.weights(), linear)
