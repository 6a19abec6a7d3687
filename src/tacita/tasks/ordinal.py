"""Ordinal classification: grades in an order, where a near miss is better than a far one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import cohen_kappa_score
from torch import Tensor
from torch.nn import functional

from tacita.catalog.tasks import task
from tacita.errors import ConfigError
from tacita.tasks.base import full_precision
from tacita.tasks.coded import OneClass
from tacita.tasks.declared import Declared
from tacita.tasks.labels import finite_numbers


@task("ordinal")
@dataclass(frozen=True)
class Ordinal(OneClass):
    """Ordered grades: K-1 cumulative logits, one for each "is it above this grade?".

    The loss is the mean binary cross-entropy over the thresholds (Frank and Hall, 2001, trained
    jointly). Quadratic weighted kappa ranks candidates: it punishes a far miss more than a near one.
    """

    metric = "quadratic_kappa"
    ranking = ("accuracy", "mean_absolute_error")
    lower = ("mean_absolute_error",)
    nouns = ("grade", "grades")
    between = " < "

    ordered = True

    @classmethod
    def claims(cls, raw: Any) -> int:
        """Labels whose order their user tells."""
        return 3 * (isinstance(raw, Declared) and raw.told)

    @classmethod
    def arranged(cls, names: NDArray[Any], order: tuple[str, ...], source: str) -> tuple[str, ...]:
        """The grades in the order that was declared; numbers have their own.

        Raises `ConfigError` for words without an order.
        """
        grades = super().arranged(names, order, source)
        if not order and finite_numbers(grades) is None:
            raise ConfigError(
                f"{source}: the labels are words ({', '.join(grades[:5])}), whose order is unknown.",
                remedy=f"Give it from the lowest to the highest: order={list(grades[:3])!r}"
                f" (--order {','.join(grades[:3])}), as it really is.",
            )
        return grades

    @property
    def out_dim(self) -> int:
        return len(self.classes) - 1

    def losses(self, logits: Tensor, y: Tensor) -> Tensor:
        logits = full_precision(logits)
        above = (y[:, None] > torch.arange(self.out_dim, device=y.device)).to(logits.dtype)
        each = functional.binary_cross_entropy_with_logits(logits, above, reduction="none")
        return each.mean(1)

    def predict(self, logits: Tensor) -> Tensor:
        return (logits > 0).sum(1)

    def probabilities(self, logits: Tensor) -> Tensor:
        # P(y > k) must fall with k; the running minimum repairs thresholds that cross.
        above = logits.float().sigmoid().cummin(1).values
        edge = above.new_ones(len(above), 1)
        return torch.cat([edge, above], 1) - torch.cat([above, 0 * edge], 1)

    def logits_from(self, prediction: Tensor) -> Tensor:
        above = 1 - prediction.float().cumsum(1)[:, :-1]
        return above.clamp(1e-7, 1 - 1e-7).logit()

    def scores(self, logits: Tensor, y: Tensor) -> dict[str, float]:
        predicted = self.predict(logits)
        return {
            "quadratic_kappa": quadratic_kappa(predicted.numpy(), y.numpy(), len(self.classes)),
            "accuracy": (predicted == y).float().mean().item(),
            "mean_absolute_error": (predicted - y).abs().float().mean().item(),
        }

    def chance(self) -> dict[str, float]:
        return {"accuracy": 1 / len(self.classes), "quadratic_kappa": 0.0}

    def grown(self, classes: Sequence[str]) -> Self:
        """With further grades above those that there are.

        Raises `ConfigError` for numbers that do not rise.
        """
        grown = super().grown(classes)
        numbers = finite_numbers(grown.classes)
        if numbers is not None and numbers != sorted(numbers):
            raise ConfigError(
                f"classes={list(classes)!r}: grades are added above {self.classes[-1]!r}, in order.",
                remedy="Learn anew with all grades, so that each has its place.",
            )
        return grown


def quadratic_kappa(a: NDArray[np.int64], b: NDArray[np.int64], grades: int) -> float:
    """Agreement beyond chance with squared-distance weights (Cohen, 1968); 1 is perfect.

    >>> quadratic_kappa(np.array([0, 1, 2]), np.array([0, 1, 2]), 3)
    1.0
    """
    if len(np.union1d(a, b)) < 2:
        return 1.0  # One grade everywhere: scikit-learn divides by zero here.
    return float(cohen_kappa_score(a, b, labels=range(grades), weights="quadratic"))
