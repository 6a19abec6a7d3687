"""Sequence regression: a number, or several, for every time step of a series."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from tacita.catalog.tasks import task
from tacita.errors import DataError
from tacita.tasks.base import Fact, Task, full_precision
from tacita.tasks.labels import numbers_of
from tacita.tasks.shown import Shown
from tacita.tasks.step_labels import StepLabels, step_labels
from tacita.tasks.steps import Steps, unlabelled_steps
from tacita.values import Values, as_tensor

_POINTS = 5000
"""Steps that are drawn against the truth in a report."""


@task("sequence-regression", apart=True)
@dataclass(frozen=True)
class SequenceRegression(Steps):
    """One number or more a time step; a chunk's number stands at the step that ends it, NaN at the others.

    targets: what each is called. mean, std: of each, by which they are standardised inside the loss.

    Shapes: logits `(B, T, L)`, targets `(B, L, T)` float64 with NaN where they are missing; predictions
    come out as `(L,)` or `(L, T)` a series.

    >>> y, task = SequenceRegression.encode([[0.0, None, 4.0]], torch.zeros(1, 3, 2), "example")
    >>> y.tolist(), task.mean, task.std
    ([[[0.0], [nan], [4.0]]], (2.0,), (2.0,))
    """

    metric = "r2"
    ranking: ClassVar[tuple[str, ...]] = ("mean_squared_error", "mean_absolute_error")
    lower: ClassVar[tuple[str, ...]] = ranking
    output = "values"
    missing = float("nan")

    targets: tuple[str, ...] = ()
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    # Labels as they are written

    @classmethod
    def encode(cls, raw: Any, samples: Values, source: str) -> tuple[Values, Self]:
        """Until it is fitted anew on the training part, the scale of all known targets serves."""
        if raw is None:
            return unlabelled_steps(samples, torch.nan, torch.float64, 1), cls()
        labels = step_labels(raw, samples, source, cls.name)
        y = _placed(labels, samples, source)
        count = y.shape[2]
        names = labels.columns if count > 1 else ()
        made = cls(targets=names, mean=(0.0,) * count, std=(1.0,) * count)
        return y, made.fitted(y)

    def encode_like(
        self, raw: Any, samples: Values, source: str, name: Callable[[int], str]
    ) -> Values:
        y = _placed(step_labels(raw, samples, source, self.name), samples, source)
        if y.shape[2] != self.out_dim:
            raise DataError(
                f"{source}: {y.shape[2]} numbers a step, but the model has {self.out_dim}.",
                remedy="Give as many targets as in training, in the same order.",
            )
        return y

    def decode(self, predicted: Values) -> list[Any]:
        values = as_tensor(predicted).numpy()
        return list(values[:, :, 0] if self.out_dim == 1 else values)

    def texts(self, predicted: Values) -> list[Any]:
        return [row.tolist() for row in self.decode(predicted)]

    def words(self, predicted: Values) -> list[str]:
        return [f"{np.nanmin(row):.4g} to {np.nanmax(row):.4g}" for row in self.decode(predicted)]

    def recode(self, y: Values, old: Task, samples: Values, source: str) -> Values:
        if isinstance(old, SequenceRegression) and old.out_dim == self.out_dim:
            return y
        return super().recode(y, old, samples, source)

    # Targets

    def unlabelled(self, samples: Values) -> Values:
        return unlabelled_steps(samples, torch.nan, torch.float64, self.out_dim)

    def known_steps(self, y: Tensor) -> Tensor:
        """Those with all of their targets."""
        return ~y.isnan().any(2)

    def fitted(self, y: Values) -> Self:
        values = as_tensor(y)
        known = values[self.known_steps(values)].double()
        if not len(known):
            return self
        std, mean = torch.std_mean(known, 0, correction=0)
        std = torch.where(std > 0, std, 1.0)
        return replace(self, mean=tuple(mean.tolist()), std=tuple(std.tolist()))

    def check_enough(self, y: Values, source: str, fewest: int) -> None:
        values = as_tensor(y)
        known = values[self.known_steps(values)]
        same = (known == known[:1]).all(0)
        if len(known) < 2 or bool(same.all()):
            raise DataError(
                f"{source}: the targets of all steps are {known[0].tolist()}.",
                remedy="Give targets that differ.",
            )

    # Learning and predictions

    @property
    def out_dim(self) -> int:
        return len(self.mean)

    def _scale(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """The mean and the deviation of each target, in 64 bits."""
        mean, std = torch.tensor([self.mean, self.std], dtype=torch.float64, device=like.device)
        return mean, std

    def _standard(self, values: Tensor) -> Tensor:
        """`(..., T)` values less their mean, in their deviations, in 64 bits."""
        mean, std = self._scale(values)
        return (values.double() - mean) / std

    def step_losses(self, logits: Tensor, y: Tensor) -> Tensor:
        """Mean squared error of standardised targets."""
        found = full_precision(logits)
        error = found - self._standard(y).to(found.dtype)
        return error.square().mean(1)

    def predict(self, logits: Tensor) -> Tensor:
        mean, std = self._scale(logits)
        return logits.double().transpose(1, 2) * std + mean

    def exported(self, logits: Tensor) -> Tensor:
        return self.predict(logits)

    def logits_from(self, prediction: Tensor) -> Tensor:
        """`(B, L, T)` values."""
        return self._standard(prediction).float().transpose(1, 2)

    def translated(self, logits: Tensor, old: Self) -> Tensor:
        return logits if old == self else self.logits_from(old.predict(logits))

    def step_targets(self, y: Tensor) -> Tensor:
        """Standardised, `(n,)` where there is one number a step."""
        standard = self._standard(y).float()
        return standard[:, 0] if self.out_dim == 1 else standard

    def step_estimator(self, classifier: Any, regressor: Any) -> Any:
        return regressor

    def step_estimated(self, estimator: Any, rows: Any) -> Tensor:
        return torch.as_tensor(estimator.predict(rows)).float().reshape(-1, self.out_dim)

    def scores(self, logits: Tensor, y: Tensor) -> dict[str, float]:
        """R2 of each target and their mean, squared and absolute error in the targets' own units."""
        known = self.known_steps(y)
        true = y[known].double()
        error = self.predict(logits)[known] - true
        missed = error.square().mean(0)
        spread = (true - true.mean(0)).square().mean(0)
        # No prediction of a constant explains anything of it, but the right one.
        left = torch.where(spread > 0, missed / spread.where(spread > 0, 1), (missed > 0).double())
        absolute = error.abs().mean(0)
        found = {
            "r2": (1 - left).mean().item(),
            "mean_squared_error": missed.mean().item(),
            "mean_absolute_error": absolute.mean().item(),
        }
        if self.out_dim > 1:
            for at, name in enumerate(self.names):
                found[f"r2 of {name}"] = 1 - left[at].item()
                found[f"mean_squared_error of {name}"] = missed[at].item()
                found[f"mean_absolute_error of {name}"] = absolute[at].item()
        return found

    def prior(self, y: Values) -> Tensor | None:
        """The mean of the known targets, at every step."""
        values = as_tensor(y)
        known = values[self.known_steps(values)].double().mean(0)
        return self.logits_from(known.expand(1, values.shape[1], -1))

    def chance(self) -> dict[str, float]:
        return {"r2": 0.0}

    # Words

    @property
    def names(self) -> Sequence[str]:
        """What each target is called: by its column, or by its number."""
        return self.targets or [str(at) for at in range(self.out_dim)]

    def columns(self) -> Sequence[str]:
        return ["predicted"] if self.out_dim == 1 else [f"predicted {name}" for name in self.names]

    def summary(self, y: Values) -> str:
        return "a number a step" if self.out_dim == 1 else f"{self.out_dim} numbers a step"

    def facts(self, y: Values) -> list[Fact]:
        values = as_tensor(y)
        known = values[self.known_steps(values)]
        if not len(known):
            return []
        ranges = [
            f"{name}{low:g} to {high:g}"
            for name, low, high in zip(
                [""] if self.out_dim == 1 else [f"{name} " for name in self.names],
                known.amin(0).tolist(),
                known.amax(0).tolist(),
                strict=True,
            )
        ]
        return [("target", ", ".join(ranges)), ("steps", f"{len(known):,} have a target")]

    def shown(self, logits: Tensor, y: Tensor, top: int) -> Shown:
        """Predictions against the truth, of several targets in deviations of each; the worst series."""
        known = self.known_steps(y)
        guesses = self.predict(logits).masked_fill(~known[:, :, None], torch.nan)
        worst = (guesses - y).abs().nanmean((1, 2)).argsort(descending=True)[:top]
        true, found = y[known].double(), guesses[known]
        if self.out_dim > 1:
            true, found = self._standard(true), self._standard(found)
        every = max(1, len(true) // _POINTS)
        drawn = slice(None, None, every)
        return Shown(
            fit=(true[drawn].flatten().numpy(), found[drawn].flatten().numpy()),
            worst=worst.numpy(),
            guesses=guesses[worst].numpy(),
        )


def _placed(labels: StepLabels, samples: Values, source: str) -> Tensor:
    """`(N, L, T)` numbers of raw labels."""
    rows = labels.rows
    columns = [rows] if getattr(rows, "ndim", 1) == 1 else list(rows.T)
    numbers = torch.stack([numbers_of(column, source) for column in columns], 1)
    return labels.placed(numbers, int(as_tensor(samples).shape[1]), "linear")
