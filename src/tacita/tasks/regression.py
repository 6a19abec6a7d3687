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

    def loss(self, logits: Tensor, y: Tensor) -> Tensor:
        logits = full_precision(logits)
        return functional.mse_loss(logits.squeeze(1), ((y - self.mean) / self.std).to(logits.dtype))

    def predict(self, logits: Tensor) -> Tensor:
        return logits.float().squeeze(1) * self.std + self.mean

    def logits_from(self, prediction: Tensor) -> Tensor:
        """Values may come as `(B,)` or `(B, 1)`."""
        return ((prediction.float() - self.mean) / self.std).reshape(-1, 1)

    def translated(self, logits: Tensor, old: Self) -> Tensor:
        return self.logits_from(old.predict(logits))

    def chance(self) -> dict[str, float]:
        return {"r2": 0.0}

    def scores(self, logits: Tensor, y: Tensor) -> dict[str, float]:
        error = self.predict(logits) - y
        spread = (y - y.mean()).square().mean().clamp_min(1e-12)
        return {
            "r2": 1.0 - (error.square().mean() / spread).item(),
            "mean_absolute_error": error.abs().mean().item(),
            "root_mean_squared_error": error.square().mean().sqrt().item(),
        }

    def fitted(self, y: Values) -> Self:
        values = as_tensor(y)
        std, mean = torch.std_mean(values[self.known(values)].double(), correction=0)
        return replace(self, mean=mean.item(), std=std.item() or 1.0)
