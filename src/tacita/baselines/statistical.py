"""What the classical models share that are fitted to one history at a time, by statsforecast."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tacita.baselines.forecaster import Forecaster
from tacita.data.batch import Batch
from tacita.data.dataset import Dataset
from tacita.errors import ConfigError, MissingExtraError
from tacita.tasks.forecast import MEDIAN, QUANTILES, Forecast
from tacita.values import CONSTANT
from tacita.windows import Windows

LEVELS = (50, 80, 95)
"""Intervals whose ends are the quantiles of a forecast."""
LONGEST = 1000
SEASONS = 10
"""Steps or seasons of a history that a model is fitted to, whichever are more: of longer ones the last, as
a fit takes minutes where there are tens of thousands."""


class Statistical(Forecaster):
    """A model of one series, fitted to what is known of it whenever it is asked; it learns nothing.

    That is the whole history, or of a long one the last thousand steps, or ten seasons if these are more.
    """

    most: ClassVar[int]
    """Histories that it is fitted to in a comparison without being asked for by name."""

    @abstractmethod
    def model(self, season: int) -> Any:
        """An unfitted model of statsforecast."""

    def try_out(self, data: Dataset, seed: int) -> None:
        super().try_out(data, seed)
        statsforecast()
        series = len(torch.unique(data.samples.begins)) if isinstance(data.samples, Windows) else 0
        if series > self.most:
            raise ConfigError(
                f"{self.called} is fitted to every history anew, and there are {series} series.",
                remedy="Name it (--recipe) with fewer series, or do without it.",
            )

    def _fit(self, data: Dataset, seed: int) -> None:
        self.require(data.task)

    def logits(self, data: Any) -> Tensor:
        data = self.like_training(data)
        task, windows = self.forecasting, data.samples
        if not isinstance(windows, Windows):
            raise ConfigError(
                f"{self.called} needs the whole past of a series, which a batch does not have.",
                remedy="Give the series themselves.",
            )
        statsforecast()
        found = torch.empty(len(windows), task.horizon, len(task.names), len(QUANTILES)).double()
        for place in range(len(windows)):
            history = windows.history(place)[-max(LONGEST, SEASONS * task.season) :].numpy()
            for target in range(history.shape[1]):
                found[place, :, target] = torch.from_numpy(self._forecast(history[:, target], task))
        return found.flatten(1)

    def _forecast(self, history: NDArray[np.float64], task: Forecast) -> NDArray[np.float64]:
        """`(H, Q)` of one history; on its own scale, as a unit is nothing that a model should see."""
        level, spread = history.mean(), history.std()
        if spread <= CONSTANT * abs(level) or len(history) < 3:
            return np.full((task.horizon, len(QUANTILES)), history[-1])
        season = task.season if len(history) > 2 * task.season else 1
        scaled = (history - level) / spread
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                told = self.model(season).forecast(y=scaled, h=task.horizon, level=list(LEVELS))
            except Exception:
                # Short and odd histories break these models in ways of their own; the last value never fails.
                told = {"mean": np.full(task.horizon, scaled[-1])}
        lows = [told.get(f"lo-{each}", told["mean"]) for each in reversed(LEVELS)]
        highs = [told.get(f"hi-{each}", told["mean"]) for each in LEVELS]
        found = np.stack([*lows, told["mean"], *highs], 1)
        found = np.where(np.isfinite(found), found, scaled[-1])
        found[:, :MEDIAN] = np.minimum(found[:, :MEDIAN], found[:, MEDIAN:][:, :1])
        found[:, MEDIAN + 1 :] = np.maximum(found[:, MEDIAN + 1 :], found[:, MEDIAN : MEDIAN + 1])
        return np.asarray(level + spread * found)

    def _logits(self, batch: Batch) -> Tensor:
        raise ConfigError(
            f"{self.called} needs the whole past of a series, which a batch does not have.",
            remedy="Use predict.",
        )


def statsforecast() -> Any:
    """Its models. Raises `MissingExtraError` where it is not installed."""
    try:
        import statsforecast.models as models
    except ImportError as error:
        raise MissingExtraError("statsforecast", "forecast") from error
    return models
