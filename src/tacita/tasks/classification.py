"""Classification: one of several classes, none of them nearer to another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from tacita.catalog.tasks import task
from tacita.errors import ConfigError
from tacita.measures.calibration import ece
from tacita.measures.errors import confusion, macro_f1
from tacita.measures.ranks import aucs
from tacita.tasks.base import Task, full_precision
from tacita.tasks.coded import OneClass
from tacita.values import Values

_UNEVEN = 3
"""How many times the labels of the rarest class the commonest may have to be ranked by accuracy."""


@task("classification")
@dataclass(frozen=True)
class Classification(OneClass):
    """One of several classes; beside accuracy stand balanced accuracy and the calibration error (ECE).

    >>> task = Classification(("cat", "dog"))
    >>> task.decode(task.predict(torch.tensor([[0.1, 2.0]])))
    ['dog']
    """

    metric = "accuracy"
    ranking: ClassVar[tuple[str, ...]] = ("balanced_accuracy", "macro_f1", "auc", "log_loss")
    lower: ClassVar[tuple[str, ...]] = ("log_loss",)
    sensitive = "log_loss"

    @classmethod
    def claims(cls, raw: Any) -> int:
        """All labels are classes, unless another task is surer of them."""
        return int(cls is Classification)

    def losses(self, logits: Tensor, y: Tensor) -> Tensor:
        return functional.cross_entropy(full_precision(logits), y, reduction="none")

    def scores(self, logits: Tensor, y: Tensor) -> dict[str, float]:
        predicted = self.predict(logits)
        right = (predicted == y).float()
        recall = [right[y == code].mean().item() for code in torch.unique(y)]
        shares, codes = self.probabilities(logits), y.numpy()
        areas = aucs(shares.numpy(), codes)
        told = areas[~np.isnan(areas)]
        return {
            "accuracy": right.mean().item(),
            "balanced_accuracy": float(np.mean(recall)),
            "macro_f1": macro_f1(confusion(predicted.numpy(), codes, len(self.answers))),
            **({"auc": float(told.mean())} if len(told) else {}),
            "log_loss": self.loss(logits, y).item(),
            "ece": ece(shares, y),
        }

    def chance(self) -> dict[str, float]:
        return {**super().chance(), "auc": 0.5}

    def ranked_by(self, y: Values, name: str | None = None) -> tuple[str, str]:
        """By balanced accuracy where a class is much commoner than another, unless told otherwise."""
        chosen, why = super().ranked_by(y, name)
        counts = [count for count in self.counts(y).values() if count]
        if name is not None or chosen != "accuracy" or max(counts) <= _UNEVEN * min(counts):
            return chosen, why
        return "balanced_accuracy", (
            f"the classes are uneven ({max(counts)} labels against {min(counts)}), so balanced accuracy"
            " ranks: every class counts the same (--metric accuracy: every sample does)"
        )


def require_classes(why: str, task: Task, *, remedy: str) -> Classification:
    """The task, which must have classes in no order; an open set's known classes are such.

    why: the error's beginning. Raises `ConfigError` for any other task.
    """
    if not isinstance(task, Classification):
        raise ConfigError(f"{why}, but the task is {task.name}.", remedy=remedy)
    return task
