"""Label spreading between texts that use the same tokens."""

from __future__ import annotations

from typing import Any

from sklearn.decomposition import TruncatedSVD
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer
from sklearn.semi_supervised import LabelSpreading

from tacita.baselines.base import need_classes
from tacita.baselines.neighbours import plain_neighbours
from tacita.baselines.tfidf import TfIdfBaseline
from tacita.catalog.cards import method
from tacita.data.batch import InputSpec
from tacita.data.dataset import Dataset
from tacita.tasks import Task

TOPICS = 100
"""The directions of latent semantic analysis that scikit-learn advises for texts."""


@method(
    "tfidf-label-spreading",
    title="Label spreading on the main directions of TF-IDF, scikit-learn",
    paper="https://proceedings.neurips.cc/paper/2003/hash/87682805257e619d49b8e0dfdc14affa-Abstract.html",
    year=2003,
    family="baseline",
    needs=("tokens",),
    labels="few",
    tasks=("classification", "ordinal"),
    summary="Labels spread along a graph of texts of the same topics, labelled or not.",
)
class TfIdfLabelSpreading(TfIdfBaseline):
    """scikit-learn's label spreading over nearest neighbours by TF-IDF and latent semantic analysis.

    neighbours: of each text in the graph (10).
    """

    transductive = True
    weighs = False

    def __init__(self, *, neighbours: int = 10) -> None:
        self.neighbours = neighbours

    def estimator(self, task: Task, spec: InputSpec, rows: int, seed: int) -> Any:
        need_classes("tfidf-label-spreading", task)
        return make_pipeline(
            self.weights(),
            TruncatedSVD(max(1, min(TOPICS, spec.vocabulary - 1)), random_state=seed),
            Normalizer(),
            LabelSpreading(kernel="knn", n_neighbors=self.neighbours, max_iter=100),
        )

    def _fit(self, data: Dataset, seed: int) -> None:
        super()._fit(data, seed)
        plain_neighbours(self.estimator_.steps[-1][1])
