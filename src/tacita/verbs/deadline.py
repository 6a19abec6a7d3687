"""When a comparison is to be over, and whether what might begin would be over by then."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from tacita.verbs.budget import Cost, Costs

SCORING = 1.0
"""Seconds of a fold that are no training, about: to build a network, to predict and to write."""


@dataclass
class Deadline:
    """The end of a run, by what was planned and by how much longer that has taken so far.

    end: the moment, of `time.monotonic`.
    after: seconds before it that are expected of what follows the folds.
    expected: by the candidates' names, what they take.

    >>> Deadline(end=time.monotonic() + 60, expected={"a": Cost(0.0, 70.0)}).is_too_near("a")
    True
    """

    end: float = math.inf
    after: float = 0.0
    expected: Costs = field(default_factory=dict)
    _slower: float = 1.0
    """How many times as long as planned a candidate took, at most."""

    def is_over(self) -> bool:
        """Whether it is time for what follows the folds."""
        return time.monotonic() > self.end - self._slower * self.after

    def is_too_near(self, name: str, *, pretrained: bool = True) -> bool:
        """Whether a fold of a candidate, with its pretraining where there is none yet, would end too late."""
        cost = self.expected.get(name, Cost(0.0, 0.0))
        takes = cost.learn + (0.0 if pretrained else cost.pretrain) + self.after
        return time.monotonic() + self._slower * takes > self.end

    def note(self, name: str, folds: Sequence[float]) -> None:
        """What the folds of a candidate took, in seconds, a share of its pretraining in each."""
        cost = self.expected.get(name)
        if cost is not None:
            planned = len(folds) * (cost.learn + SCORING) + cost.pretrain
            self._slower = max(self._slower, sum(folds) / planned)
