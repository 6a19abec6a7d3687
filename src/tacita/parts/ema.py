"""The exponential moving average of a network: a teacher, or the weights to evaluate with."""

from __future__ import annotations

import copy
import math
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

ModuleT = TypeVar("ModuleT", bound=nn.Module)


class EMA(nn.Module, Generic[ModuleT]):
    """A copy of a network that follows it: `teacher <- momentum * teacher + (1 - momentum) * student`.

    Buffers (batch-norm statistics) are copied, not averaged, as in FixMatch's and BYOL's code.
    One fused operation over all parameters, so its cost is a memory pass and not a loop.

    momentum: the rate, close to 1.
    warm: whether the rate starts low and rises as `1 - 1/(step + 1)`, so that a short run is not
        held back by its random start (FixMatch's official code).

    >>> student = nn.Linear(2, 2)
    >>> average = EMA(student, momentum=0.0)
    >>> average.update(student, step=0)
    >>> torch.equal(average.teacher.weight, student.weight)
    True
    """

    def __init__(self, student: ModuleT, *, momentum: float = 0.999, warm: bool = False) -> None:
        super().__init__()
        self.momentum = momentum
        self.warm = warm
        self.teacher: ModuleT = copy.deepcopy(student).requires_grad_(False)

    @torch.no_grad()
    def update(self, student: ModuleT, step: int, momentum: float | None = None) -> None:
        """Move towards the student after the optimiser's step number `step` (from 0)."""
        rate = self.momentum if momentum is None else momentum
        if self.warm:
            rate = min(rate, 1 - 1 / (step + 1))
        old: list[Tensor] = list(self.teacher.parameters())
        new: list[Tensor] = list(student.parameters())
        if old:
            get_ema_multi_avg_fn(rate)(old, new, step)  # type: ignore[no-untyped-call]
        for mine, theirs in zip(self.teacher.buffers(), student.buffers(), strict=True):
            mine.copy_(theirs)


def cosine_momentum(start: float, step: int, steps: int) -> float:
    """The rate at a step (from 0) that rises from `start` to 1 along half a cosine (BYOL, section 3.3).

    >>> [round(cosine_momentum(0.99, step, 100), 4) for step in (0, 50, 100)]
    [0.99, 0.995, 1.0]
    """
    return 1 - (1 - start) * (math.cos(math.pi * step / steps) + 1) / 2
