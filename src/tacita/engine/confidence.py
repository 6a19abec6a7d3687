"""Are unlabelled samples learnt from at all? A threshold may let none through, and nothing else tells."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

from tacita.data.dataset import Dataset
from tacita.engine.batches import pair_sizes
from tacita.engine.history import Progress
from tacita.objective import Objective

PATIENCE = 100
"""Steps before which confidence may still be on its way."""


class ConfidenceAlarm:
    """A callback that warns once where guesses stay below the threshold for an epoch and longer.

    It reads `confident`, the share of unlabelled samples that a step learns from, where a method has
    that among its metrics. The alarm is given when it was 0 in every logged row for as many steps as
    all samples take to be seen once, and for 100 steps, or in a shorter run for all of it (two rows or
    more, for one is little to go by).

    batch_size: as given to `tacita.train`.
    alarm: what is done with an alarm; by default a Python warning.
    """

    def __init__(
        self,
        objective: Objective[Any],
        data: Dataset,
        batch_size: int,
        *,
        alarm: Callable[[str], object] = warnings.warn,
    ) -> None:
        _, unlabelled = pair_sizes(objective, data, batch_size)
        self.epoch = math.ceil(len(data) / unlabelled)
        self.alarm = alarm
        self._since: int | None = None
        self._rows = 0
        self._given = False

    def __call__(self, progress: Progress) -> None:
        confident = progress.row.get("confident")
        if confident is None or self._given:
            return
        step = progress.step
        self._rows += 1
        if self._since is None:
            # What was before the first row of a run that goes on is not known.
            self._since = 0 if step <= PATIENCE else step
        if confident > 0:
            self._since = step
        below = step - self._since
        never = step == progress.steps and self._since == 0 and self._rows > 1
        if below >= self.epoch and (below >= PATIENCE or never):
            self._given = True
            self.alarm(
                "for an epoch of unlabelled samples or longer, no guess was confident enough to be"
                " learnt from: lower the threshold, or train for more steps"
            )
