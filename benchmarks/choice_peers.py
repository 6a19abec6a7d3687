"""What a user would try in the place of `tacita.fit`: scikit-learn's, aeon's and AutoGluon's, one by one.

None of them goes through tacita but for the samples: rows of pixels, of steps or of cells, as numpy arrays.
Columns of tables and channels of series are scaled by the pool, which helps most where labels are few.
"""

from __future__ import annotations

import json
import os
import subprocess
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import (
    ExtraTreesClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.semi_supervised import LabelSpreading
from sklearn.svm import SVC

from tacita.data.dataset import Dataset

Array = NDArray[Any]
AUTOGLUON = Path(__file__).parent / "autogluon_peer.py"
NEIGHBOURS = 5
WIDE = 1000
"""Columns from which on LDA works on the principal components of the labelled rows, to save time."""


def samples(data: Dataset, pool: Dataset) -> Array:
    """Images `(N, C, H, W)` from 0 to 1; series `(N, L, C)` and tables `(N, F)` scaled by the pool.

    Series of unequal lengths end in zeros, the mean, as they do for tacita's networks.
    """
    x, of_pool = (each.x.double().numpy() for each in (data, pool))
    if data.modality == "images":
        return np.asarray(x / 255)
    if data.modality == "tables":
        return np.asarray((x - of_pool.mean(0)) / _spread(of_pool.std(0)))
    there = _there(pool, of_pool.shape[1])
    known = of_pool[there]  # (steps that are there, C)
    scaled = (x - known.mean(0)) / _spread(known.std(0))
    return np.where(_there(data, x.shape[1])[..., None], scaled, 0.0)


def _spread(deviation: Array) -> Array:
    return np.asarray(np.where(deviation > 0, deviation, 1.0))


def _there(data: Dataset, steps: int) -> Array:
    """`(N, L)` bool: which steps are not padding."""
    lengths = torch.full((len(data),), steps) if data.lengths is None else data.lengths
    return (torch.arange(steps)[None] < lengths[:, None]).numpy()


def sklearn_peers(labels: int, seed: int) -> dict[str, Any]:
    """Estimators with usual settings, for so many labels a class."""
    return {
        "logistic-regression": LogisticRegression(max_iter=1000),
        "rbf-svm": SVC(),
        "random-forest": RandomForestClassifier(random_state=seed),
        "extra-trees": ExtraTreesClassifier(random_state=seed),
        "shrinkage-lda": LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto"),
        "neighbours": KNeighborsClassifier(min(NEIGHBOURS, labels)),
        "hist-gradient-boosting": HistGradientBoostingClassifier(random_state=seed),
        "label-spreading": LabelSpreading(kernel="knn", n_neighbors=10, max_iter=100),
    }


def aeon_peers(seed: int) -> dict[str, Any]:
    """aeon's classifiers with their defaults."""
    from aeon.classification.convolution_based import (
        MiniRocketClassifier,
        MultiRocketHydraClassifier,
    )
    from aeon.classification.interval_based import QUANTClassifier

    return {
        "minirocket": MiniRocketClassifier(random_state=seed),
        "multirocket-hydra": MultiRocketHydraClassifier(random_state=seed),
        "quant": QUANTClassifier(random_state=seed),
    }


Scores = tuple[dict[str, float], dict[str, str]]
"""Accuracies by method, and why a method has none."""


def scored(peers: Mapping[str, Callable[[], Array]], y: Array) -> Scores:
    """Accuracy of what each predicts; an error becomes words."""
    found: dict[str, float] = {}
    errors: dict[str, str] = {}
    for name, predict in peers.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                found[name] = round(float((predict() == y).mean()), 4)
            except Exception as error:  # Whatever a peer raises is its result.
                errors[name] = f"{type(error).__name__}: {error}"[:300]
    return found, errors


def sklearn(pool: Dataset, test: Dataset, labels: int, seed: int) -> Scores:
    """Each alone on flat rows with labels; label spreading sees the whole pool."""
    x, test_x = (samples(each, pool).reshape(len(each), -1) for each in (pool, test))
    y, few = pool.y.numpy(), pool.labelled.numpy()

    def predict(name: str, estimator: Any) -> Callable[[], Array]:
        all_of_it = name == "label-spreading"
        rows, targets = (x, y) if all_of_it else (x[few], y[few])
        return lambda: estimator.fit(rows, targets).predict(test_x)

    peers = sklearn_peers(labels, seed)
    if x.shape[1] > WIDE:
        peers["shrinkage-lda"] = make_pipeline(PCA(), peers["shrinkage-lda"])
    return scored({name: predict(name, each) for name, each in peers.items()}, test.y.numpy())


def aeon(pool: Dataset, test: Dataset, labels: int, seed: int) -> Scores:
    """Each on the series with labels, as `(N, C, L)`; single precision, as aeon's compiled loops take."""
    few = pool.subset(pool.labelled)
    x, test_x = (samples(each, pool).swapaxes(1, 2).astype(np.float32) for each in (few, test))
    y = few.y.numpy()

    def predict(estimator: Any) -> Callable[[], Array]:
        return lambda: estimator.fit(x, y).predict(test_x)

    threads = torch.get_num_threads()
    try:
        peers = {name: predict(each) for name, each in aeon_peers(seed).items()}
        return scored(peers, test.y.numpy())
    finally:
        torch.set_num_threads(threads)  # aeon sets them.


def autogluon(
    pool: Dataset, test: Dataset, python: Path, seconds: float
) -> tuple[float | None, dict[str, Any]]:
    """AutoGluon's accuracy with the labelled rows, by an interpreter that has it; and what it says."""
    few = pool.subset(pool.labelled)
    with TemporaryDirectory() as folder:
        data = Path(folder) / "data.npz"
        np.savez(data, x=few.x.numpy(), y=few.y.numpy(), test_x=test.x.numpy())
        command = [str(python), str(AUTOGLUON), folder, str(seconds)]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env=user_environment(), cwd=folder
        )
        answer = Path(folder) / "answer.json"
        if not answer.is_file():
            said = done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"]
            return None, {"errors": {"autogluon": said[-1][:300]}}
        told = json.loads(answer.read_text(encoding="utf-8"))
    accuracy = float((np.array(told.pop("predicted")) == test.y.numpy()).mean())
    return round(accuracy, 4), told


def user_environment() -> dict[str, str]:
    """The environment without what says how many threads there are: as a user's."""
    ours = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
    return {name: value for name, value in os.environ.items() if name not in ours}
