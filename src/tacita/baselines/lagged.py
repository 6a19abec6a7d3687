"""Regression on lags: what the baselines share that forecast from the last steps of a window."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tacita.baselines.forecaster import Forecaster
from tacita.baselines.margins import FILE, Margins, earlier_and_later
from tacita.baselines.saved import load_estimator, save_estimator
from tacita.data.batch import Batch, InputSpec
from tacita.data.dataset import Dataset
from tacita.errors import DataError
from tacita.learner import chunks
from tacita.tasks.forecast import Forecast


class Lags(Forecaster):
    """One estimator of the change over a season for all series and targets; margins from later windows.

    It is fitted on the earlier windows, its margins are taken on the later ones, then it is fitted on all.
    """

    files: ClassVar[tuple[str, ...]] = ("baseline.safetensors", FILE)

    @abstractmethod
    def estimator(self, rows: int, seed: int) -> Any:
        """An unfitted estimator for this many rows."""

    @abstractmethod
    def columns(self, spec: InputSpec, task: Forecast) -> int:
        """How many numbers it is given of a row."""

    @abstractmethod
    def learn(self, batch: Batch, change: Tensor, seed: int) -> Any:
        """An estimator fitted on a batch and its changes `(B, H, K)`, as of `changes`."""

    @abstractmethod
    def relative(self, estimator: Any, batch: Batch) -> Tensor:
        """The changes of a batch, `(B, H, K)`."""

    def _fit(self, data: Dataset, seed: int) -> None:
        self.require(data.task)
        self.spec_ = data.spec
        earlier, later = earlier_and_later(data)
        estimator = self._fitted(data.subset(earlier), seed)
        errors = [
            changes(self.forecasting, batch.y) - self.relative(estimator, batch)
            for batch in chunks(data.subset(later))
        ]
        self.margins_ = Margins.of(torch.cat(errors))
        known = data.labelled.nonzero()[:, 0]
        self.estimator_ = (
            self._fitted(data.subset(known), seed) if len(known) > len(earlier) else estimator
        )

    def _fitted(self, data: Dataset, seed: int) -> Any:
        batch = data.take(torch.arange(len(data)))
        change = changes(self.forecasting, batch.y)
        if not bool((~change.isnan()).any()):
            raise DataError(
                f"{data.source}: no window both changes and has a known future, so there is nothing to fit.",
                remedy="Give longer series, or a shorter horizon.",
            )
        return self.learn(batch, change, seed)

    def _logits(self, batch: Batch) -> Tensor:
        asked = self.forecasting.asked(batch.y)
        relative = self.relative(self.estimator_, batch)
        forecast = asked.naive + asked.spread[:, None] * relative
        return self.margins_.about(forecast, asked.spread)

    def save_files(self, folder: Path) -> None:
        save_estimator(self.estimator_, folder / self.files[0])
        self.margins_.save(folder)

    def load_files(self, folder: Path, seed: int) -> None:
        self.spec_ = self.data_.spec
        columns, like = self.columns(self.spec_, self.forecasting), self.estimator(2, seed)
        self.estimator_ = load_estimator(folder / self.files[0], like, columns, 0, self.spec_)
        self.margins_ = Margins.load(folder, self.forecasting.horizon)


def changes(task: Forecast, y: Tensor) -> Tensor:
    """`(B, H, K)` the future less what was a season ago, on each window's scale; NaN where that is none."""
    asked = task.asked(y)
    unit = asked.spread.where(asked.spread > 0, torch.nan)[:, None]
    return (asked.future - asked.naive) / unit


def a_target_each(rows: Tensor) -> NDArray[Any]:
    """`(B, L, K)` to `(B * K, L)`."""
    return np.ascontiguousarray(rows.movedim(2, 1).flatten(0, 1).numpy())
