"""`metrics.json`: the figures of a run, for people and for scripts; its schema is this file."""

from __future__ import annotations

import platform
from importlib import metadata

from pydantic import BaseModel, ConfigDict, Field

LIBRARIES = ("tacita", "torch", "numpy", "scikit-learn", "lightning-fabric")


class Row(BaseModel):
    """One line of the leaderboard.

    name: the candidate's name; `recipe` names of learners joined by " + ".
    metric: the figure that ranks, higher is better.
    mean, std: over the folds' scores, in `folds`.
    seconds: of training and scoring one fold, its share of pretraining included, on average.
    peak_mb: largest memory of the process while it ran.
    baseline: whether it is what a user would have tried instead.
    error: why it gave no score, in words; then `folds` is empty and `mean` null.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    metric: str
    mean: float | None
    std: float | None
    folds: list[float]
    seconds: float
    peak_mb: float
    baseline: bool
    error: str | None = None


class Metrics(BaseModel):
    """The whole file.

    protocol: how the folds were made, in words.
    winner: the name of the leaderboard's first row.
    held_out: the returned model's scores on held-out samples, or null. Nothing was learnt from
        them; but where labels are hidden on purpose, candidates were ranked on them too.
    health: the gauges of the winner's encoder (see `tacita.audit.health`), or null.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: int = 1
    protocol: str = ""
    winner: str = ""
    leaderboard: list[Row] = []
    held_out: dict[str, float] | None = None
    health: dict[str, float | int | str | list[str] | None] | None = None
    versions: dict[str, str] = Field(default_factory=lambda: versions())


def versions() -> dict[str, str]:
    """Python's and the libraries' versions."""
    return {"python": platform.python_version()} | {
        name: metadata.version(name) for name in LIBRARIES
    }
