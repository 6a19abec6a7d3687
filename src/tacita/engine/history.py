"""What a training run leaves to look at: its losses over time, its speed and its memory."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import torch


class Best(NamedTuple):
    """The best measurement of a run that stops early."""

    step: int
    score: float


@dataclass
class History:
    """`rows`: a plain dict every few steps: `step`, `total`, each loss term, metrics, `rate`.

    `score` is in the rows where it was measured to stop early.
    """

    steps: int
    rows: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0
    """Time spent; in a resumed run, that of earlier processes up to the checkpoint too."""
    peak_mb: float = 0.0
    """Peak memory of this process."""
    stopped_at: int | None = None
    """The step at which the run ended before all of its steps, early or out of time."""
    best: Best | None = None
    """Where the weights that were kept come from, in a run with `stopping`."""

    @property
    def ended(self) -> str:
        """Where a run with `stopping` ended, and where its weights come from; empty for any other.

        >>> History(600, stopped_at=120, best=Best(90, -0.5)).ended
        'stopped at step 120 of 600, best at 90'
        """
        if self.best is None:
            return ""
        taken = f"stopped at step {self.stopped_at} of" if self.stopped_at else "took all"
        return f"{taken} {self.steps}{' steps' * (not self.stopped_at)}, best at {self.best.step}"

    @property
    def final(self) -> dict[str, float]:
        """The last row."""
        return self.rows[-1] if self.rows else {}


@dataclass(frozen=True)
class Progress:
    """What a callback is told after a logged step."""

    step: int
    """Steps done."""
    steps: int
    row: dict[str, float]
    seconds: float
    """Spent on the run so far, as in `History`."""


Callback = Callable[[Progress], None]
"""Called after each logged step; of several processes that train together, in the first."""


def peak_memory_mb(device: torch.device) -> float:
    """Peak memory: of the GPU's allocator, or of this process since it was last set back."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    try:
        # Unlike getrusage, this can be set back between candidates.
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return int(status.split("VmHWM:")[1].split()[0]) / 2**10
    except (OSError, IndexError):
        try:
            import resource
        except ImportError:
            return 0.0  # Windows does not tell.
        unit = 2**20 if sys.platform == "darwin" else 2**10
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def reset_peak_memory() -> None:
    """Start counting the process's peak memory anew, where the system allows it (Linux)."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return
