"""Fisher's linear discriminant with a covariance that is shrunk, for more columns than labels."""

from __future__ import annotations

import warnings
from typing import Any

from sklearn.decomposition import TruncatedSVD
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.pipeline import make_pipeline

from tacita.baselines.base import Baseline, need_classes
from tacita.catalog.cards import method
from tacita.data.batch import InputSpec
from tacita.data.dataset import Dataset
from tacita.errors import DataError
from tacita.parts.rows import row_width
from tacita.tasks import Task

MOST_COLUMNS = 512


@method(
    "linear-discriminant",
    title="Linear discriminant analysis with shrinkage, scikit-learn",
    paper="https://doi.org/10.1016/S0047-259X(03)00096-4",
    year=2004,
    family="baseline",
    needs=("rows",),
    labels="few",
    tasks=("classification", "ordinal"),
    summary="One Gaussian a class, all of one shrunk covariance, on the raw values of the labelled samples.",
)
class LinearDiscriminant(Baseline):
    """scikit-learn's linear discriminant analysis; how far the covariance is shrunk, Ledoit and Wolf say.

    Of more than 512 columns it takes the main directions of the labelled samples, 512 at most: a covariance
    of all columns costs their number cubed (30 s for images of 3,072 values), and fewer labels than columns
    span no more directions than there are labels.
    """

    weighs = False

    def _fit(self, data: Dataset, seed: int) -> None:
        labels = data.y[data.labelled].tolist()
        if len(labels) <= len(set(labels)):
            raise DataError(
                f"{data.source}: {len(labels)} labels, one a class, show no spread within a class.",
                remedy="Give a second label of some class, or leave linear-discriminant out.",
            )
        with warnings.catch_warnings():
            # A class with one label adds nothing to the covariance, which is that of the others.
            warnings.filterwarnings("ignore", "Only one sample available")
            super()._fit(data, seed)

    def estimator(self, task: Task, spec: InputSpec, rows: int, seed: int) -> Any:
        need_classes("linear-discriminant", task)
        found = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
        if row_width(spec, one_hot=self.one_hot) <= MOST_COLUMNS:
            return found
        return make_pipeline(TruncatedSVD(MOST_COLUMNS, random_state=seed), found)
