"""Boosted trees on lags: one model for all steps ahead, which is told the step."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingRegressor
from torch import Tensor

from tacita.baselines.lagged import Lags
from tacita.catalog.cards import method
from tacita.data.batch import Batch, InputSpec
from tacita.tasks.forecast import Forecast
from tacita.windows import at_the_end

ROWS = 60_000
"""Pairs of a window and a step that it learns from; of more, a draw."""
LAGS = 32
MEANS = (4, 16)
"""Steps that the running means are over."""


@method(
    "lag-boosting",
    title="Gradient boosting on lags, scikit-learn",
    paper="https://doi.org/10.1016/j.ijforecast.2021.11.013",
    year=2022,
    family="baseline",
    needs=("steps", "numbers"),
    labels="many",
    tasks=("forecast",),
    summary="Boosted trees on the last steps, a season ago and what is known ahead: the M5 competition's "
    "winner, in small.",
)
class LagBoosting(Lags):
    """scikit-learn's histogram gradient boosting on the scale of each window, one model for all steps ahead.

    Its columns: the step ahead, the last 32 lags, means over 4 and 16 steps, the values one and two seasons
    before the step, other channels' last values, and what is known of the step itself.
    """

    def estimator(self, rows: int, seed: int) -> Any:
        return HistGradientBoostingRegressor(
            random_state=seed,
            categorical_features=None,
            min_samples_leaf=max(1, min(20, rows // 10)),
        )

    def columns(self, spec: InputSpec, task: Forecast) -> int:
        lags = min(LAGS, spec.context)
        others = spec.channels - spec.targets
        return 1 + lags + len(MEANS) + 2 + others + spec.known_ahead

    def learn(self, batch: Batch, change: Tensor, seed: int) -> Any:
        answers = change.movedim(2, 1).flatten().numpy()
        places = np.flatnonzero(~np.isnan(answers))
        if len(places) > ROWS:
            places = np.sort(np.random.default_rng(seed).choice(places, ROWS, replace=False))
        rows = self._rows(batch, places)
        return self.estimator(len(places), seed).fit(rows, answers[places])

    def relative(self, estimator: Any, batch: Batch) -> Tensor:
        count, steps, targets = len(batch), self.forecasting.horizon, self.spec_.targets
        places = np.arange(count * steps * targets)
        found = estimator.predict(self._rows(batch, places)).reshape(count, targets, steps)
        return torch.from_numpy(found).movedim(1, 2)

    def _rows(self, batch: Batch, places: NDArray[np.int64]) -> NDArray[Any]:
        """A row for every place among windows, targets and steps, in this order."""
        spec, task = self.spec_, self.forecasting
        x, context = at_the_end(batch.samples).numpy(), spec.context
        own = x[:, :context, : spec.targets]
        window, rest = np.divmod(places, spec.targets * task.horizon)
        target, step = np.divmod(rest, task.horizon)
        lags = own[window, -LAGS:, target]
        means = [own[window, -span:, target].mean(1) for span in MEANS]
        # Seasons that lie before the window are not told.
        seasons = []
        for further in (0, 1):
            before = (1 + step // task.season + further) * task.season - step
            known = before <= context
            values = own[window, context - np.where(known, before, 1), target]
            seasons.append(np.where(known, values, np.nan))
        others = x[window, context - 1, spec.targets :]
        ahead = np.empty((len(places), 0))
        if spec.known_ahead:
            ahead = x[window, context + step, -1 - spec.known_ahead : -1]
        columns = [step[:, None], lags, *(c[:, None] for c in (*means, *seasons)), others, ahead]
        return np.hstack(columns)
