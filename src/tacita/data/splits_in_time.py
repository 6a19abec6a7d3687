"""Splits of what lies in time: what is scored comes after all that was learnt from, never among it.

A cut at a moment parts the windows of all series: learnt from are those whose whole future lies before it,
scored those whose future begins there or later; windows across it are neither, which is the gap. Of what
is scored no two windows of one series overlap.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from tacita.errors import DataError
from tacita.windows import Windows

FOLDS = 5
FEWEST = 4
"""Moments to score at, one horizon apart, that make it worth keeping some for the last figure."""
_SCORED = 0.5
"""The part of the time, its end, that the folds are scored on."""


@dataclass(frozen=True)
class InTime:
    """The windows whose future is known, `at (n,)`, when it begins and ends, and which may be scored on."""

    at: Tensor
    first: Tensor
    last: Tensor
    aligned: Tensor

    @classmethod
    def of(cls, windows: Windows, known: Tensor) -> InTime:
        """known: `(N,)` bool."""
        at = known.nonzero()[:, 0]
        moments = windows.moments[at]
        return cls(at, moments[:, 0], moments[:, -1], windows.aligned[at])

    @property
    def starts(self) -> Tensor:
        """The moments at which something that may be scored begins, rising."""
        return self.first[self.aligned].unique()  # type: ignore[no-untyped-call]

    def parted(self, moment: float, until: float = float("inf")) -> tuple[Tensor, Tensor]:
        """Positions to learn from and to score on, at one cut."""
        learnt = self.last < moment
        scored = self.aligned & (self.first >= moment) & (self.first < until)
        return self.at[learnt], self.at[scored]


def hold_out(windows: Windows, known: Tensor, share: float, source: str) -> tuple[Tensor, Tensor]:
    """The windows to learn from, and those of the last `share` of the time, one at least.

    Raises `DataError` where nothing is left to learn from.
    """
    time = InTime.of(windows, known)
    starts = time.starts
    wanted = max(1, round(share * len(starts)))
    for count in range(min(wanted, len(starts)), 0, -1):
        kept, held = time.parted(float(starts[-count]))
        if len(kept) and len(held):
            return kept, held
    raise _too_few(source)


def cross_validation(windows: Windows, known: Tensor, source: str) -> list[tuple[Tensor, Tensor]]:
    """Up to five cuts in the later half of the time, each scored up to the next; what is learnt from grows.

    Raises `DataError` where there is no cut with something on both sides.
    """
    time = InTime.of(windows, known)
    starts = time.starts
    later = starts[min(len(starts) - 1, int(len(starts) * (1 - _SCORED))) :]
    bounds = later.tensor_split(min(FOLDS, len(later)))
    cuts = [float(part[0]) for part in bounds]
    found = [
        time.parted(cut, until) for cut, until in zip(cuts, [*cuts[1:], float("inf")], strict=True)
    ]
    folds = [(learnt, scored) for learnt, scored in found if len(learnt) and len(scored)]
    if not folds:
        raise _too_few(source)
    return folds


def enough_to_hold_out(windows: Windows, known: Tensor) -> bool:
    """Whether there are moments enough to keep some aside and still compare on the others."""
    return len(InTime.of(windows, known).starts) >= FEWEST


def _too_few(source: str) -> DataError:
    return DataError(
        f"{source}: the series are too short to learn from one part and be scored on a later one.",
        remedy="Give longer series, a shorter horizon, or further series with --test.",
    )
