"""Timing two ways of doing the same, side by side in one run: medians and their ratio."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch


@dataclass(frozen=True)
class Result:
    """One comparison: median seconds of ours and of the peer, or what else `unit` says.

    `ratio` above 1 means that ours is faster or smaller. A figure without a peer, such as the slope of
    time in length, has `theirs=None`.
    """

    what: str
    peer: str
    ours: float
    theirs: float | None
    aim: str
    unit: Literal["s", "MB", "slope"] = "s"

    @property
    def ratio(self) -> float | None:
        """How many times as much the peer takes."""
        return None if self.theirs is None else self.theirs / self.ours

    def line(self) -> str:
        """A row of the table in `docs/benchmarks.md`."""
        peer = "" if self.theirs is None else self._figure(self.theirs)
        ratio = "" if self.ratio is None else f"{self.ratio:.2f}"
        ours = self._figure(self.ours)
        return f"| {self.what} | {self.peer} | {ours} | {peer} | {ratio} | {self.aim} |"

    def _figure(self, value: float) -> str:
        if self.unit == "s":
            return f"{1000 * value:.2f} ms" if value < 0.1 else f"{1000 * value:.0f} ms"
        return f"{value:.0f} MB" if self.unit == "MB" else f"{value:.2f}"


def side_by_side(
    ours: Callable[[], object], peer: Callable[[], object], repeats: int = 9
) -> tuple[float, float]:
    """Median seconds of both, run in turns so that a busy machine slows both alike."""
    ours()
    peer()
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats):
        for each, into in zip((ours, peer), times, strict=True):
            began = time.perf_counter()
            each()
            into.append(time.perf_counter() - began)
    return statistics.median(times[0]), statistics.median(times[1])


def machine() -> str:
    """What the figures were measured on."""
    return (
        f"{platform.machine()}, {torch.get_num_threads()} threads, Python {platform.python_version()}, "
        f"torch {torch.__version__}"
    )


def peak_of_this_process() -> float:
    """In megabytes; `ru_maxrss` would begin at that of the process which started this one."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024
