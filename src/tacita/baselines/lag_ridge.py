"""Ridge regression on lags: a linear map of the window to all steps ahead."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.linear_model import RidgeCV
from torch import Tensor

from tacita.baselines.lagged import Lags, a_target_each
from tacita.catalog.cards import method
from tacita.data.batch import Batch, InputSpec
from tacita.tasks.forecast import Forecast
from tacita.windows import at_the_end

PENALTIES = tuple(10.0**power for power in range(-2, 7))


@method(
    "lag-ridge",
    title="Ridge regression on lags, scikit-learn",
    paper="https://arxiv.org/abs/2205.13504",
    year=2022,
    family="baseline",
    needs=("steps", "numbers"),
    labels="few",
    tasks=("forecast",),
    summary="A linear map of the last steps and of what is known ahead to all steps to come: hard to beat on "
    "regular series.",
)
class LagRidge(Lags):
    """One linear map for all series and targets; the penalty by leaving one window out at a time.

    Zeng et al. (2022) found such a map to beat the transformers of its time; here it is solved, not trained.
    """

    def estimator(self, rows: int, seed: int) -> Any:
        return StepsRidge(alphas=PENALTIES)

    def columns(self, spec: InputSpec, task: Forecast) -> int:
        return spec.context + (spec.channels - spec.targets) * spec.shape[0]

    def _rows(self, batch: Batch) -> Any:
        x, targets = at_the_end(batch.samples), self.spec_.targets
        own = a_target_each(x[:, : self.spec_.context, :targets])
        others = x[:, :, targets:].flatten(1).numpy()
        return np.hstack([own, others.repeat(targets, axis=0)])

    def learn(self, batch: Batch, change: Tensor, seed: int) -> Any:
        rows, answers = self._rows(batch), a_target_each(change)
        whole = ~np.isnan(answers).any(1)
        if not whole.any():
            # Nowhere is every step known: unknown ones count as the window's mean.
            whole, answers = ~np.isnan(answers).all(1), np.nan_to_num(answers)
        return self.estimator(int(whole.sum()), seed).fit(rows[whole], answers[whole])

    def relative(self, estimator: Any, batch: Batch) -> Tensor:
        found = estimator.predict(self._rows(batch))
        steps = self.forecasting.horizon
        return torch.from_numpy(found.reshape(len(batch), self.spec_.targets, steps)).movedim(1, 2)


class StepsRidge(RidgeCV):
    """Ridge regression with a row of coefficients for every step ahead."""
