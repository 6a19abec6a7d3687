"""What a training run leaves to look at: its losses over time, its speed and its memory."""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch

from tacita.errors import MissingExtraError
from tacita.files import write_text


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


class JsonLines:
    """A callback that appends each row to a file, one JSON object a line.

    labels: stand before each row, such as the candidate's name, so that runs can share a file.

    A run that goes on from a checkpoint first drops the rows that it will write again.
    """

    def __init__(self, path: Path, **labels: str) -> None:
        self.path = path
        self.labels = labels
        self.begun = False

    def __call__(self, progress: Progress) -> None:
        if not self.begun and self.path.exists():
            lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True)
            write_text(
                self.path, "".join(line for line in lines if self._keeps(line, progress.step))
            )
        self.begun = True
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({**self.labels, **progress.row}) + "\n")

    def _keeps(self, line: str, step: int) -> bool:
        """Whether a line stays: it is whole, and is not one of those to be written again."""
        # A kill can have cut the last line short.
        if not line.endswith("\n"):
            return False
        row = json.loads(line)
        ours = all(row.get(name) == label for name, label in self.labels.items())
        return not ours or row["step"] < step


class TensorBoard:
    """A callback that writes each row for TensorBoard: `train(..., callbacks=[TensorBoard("logs")])`.

    A run that goes on from a checkpoint hides the points that it writes again.
    Raises `MissingExtraError` where tensorboard is not installed.
    """

    def __init__(self, folder: str | Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise MissingExtraError("tensorboard", "tensorboard") from error
        self.folder = folder
        self.open = SummaryWriter
        self.writer: Any = None

    def __call__(self, progress: Progress) -> None:
        if self.writer is None:
            self.writer = self.open(str(self.folder), purge_step=progress.step)
        for name, value in progress.row.items():
            if name != "step":
                self.writer.add_scalar(name, value, progress.step)
        # Nothing tells a callback that the run is over, or killed: every row is put out at once.
        self.writer.flush()


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
