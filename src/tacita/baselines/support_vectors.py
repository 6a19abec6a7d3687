"""The support vector machine with its usual kernel: a smooth border between classes from few labels."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.svm import SVC, SVR

from tacita.baselines.arrays import Arrays
from tacita.baselines.base import Baseline
from tacita.baselines.saved import FORMS, Form
from tacita.catalog.cards import method
from tacita.data.batch import InputSpec
from tacita.tasks import Task


@method(
    "support-vectors",
    title="Support vector machine with a radial kernel, scikit-learn",
    paper="https://doi.org/10.1007/BF00994018",
    year=1995,
    family="baseline",
    needs=("rows",),
    labels="few",
    summary="The widest margin around the labelled samples, in a radial kernel of their raw values.",
)
class SupportVectors(Baseline):
    """scikit-learn's SVC and SVR with their defaults; margins through a softmax stand for probabilities."""

    def estimator(self, task: Task, spec: InputSpec, rows: int, seed: int) -> Any:
        return task.estimator(SVC, SVR)()


def _take(fitted: Any) -> dict[str, Any]:
    known = {"classes": fitted.classes_} if hasattr(fitted, "classes_") else {}
    return {
        **known,
        "vectors": fitted.support_vectors_,
        "coef": fitted._dual_coef_,
        "intercept": fitted._intercept_,
        "sizes": fitted._n_support,
        "gamma": np.float64(fitted._gamma),
    }


def _make(unfitted: Any, arrays: Arrays, columns: int, spec: InputSpec) -> int:
    """Compiled code walks the vectors class by class, so that their counts are looked at here."""
    from sklearn.base import is_classifier

    outputs, pairs = 1, 1
    if is_classifier(unfitted):
        unfitted.classes_ = arrays.classes(fewest=2)
        outputs = len(unfitted.classes_)
        pairs = outputs * (outputs - 1) // 2
    vectors = arrays.numbers("vectors", None, columns).astype(np.float64)
    sizes = arrays.whole("sizes", max(2, outputs), below=len(vectors) + 1)
    held = int(sizes.sum()) if is_classifier(unfitted) else len(vectors)
    if held != len(vectors) or not len(vectors):
        raise arrays.wrong("sizes", f"are of {held} vectors, where there are {len(vectors)}")
    gamma = float(arrays.numbers("gamma").astype(np.float64))
    if not gamma > 0:
        raise arrays.wrong("gamma", "is not above 0")
    rows = max(1, outputs - 1)
    unfitted._dual_coef_ = arrays.numbers("coef", rows, len(vectors)).astype(np.float64)
    unfitted._intercept_ = arrays.numbers("intercept", pairs).astype(np.float64)
    unfitted.dual_coef_, unfitted.intercept_ = unfitted._dual_coef_, unfitted._intercept_
    unfitted.support_vectors_ = np.ascontiguousarray(vectors)
    unfitted.support_ = np.arange(len(vectors), dtype=np.int32)
    unfitted._n_support = sizes.astype(np.int32)
    unfitted._probA = unfitted._probB = np.empty(0)
    unfitted._gamma, unfitted._sparse = gamma, False
    unfitted.shape_fit_ = vectors.shape
    unfitted.class_weight_ = np.ones(outputs)
    unfitted.fit_status_ = 0
    unfitted.n_features_in_ = columns
    return outputs


FORMS.update(dict.fromkeys(("SVC", "SVR"), Form(_take, _make)))
