"""`metrics.json`: the figures of a run, for people and for scripts; its schema is this file."""

from __future__ import annotations

import math
import platform
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

LIBRARIES = ("tacita", "torch", "numpy", "scikit-learn", "lightning-fabric")


class Row(BaseModel):
    """One line of the leaderboard.

    name: the candidate's name; `recipe` names of learners joined by " + ".
    metric: the figure that ranks; higher is better, or where `lower` is true, lower.
    mean, std: over the folds' scores, in `folds`.
    interval: 95%, by the number of samples that were scored, where that is known of the metric.
    scores: the means of all metrics.
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
    folds: list[float] = []
    lower: bool = False
    interval: tuple[float, float] | None = None
    scores: dict[str, float] = {}
    seconds: float = 0.0
    peak_mb: float = 0.0
    baseline: bool = False
    unlabelled: bool = False
    rank: float | None = None
    error: str | None = None

    @classmethod
    def of(
        cls, name: str, told: Sequence[Mapping[str, float]], *, metric: str, **figures: Any
    ) -> Self:
        """A line from the scores of the folds, which may be none, and further fields."""
        folds = [scores[metric] for scores in told]
        common = [key for key in (told[0] if told else ()) if all(key in each for each in told)]
        return cls(
            name=name,
            metric=metric,
            mean=float(np.mean(folds)) if folds else None,
            std=float(np.std(folds)) if folds else None,
            folds=folds,
            scores=finite({key: float(np.mean([each[key] for each in told])) for key in common}),
            **figures,
        )

    @property
    def merit(self) -> float:
        """The mean, such that more is better; minus infinity without a score."""
        if self.mean is None or not math.isfinite(self.mean):
            return -math.inf
        return -self.mean if self.lower else self.mean


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
    method: str = ""
    steps: int = 0
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
    winner: the name of the candidate that was kept: the leaderboard's first row, or one that noise cannot
        tell from it (a simpler one, or the ensemble); or of the pretraining that was kept.
    ranked_by: why this metric ranks, in words, where it is not the task's usual one.
    tie: why the winner is not the leaderboard's first row, in words; else empty.
    spread: what the deviation over the folds takes in, in words.
    majority: the mean scores of one who knows only how common the answers are; null where none does.
    chance: what guessing blindly scores, for the figures where that is known.
    pretrainings: of a comparison of ways to pretrain, else empty.
    held_out: the returned model's scores on held-out samples, or null. Nothing was learnt from
        them; but where labels are hidden on purpose, candidates were ranked on them too.
    held_out_intervals: 95%, for the figures of `held_out` where that is known.
    out_of_fold: the winner's scores on the labels of the folds, each predicted by a model that was
        trained without it; null where labels were hidden on purpose. Candidates were ranked on them.
    out_of_fold_intervals: as of `held_out`.
    health: the gauges of the winner's encoder (see `tacita.audit.health.health`), or null.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: int = 1
    protocol: str = ""
    winner: str = ""
    ranked_by: str = ""
    tie: str = ""
    spread: str = ""
    majority: dict[str, float] | None = None
    chance: dict[str, float] = {}
    leaderboard: list[Row] = []
    pretrainings: list[PretrainingRow] = []
    held_out: dict[str, float] | None = None
    held_out_intervals: dict[str, tuple[float, float]] = {}
    out_of_fold: dict[str, float] | None = None
    out_of_fold_intervals: dict[str, tuple[float, float]] = {}
    health: dict[str, float | int | str | list[str] | None] | None = None
    versions: dict[str, str] = Field(default_factory=lambda: versions())


def versions() -> dict[str, str]:
    """Python's and the libraries' versions."""
    return {"python": platform.python_version()} | {
        name: metadata.version(name) for name in LIBRARIES
    }


def finite(scores: Mapping[str, float]) -> dict[str, float]:
    """The scores that are numbers, as JSON has no others."""
    return {name: value for name, value in scores.items() if math.isfinite(value)}
