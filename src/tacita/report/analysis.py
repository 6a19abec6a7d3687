"""From predictions and features to the numbers of a page: pure functions over numpy arrays.

Axis alphabet: `N` samples, `D` features, `K` classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from tacita.errors import DataError
from tacita.measures.calibration import Reliability
from tacita.report.content import Calibration, ClassRow

Floats = NDArray[np.floating[Any]]

TSNE_LIMIT: Final = 2000
"""Beyond this many samples t-SNE takes longer than the rest of the report."""


class Projection(NamedTuple):
    """Samples on a plane, `xy (N, 2)`, and how it was found, in words."""

    xy: NDArray[np.float64]
    method: str


def embedding_map(features: Floats, *, seed: int = 0) -> Projection:
    """`(N, D)` features on a plane: PCA, then t-SNE where there are at most 2,000 samples.

    t-SNE sees the first 50 principal components at perplexity 30 (van der Maaten and Hinton, 2008,
    section 4.2), or a third of the samples where there are few. Raises `DataError` on features
    that are not finite.

    >>> embedding_map(np.array([[0.0, 0.0], [3.0, 4.0]])).xy[:, 0].round(6).tolist()
    [-2.5, 2.5]
    """
    count, width = features.shape
    if not np.isfinite(features).all():
        row = int(np.argwhere(~np.isfinite(features))[0, 0])
        raise DataError(
            f"The features of sample {row} are not finite, so they cannot be mapped.",
            remedy="The training diverged: try a lower learning rate.",
        )
    if count < 2 or not np.ptp(features, axis=0).any():
        return Projection(np.zeros((count, 2)), "all features are the same")
    few = PCA(min(50, count, width), random_state=seed).fit_transform(features.astype(np.float64))
    # Among so few samples, or on a line, neighbours say nothing that the components do not.
    on_a_line = few.shape[1] < 2 or few[:, 1].std() < 1e-9 * few[:, 0].std()
    if count > TSNE_LIMIT or count < 10 or on_a_line:
        return Projection(_plane(few), "the first two principal components (PCA)")
    perplexity = min(30.0, (count - 1) / 3)
    # Half of the usual steps: from the components on, neighbours are kept as well (0.992 on digits).
    tsne = TSNE(2, perplexity=perplexity, init="pca", random_state=seed, n_jobs=1, max_iter=500)
    # float32 inside: features of any unit are brought to the same scale first.
    xy = tsne.fit_transform((few / few[:, 0].std()).astype(np.float32))
    method = f"t-SNE of {few.shape[1]} principal components (perplexity {perplexity:.0f})"
    return Projection(xy.astype(np.float64), method)


def _plane(components: NDArray[np.float64]) -> NDArray[np.float64]:
    xy = components[:, :2]
    return np.pad(xy, ((0, 0), (0, 2 - xy.shape[1])))


def per_class(matrix: NDArray[np.int64], classes: Sequence[str]) -> list[ClassRow]:
    """Precision, recall, F1 and support of each class from a `(K, K)` confusion matrix.

    A figure without a denominator (a class that was never predicted has no precision) is NaN.
    """
    right = np.diag(matrix).astype(np.float64)
    support, guessed = matrix.sum(1), matrix.sum(0)
    precision = _ratio(right, guessed)
    recall = _ratio(right, support)
    f1 = _ratio(2 * right, support + guessed)
    return [
        ClassRow(name, float(precision[k]), float(recall[k]), float(f1[k]), int(support[k]))
        for k, name in enumerate(classes)
    ]


def _ratio(part: NDArray[np.float64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)


def calibration(found: Reliability) -> Calibration:
    """Whether a confidence of 80% is right 80% of the time, as it is drawn."""
    return Calibration(found.said.numpy(), found.found.numpy(), found.count.numpy(), found.error)
