"""The linear model of numbers by texts that a user would try first."""

from __future__ import annotations

from typing import Any

from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline

from tacita.baselines.base import need_numbers
from tacita.baselines.tfidf import TfIdfBaseline
from tacita.catalog.cards import method
from tacita.data.batch import InputSpec
from tacita.tasks import Task


@method(
    "tfidf-ridge",
    title="Ridge regression on TF-IDF, scikit-learn",
    paper="https://doi.org/10.1016/0306-4573(88)90021-0",
    year=1988,
    family="baseline",
    needs=("tokens",),
    labels="few",
    tasks=("regression",),
    summary="Linear regression on how often each token occurs in the labelled texts.",
)
class TfIdfRidge(TfIdfBaseline):
    """scikit-learn's default ridge regression on rows of TF-IDF."""

    def estimator(self, task: Task, spec: InputSpec, rows: int, seed: int) -> Any:
        need_numbers("tfidf-ridge", task)
        return make_pipeline(self.weights(), Ridge())
