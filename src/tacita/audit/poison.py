"""The contracts of samples that do not belong: who puts them in, who finds them, who keeps them out.

A poison says truly what it has done, so that a detector can be scored. A detector gives a score a
sample, and what a score means is said by those of clean samples: `p_values`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from tacita.data.dataset import Dataset
from tacita.errors import ConfigError


@dataclass(frozen=True)
class Poisoned:
    """A data set with samples that do not belong, and the truth: `flags (N,)` bool, which ones."""

    data: Dataset
    flags: Tensor


class Poison(ABC):
    """Puts samples into a data set, or changes some, as an accident or an enemy would."""

    @abstractmethod
    def apply(self, data: Dataset) -> Poisoned:
        """The data set as it is handed on, and which of its samples are not what they seem."""


class Detector(ABC):
    """Tells how suspicious a sample is; it must not look at what only the poison knows."""

    @abstractmethod
    def scores(self, data: Dataset) -> Tensor:
        """`(N,)`: the higher, the more suspicious."""


class Defence(ABC):
    """Makes a data set that a model may learn from."""

    @abstractmethod
    def clean(self, data: Dataset) -> Dataset:
        """The data set without what is distrusted; samples keep their stable index."""


class Quarantine(Defence):
    """Leaves out what a detector finds less likely than `level` among clean samples.

    clean: scores of samples that are known to be clean and that the detector has not learnt from.
    level: the share of clean samples that is lost on average.
    """

    def __init__(self, detector: Detector, clean: Tensor, *, level: float = 0.05) -> None:
        if not 0 < level < 1:
            raise ConfigError(f"level={level} is no share.", remedy="The default is 0.05.")
        self.detector = detector
        self.reference = clean
        self.level = level

    def clean(self, data: Dataset) -> Dataset:
        return data.subset(p_values(self.detector.scores(data), self.reference) > self.level)


def p_values(scores: Tensor, clean: Tensor) -> Tensor:
    """`(N,)`: how likely a clean sample scores as high; uniform for clean samples (conformal, Vovk 2005).

    clean: `(M,)` scores of clean samples that the detector has not learnt from; no p is below
        `1 / (M + 1)`. Raises `ConfigError` where there are none.

    >>> p_values(torch.tensor([0.0, 5.0]), torch.tensor([1.0, 2.0, 3.0])).tolist()
    [1.0, 0.25]
    """
    if not len(clean):
        raise ConfigError("no clean scores were given to compare with.", remedy="Give some.")
    below = torch.searchsorted(clean.sort().values, scores.contiguous())
    return (len(clean) - below + 1).double() / (len(clean) + 1)
