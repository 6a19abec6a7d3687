"""What a task hands to those who show and write its predictions: plain values, and where they go."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tacita.measures.calibration import Reliability
from tacita.measures.ranks import Operating


class Writer(Protocol):
    """Where predictions are written: as lines, or as files that are like the samples."""

    def lines(
        self, header: Sequence[str], lines: Iterable[Sequence[Any]], *, shares: int = 0
    ) -> int:
        """Write one line a sample, or a step, under a header; gives how many.

        shares: how many of its columns, the last, are probabilities.
        """

    def samples(self, parts: Iterable[tuple[Sequence[str], Sequence[Any]]]) -> int:
        """Write predictions that are as large as the samples, beside what these are called."""


@dataclass(frozen=True)
class Shown:
    """What a report shows of predictions for samples not learnt from; what is None is not shown.

    Shapes: `confusion (K, K)`, a row a true answer; `fit`, numbers and their predictions, `(N,)` each;
    `worst (n,)` positions of the worst predictions, `sure (n,)` how sure the model was of each.
    guesses: what was predicted for the worst, as targets are.
    operating: what comes of each threshold, a class against the others.
    ahead: of forecasts, the mean scaled error of every step ahead `(H,)`, and that of the seasonal naive one.
    """

    confusion: NDArray[np.int64] | None = None
    calibration: Reliability | None = None
    fit: tuple[NDArray[Any], NDArray[Any]] | None = None
    worst: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    guesses: NDArray[Any] = field(default_factory=lambda: np.empty(0))
    sure: NDArray[Any] | None = None
    operating: tuple[Operating, ...] = ()
    ahead: tuple[NDArray[Any], NDArray[Any]] | None = None


@dataclass(frozen=True)
class Course:
    """One forecast to be drawn.

    Shapes: `past (T,)`; `after`, what came, NaN where nobody knows, `forecast`, and the ends of its interval
    of 80%, `low` and `high`, `(H,)` each.
    """

    name: str
    past: NDArray[Any]
    after: NDArray[Any]
    forecast: NDArray[Any]
    low: NDArray[Any]
    high: NDArray[Any]
