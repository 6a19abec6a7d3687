"""Early stopping: the weights that did best by a score are kept, and training ends without progress."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from tacita.engine.devices import seed_step
from tacita.engine.history import Best
from tacita.errors import ConfigError, DivergedError
from tacita.objective import Objective

SEED = 0
"""Every measurement draws the same random numbers, so that two of them can be compared."""


@dataclass(frozen=True)
class Stopping:
    """When to stop, and by what the best weights are told.

    score: of an objective, higher is better; `tacita.engine.scores` has some. It is given a copy
        that is finished (averaged weights in their place) and in evaluation mode.
    every: steps between two measurements; the last step is measured too.
    patience: how many measurements in a row may bring nothing better than the best.

    Raises `ConfigError` for an `every` or a `patience` below 1.
    """

    score: Callable[[Objective[Any]], float]
    every: int = 100
    patience: int = 5

    def __post_init__(self) -> None:
        for name in ("every", "patience"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}={getattr(self, name)}: it must be 1 or more.")

    def __str__(self) -> str:
        """What makes it another stopping, for a run's fingerprint."""
        name = getattr(self.score, "__qualname__", type(self.score).__qualname__)
        return f"{name} every {self.every} patience {self.patience}"


class Watch:
    """Measures an objective as it trains and keeps a copy of its best weights.

    `best` and `weights` are all that it knows, so that a resumed run goes on from these two.
    """

    def __init__(self, stopping: Stopping | None, fabric: Fabric) -> None:
        self.stopping = stopping
        self.fabric = fabric
        self.best: Best | None = None
        self.weights: dict[str, Tensor] = {}

    def look(self, objective: Objective[Any], step: int, *, last: bool) -> dict[str, float]:
        """The score after a step for the history; nothing where it is not measured."""
        if self.stopping is None or not (last or step % self.stopping.every == 0):
            return {}
        # A copy: what a measurement changes (modes, queues, running means) is not the run's.
        kept = copy.deepcopy(objective)
        kept.finish()
        kept.eval()
        seed_step(self.fabric.device, SEED)
        with torch.no_grad():
            score = float(self.stopping.score(kept))
        # Processes may differ in the last digit, but must stop together.
        score = self.fabric.broadcast(score)
        if math.isnan(score):
            raise DivergedError(
                f"The score to stop by became nan by step {step}.",
                remedy="Try a smaller learning_rate, or look at the score's function.",
            )
        if self.best is None or score > self.best.score:
            self.best = Best(step, score)
            self.weights = {
                name: value.detach().to("cpu", copy=True)
                for name, value in objective.state_dict().items()
            }
        return {"score": score}

    def exhausted(self, step: int) -> bool:
        """Whether patience has run out by this step."""
        if self.stopping is None or self.best is None:
            return False
        return (step - self.best.step) // self.stopping.every >= self.stopping.patience

    def restore(self, objective: Objective[Any]) -> None:
        """Put the best weights back, if there are any."""
        if self.weights:
            objective.load_state_dict(self.weights)
