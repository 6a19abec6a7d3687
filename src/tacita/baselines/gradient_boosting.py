"""The boosted trees that win on tables once labels are many."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from tacita.baselines.base import Baseline
from tacita.baselines.trees import Codes
from tacita.catalog.cards import method
from tacita.data.batch import InputSpec
from tacita.data.dataset import Dataset
from tacita.tasks import Task


@method(
    "gradient-boosting",
    title="Histogram gradient boosting, scikit-learn",
    paper="https://doi.org/10.1214/aos/1013203451",
    year=2001,
    family="baseline",
    needs=("columns",),
    labels="many",
    summary="Boosted decision trees: the model to beat on tables with many labels.",
)
class GradientBoosting(Baseline):
    """scikit-learn's histogram gradient boosting with its defaults, categories as categories.

    Leaves may be as small as a tenth of the labelled rows, where the default of 20 would let a
    few dozen labels grow no tree at all.
    """

    one_hot = False

    def estimator(self, task: Task, spec: InputSpec, rows: int, seed: int) -> Any:
        boosting = task.estimator(HistGradientBoostingClassifier, HistGradientBoostingRegressor)
        # The estimator takes at most 255 categories a column; a larger column stays a number.
        categories = [1 < size <= 255 for size in spec.cardinalities] or None
        smallest = max(1, min(20, rows // 10))
        return boosting(
            random_state=seed, categorical_features=categories, min_samples_leaf=smallest
        )

    def _fit(self, data: Dataset, seed: int) -> None:
        super()._fit(data, seed)
        plain_codes(self.estimator_)


def plain_codes(fitted: Any) -> None:
    """Let a fitted estimator code categories by arrays; scikit-learn does the same by functions.

    A function is nothing that a file should hold.
    """
    before = fitted._preprocessor
    if before is not None:
        known = before.named_transformers_["encoder"].categories_
        filled = [np.asarray(each, np.float64) for each in known]
        filled = [each[~np.isnan(each)] for each in filled]
        fitted._preprocessor = Codes(np.asarray(fitted.is_categorical_, bool), filled)
