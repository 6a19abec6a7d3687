"""Timing two ways of doing the same, side by side in one run: medians and their ratio."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Result:
    """One comparison: median seconds of ours and of the peer; `ratio` above 1 means ours is faster."""

    what: str
    peer: str
    ours_seconds: float
    peer_seconds: float
    aim: str

    @property
    def ratio(self) -> float:
        """How many times as long the peer takes."""
        return self.peer_seconds / self.ours_seconds

    def line(self) -> str:
        """A row of the table in `docs/benchmarks.md`."""
        return (
            f"| {self.what} | {self.peer} | {1000 * self.ours_seconds:.1f} | "
            f"{1000 * self.peer_seconds:.1f} | {self.ratio:.2f} | {self.aim} |"
        )


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
