"""What a training run leaves to look at: its losses over time, its speed and its memory."""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch

from tacita.files import write_text


@dataclass
class History:
    """`rows`: a plain dict every few steps: `step`, `total`, each loss term, metrics, `rate`."""

    steps: int
    rows: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0
    """Time spent in this process; a resumed run counts from where it went on."""
    peak_mb: float = 0.0

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
    """Since this process began the run."""


Callback = Callable[[Progress], None]


class JsonLines:
    """A callback that appends each row to a file, one JSON object a line.

    A run that goes on from a checkpoint first drops the rows that it will write again.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.begun = False

    def __call__(self, progress: Progress) -> None:
        if not self.begun and self.path.exists():
            lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True)
            # A kill can have cut the last line short; it is one of those to be written again.
            whole = [line for line in lines if line.endswith("\n")]
            kept = [line for line in whole if json.loads(line)["step"] < progress.step]
            write_text(self.path, "".join(kept))
        self.begun = True
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(progress.row) + "\n")


def peak_memory_mb(device: torch.device) -> float:
    """Peak memory: of the GPU's allocator, or of this process since it was last set back."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    try:
        # Unlike getrusage, this can be set back between candidates.
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return int(status.split("VmHWM:")[1].split()[0]) / 2**10
    except (OSError, IndexError):
        unit = 2**20 if sys.platform == "darwin" else 2**10
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def reset_peak_memory() -> None:
    """Start counting the process's peak memory anew, where the system allows it (Linux)."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return
