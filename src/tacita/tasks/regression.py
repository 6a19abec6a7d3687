"""Regression: a number, by squared error."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn import functional

from tacita.catalog.tasks import task
from tacita.tasks.base import full_precision
from tacita.tasks.number import Number
from tacita.values import Values, as_tensor


@task("regression")
@dataclass(frozen=True)
class Regression(Number):
    """A number. Targets are standardised inside the loss by the training labels' mean and deviation."""

    metric = "r2"
    ranking = ("mean_absolute_error", "root_mean_squared_error")
    lower = ranking
    mean: float = field(default=0.0)
    std: float = field(default=1.0)

    @classmethod
    def encode(cls, raw: Any, samples: Values, source: str) -> tuple[Values, Self]:
        """Until it is fitted anew on the training part, the scale of all known targets serves."""
        y, task = super().encode(raw, samples, source)
        values = as_tensor(y)
        known = values[~values.isnan()].double()
        if len(known):
            std = float(known.std(correction=0)) or 1.0
            task = replace(task, mean=float(known.mean()), std=std)
        return y, task

    def losses(self, logits: Tensor, y: Tensor) -> Tensor:
        logits = full_precision(logits).squeeze(1)
        standard = ((y - self.mean) / self.std).to(logits.dtype)
        return functional.mse_loss(logits, standard, reduction="none")

    def predict(self, logits: Tensor) -> Tensor:
        """In 64 bits, since the unit and the offset are the user's."""
        return logits.double().squeeze(1) * self.std + self.mean

    def learnt_apart(self, y: Tensor) -> Tensor:
        """Standardised, in 32 bits: the last of 64 would decide which of two equal splits a tree takes."""
        return ((y.double() - self.mean) / self.std).float()

    def estimated(self, estimator: Any, rows: Any) -> Tensor:
        return torch.as_tensor(estimator.predict(rows)).float().reshape(-1, 1)

    def logits_from(self, prediction: Tensor) -> Tensor:
        """Values may come as `(B,)` or `(B, 1)`."""
        return ((prediction.double() - self.mean) / self.std).float().reshape(-1, 1)

    def chance(self) -> dict[str, float]:
        return {"r2": 0.0}

    def scores(self, logits: Tensor, y: Tensor) -> dict[str, float]:
        y = y.double()
        error = self.predict(logits) - y
        missed, spread = error.square().mean().item(), (y - y.mean()).square().mean().item()
        # As scikit-learn has it, no prediction of a constant explains anything of it, but the right one.
        unexplained = missed / spread if spread else float(missed > 0)
        return {
            "r2": 1.0 - unexplained,
            "mean_absolute_error": error.abs().mean().item(),
            "root_mean_squared_error": error.square().mean().sqrt().item(),
        }

    def fitted(self, y: Values) -> Self:
        values = as_tensor(y)
        std, mean = torch.std_mean(values[self.known(values)].double(), correction=0)
        return replace(self, mean=mean.item(), std=std.item() or 1.0)
