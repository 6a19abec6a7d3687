"""What all baselines of forecasts are: learners of one task."""

from __future__ import annotations

from tacita.data.dataset import Dataset
from tacita.learner import Learner
from tacita.tasks import Task, require_forecast
from tacita.tasks.forecast import Forecast


class Forecaster(Learner):
    """A learner that forecasts, and does nothing else."""

    def try_out(self, data: Dataset, seed: int) -> None:
        self.require(data.task)

    def require(self, task: Task) -> Forecast:
        """The task, which must be a forecast. Raises `ConfigError` for any other."""
        return require_forecast(f"{self.called} forecasts", task)

    @property
    def forecasting(self) -> Forecast:
        """What it has learnt."""
        return self.require(self.task_)
