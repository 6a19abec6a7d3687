"""The exponential moving average of a network: a teacher, or the weights to evaluate with."""

from __future__ import annotations

import copy
import math
from typing import Generic, Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from tacita.errors import ConfigError

ModuleT = TypeVar("ModuleT", bound=nn.Module)


class EMA(nn.Module, Generic[ModuleT]):
    """A copy of a network that follows it: `teacher <- momentum * teacher + (1 - momentum) * student`.

    Buffers (batch-norm statistics) are copied, not averaged, as in FixMatch's and BYOL's code.
    One fused operation over all parameters, so its cost is a memory pass and not a loop.

    momentum: the rate, close to 1.
    rise: how the rate goes from `momentum` to 1 over the steps that `start` was told: along half a
        cosine (BYOL, MoCo v3, DINO), a line (I-JEPA), or not at all.
    warm: whether the rate starts low and rises as `1 - 1/(step + 1)`, so that a short run is not
        held back by its random start (FixMatch's official code).

    >>> student = nn.Linear(2, 2)
    >>> average = EMA(student, momentum=0.0)
    >>> average.update(student, step=0)
    >>> torch.equal(average.teacher.weight, student.weight)
    True
    """

    def __init__(
        self,
        student: ModuleT,
        *,
        momentum: float = 0.999,
        warm: bool = False,
        rise: Literal["none", "linear", "cosine"] = "none",
    ) -> None:
        super().__init__()
        if not 0 <= momentum <= 1:
            raise ConfigError(
                f"momentum={momentum} is not between 0 and 1.",
                remedy="Usual are 0.99 for runs of hundreds of steps, 0.996 for long ones.",
            )
        self.momentum = momentum
        self.warm = warm
        self.rise = rise
        self.steps: int | None = None
        self.teacher: ModuleT = copy.deepcopy(student).requires_grad_(False)

    def start(self, steps: int) -> None:
        """How many steps there will be; until it is called the rate does not rise."""
        self.steps = steps

    def rate(self, step: int) -> float:
        """The momentum at a step (from 0)."""
        rate = self.momentum
        if self.steps is not None and self.rise != "none":
            rate = RISES[self.rise](rate, step, self.steps)
        if self.warm:
            rate = min(rate, 1 - 1 / (step + 1))
        return rate

    @torch.no_grad()
    def update(self, student: nn.Module, step: int) -> None:
        """Move towards the student after the optimiser's step number `step` (from 0)."""
        old: list[Tensor] = list(self.teacher.parameters())
        new: list[Tensor] = list(student.parameters())
        if old:
            get_ema_multi_avg_fn(self.rate(step))(old, new, step)  # type: ignore[no-untyped-call]
        for mine, theirs in zip(self.teacher.buffers(), student.buffers(), strict=True):
            mine.copy_(theirs)


def cosine_momentum(start: float, step: int, steps: int) -> float:
    """The rate at a step (from 0) that rises from `start` to 1 along half a cosine (BYOL, section 3.3).

    >>> [round(cosine_momentum(0.99, step, 100), 4) for step in (0, 50, 100)]
    [0.99, 0.995, 1.0]
    """
    return 1 - (1 - start) * (math.cos(math.pi * step / steps) + 1) / 2


def linear_momentum(start: float, step: int, steps: int) -> float:
    """The rate at a step (from 0) that rises from `start` to 1 along a line (I-JEPA, appendix A).

    >>> [round(linear_momentum(0.996, step, 100), 4) for step in (0, 50, 100)]
    [0.996, 0.998, 1.0]
    """
    return start + (1 - start) * step / steps


RISES = {"cosine": cosine_momentum, "linear": linear_momentum}
