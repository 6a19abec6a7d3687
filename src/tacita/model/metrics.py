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
    unlabelled: whether it learns from samples without a label, and is no baseline.
    rank: of the pretrained embeddings, which compares runs of one method; null without pretraining.
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
    unlabelled: bool = False
    rank: float | None = None
    error: str | None = None


class PretrainingRow(BaseModel):
    """One line of a comparison of ways to pretrain.

    name: the candidate's name.
    method: of its pretraining; `rank` compares runs of one method with one encoder alone.
    steps: of training.
    probe, knn: mean score over the folds of a linear probe and of neighbours, or null without labels.
    rank: RankMe of the embeddings; where there are none (reconstruction), of the features about
        their mean.
    width: of what the rank is of, and so the highest rank that there could be.
    alignment, uniformity: of the features, as in `health`.
    seconds, peak_mb: of the training.
    warnings: what is wrong with the encoder, in words.
    error: why it could not be trained; then all figures are null.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    method: str
    steps: int
    probe: float | None = None
    knn: float | None = None
    rank: float | None = None
    width: int | None = None
    alignment: float | None = None
    uniformity: float | None = None
    seconds: float | None = None
    peak_mb: float | None = None
    warnings: list[str] = []
    error: str | None = None


class Metrics(BaseModel):
    """The whole file.

    protocol: how the folds were made, in words.
    winner: the name of the leaderboard's first row, or of the pretraining that was kept.
    pretrainings: of a comparison of ways to pretrain, else empty.
    held_out: the returned model's scores on held-out samples, or null. Nothing was learnt from
        them; but where labels are hidden on purpose, candidates were ranked on them too.
    health: the gauges of the winner's encoder (see `tacita.audit.health.health`), or null.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: int = 1
    protocol: str = ""
    winner: str = ""
    leaderboard: list[Row] = []
    pretrainings: list[PretrainingRow] = []
    held_out: dict[str, float] | None = None
    health: dict[str, float | int | str | list[str] | None] | None = None
    versions: dict[str, str] = Field(default_factory=lambda: versions())


def versions() -> dict[str, str]:
    """Python's and the libraries' versions."""
    return {"python": platform.python_version()} | {
        name: metadata.version(name) for name in LIBRARIES
    }
