"""What tasks with a number a sample share: targets are float64, and a missing one is NaN."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import torch
from numpy.typing import NDArray
from torch import Tensor

from tacita.errors import ConfigError, DataError
from tacita.measures.errors import largest_errors
from tacita.tasks.base import Fact, Task
from tacita.tasks.labels import numbers_of
from tacita.tasks.shown import Shown
from tacita.values import Values, as_tensor


@dataclass(frozen=True)
class Number(Task):
    """A label is a number, `(N,)`; logits are `(B, 1)` unless a subclass says otherwise."""

    output = "values"
    blends = True
    of_few = "mean_absolute_error"

    @classmethod
    def encode(cls, raw: Any, samples: Values, source: str) -> tuple[Values, Self]:
        return numbers_of([None] * len(samples) if raw is None else raw, source), cls()

    def encode_like(
        self, raw: Any, samples: Values, source: str, name: Callable[[int], str]
    ) -> Values:
        return numbers_of(raw, source)

    def decode(self, predicted: Values) -> list[Any]:
        return [float(value) for value in as_tensor(predicted)]

    def words(self, predicted: Values) -> list[str]:
        return [f"{value:.4g}" for value in self.decode(predicted)]

    def unlabelled(self, samples: Values) -> Values:
        return torch.full((len(samples),), torch.nan, dtype=torch.float64)

    def known(self, y: Values) -> Tensor:
        return ~as_tensor(y).isnan()

    def hide(self, y: Values, keep: Tensor) -> Values:
        values = as_tensor(y)
        hidden = torch.full_like(values, torch.nan)
        hidden[keep] = values[keep]
        return hidden

    def check_enough(self, y: Values, source: str, fewest: int) -> None:
        values = torch.unique(as_tensor(y))
        if len(y) == 1:
            raise DataError(f"{source}: only 1 sample has a label.", remedy="Give more targets.")
        if len(values) < 2:
            raise DataError(
                f"{source}: the labels are all {values[0].item():g}.",
                remedy="Give targets that differ.",
            )

    @property
    def out_dim(self) -> int:
        return 1

    def exported(self, logits: Tensor) -> Tensor:
        return self.predict(logits)

    def log_likelihoods(self, logits: Tensor, y: Tensor) -> Tensor:
        """Of errors that are normal, with the deviation that the model's errors have here."""
        losses = self.losses(logits, y).double()
        if not len(losses):
            return losses
        variance = losses.mean().clamp_min(torch.finfo(torch.float32).tiny)
        return -0.5 * (losses / variance + variance.log())

    def votes(self, y: Tensor) -> Tensor:
        """The numbers themselves."""
        return y[:, None]

    def estimator(self, classifier: Any, regressor: Any) -> Any:
        return regressor

    def estimated(self, estimator: Any, rows: Any) -> Tensor:
        return self.logits_from(torch.as_tensor(estimator.predict(rows)))

    def translated(self, logits: Tensor, old: Self) -> Tensor:
        return logits if old == self else self.logits_from(old.predict(logits))

    def prior(self, y: Values) -> Tensor | None:
        """The mean of the targets."""
        return self.logits_from(as_tensor(y).double().mean().reshape(1))

    def facts(self, y: Values) -> list[Fact]:
        values = as_tensor(y)
        return [("target", f"{float(values.min()):g} to {float(values.max()):g}")] * bool(len(y))

    def told_by(self, values: Tensor, y: Values) -> bool:
        numbers = as_tensor(y)
        spread = numbers.std(correction=0)
        return bool(spread > 0) and bool(((values - numbers).abs() <= 1e-5 * spread).all())

    def values(self, y: Values) -> NDArray[Any] | None:
        values: NDArray[Any] = as_tensor(y).numpy()
        return values

    def shown(self, logits: Tensor, y: Tensor, top: int) -> Shown:
        """Predictions against the truth, and the largest errors."""
        predicted, true = self.predict(logits).numpy(), y.numpy()
        worst = largest_errors(predicted, true, top)
        return Shown(fit=(true, predicted), worst=worst, guesses=predicted[worst])


def require_number(why: str, task: Task, *, remedy: str) -> Number:
    """The task, whose labels must be a number each.

    why: the error's beginning. Raises `ConfigError` for any other task.
    """
    if not isinstance(task, Number):
        raise ConfigError(f"{why}, but the task is {task.name}.", remedy=remedy)
    return task
