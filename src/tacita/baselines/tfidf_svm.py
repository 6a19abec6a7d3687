"""The linear support vector machine, long the model to beat on texts."""

from __future__ import annotations

from typing import Any

from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC

from tacita.baselines.base import need_classes
from tacita.baselines.tfidf import TfIdfBaseline
from tacita.catalog.cards import method
from tacita.data.batch import InputSpec
from tacita.tasks import Task


@method(
    "tfidf-svm",
    title="Linear support vector machine on TF-IDF, scikit-learn",
    paper="https://doi.org/10.1007/BFb0026683",
    year=1998,
    family="baseline",
    needs=("tokens",),
    labels="few",
    tasks=("classification", "ordinal"),
    summary="The widest margin between classes by how often each token occurs in the labelled texts.",
)
class TfIdfSVM(TfIdfBaseline):
    """scikit-learn's LinearSVC with its defaults; its margins through a softmax stand for probabilities."""

    def estimator(self, task: Task, spec: InputSpec, rows: int, seed: int) -> Any:
        need_classes("tfidf-svm", task)
        return make_pipeline(self.weights(), LinearSVC(random_state=seed))
