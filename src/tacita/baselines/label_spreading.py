"""The semi-supervised method that scikit-learn ships, and a strong one where classes form clusters."""

from __future__ import annotations

from typing import Any

from sklearn.semi_supervised import LabelSpreading as SklearnLabelSpreading

from tacita.baselines.base import Baseline, need_classes
from tacita.baselines.neighbours import plain_neighbours
from tacita.catalog.cards import method
from tacita.data.batch import InputSpec
from tacita.data.dataset import Dataset
from tacita.tasks import Task


@method(
    "label-spreading",
    title="Label spreading over a nearest-neighbour graph, scikit-learn",
    paper="https://proceedings.neurips.cc/paper/2003/hash/87682805257e619d49b8e0dfdc14affa-Abstract.html",
    year=2003,
    family="baseline",
    needs=("rows",),
    labels="few",
    tasks=("classification", "ordinal"),
    summary="Labels spread along a graph of nearest neighbours over all samples, labelled or not.",
)
class LabelSpreading(Baseline):
    """scikit-learn's label spreading with the k-nearest-neighbour kernel.

    neighbours: of each sample in the graph (10).
    """

    transductive = True
    weighs = False

    def __init__(self, *, neighbours: int = 10) -> None:
        self.neighbours = neighbours

    def estimator(self, task: Task, spec: InputSpec, rows: int, seed: int) -> Any:
        need_classes("label-spreading", task)
        return SklearnLabelSpreading(kernel="knn", n_neighbors=self.neighbours, max_iter=100)

    def _fit(self, data: Dataset, seed: int) -> None:
        super()._fit(data, seed)
        plain_neighbours(self.estimator_)
