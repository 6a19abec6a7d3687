"""The random-convolution-kernel classifier that is the one to respect on series."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import RidgeClassifierCV, RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from tacita.baselines.series import SeriesBaseline
from tacita.catalog.cards import method
from tacita.data.batch import Batch, InputSpec
from tacita.data.dataset import Dataset
from tacita.errors import ConfigError
from tacita.tasks import Task

try:
    from aeon.transformations.collection.convolution_based import MiniRocket as AeonMiniRocket
except RuntimeError as error:
    # What is compiled when it is imported is kept in a cache, without which numba raises this.
    if "cannot cache" not in str(error):
        raise
    raise ConfigError(
        "minirocket's compiled loops need a folder that can be written to, and there is none.",
        remedy="Set NUMBA_CACHE_DIR to such a folder, or leave minirocket out.",
    ) from error

ALPHAS = tuple(np.logspace(-3, 3, 10).tolist())
"""Penalties of ridge that are tried, as in the paper's code."""


@method(
    "minirocket",
    title="MiniRocket with a ridge classifier, aeon",
    paper="https://arxiv.org/abs/2012.08791",
    year=2021,
    family="baseline",
    needs=("steps", "numbers"),
    labels="many",
    summary="Features of 10,000 fixed convolution kernels and a ridge model: fast and hard to beat.",
)
class MiniRocket(SeriesBaseline):
    """aeon's MiniRocket transform, scaled, under cross-validated ridge, as its classifier does.

    Series of unequal lengths go in padded with zeros (their mean). Raises `ConfigError` for series
    of fewer than 9 steps.
    """

    shortest = 9
    """The length of its kernels."""

    def estimator(self, task: Task, spec: InputSpec, rows: int, seed: int) -> Any:
        self.require_steps(spec)
        ridge = task.estimator(RidgeClassifierCV, RidgeCV)
        return make_pipeline(
            AeonMiniRocket(random_state=seed, n_jobs=1),
            StandardScaler(with_mean=False),
            ridge(alphas=ALPHAS),
        )

    def _fit(self, data: Dataset, seed: int) -> None:
        with _same_threads():
            super()._fit(data, seed)

    def _logits(self, batch: Batch) -> Tensor:
        with _same_threads():
            return super()._logits(batch)


@contextmanager
def _same_threads() -> Iterator[None]:
    """aeon sets the threads of numba, and so of the OpenMP that torch runs on: sums come out otherwise."""
    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
