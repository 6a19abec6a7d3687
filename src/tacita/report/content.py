"""Everything that a page may show, as plain values. What is left out is not shown.

A sample in a list of errors is what it is: an image `(C, H, W)`, a volume `(C, D, H, W)`, a series
`(L, C)`, a table's row as a mapping from column to cell, or a text.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tacita.data.dataset import Dataset
from tacita.errors import DataError
from tacita.report.words import metric_name, score

Array = NDArray[Any]
Sample = Array | Mapping[str, object] | str


@dataclass(frozen=True)
class LeaderboardRow:
    """One candidate: its score on every fold, their mean and deviation, and what it cost."""

    name: str
    metric: str
    mean: float
    std: float
    folds: Sequence[float] = ()
    seconds: float | None = None
    peak_mb: float | None = None
    baseline: bool = False
    unlabelled: bool = False
    """Whether it learns from samples without a label."""
    winner: bool = False
    rank: float | None = None
    """Of the pretrained embeddings, where it was pretrained."""


@dataclass(frozen=True)
class PretrainingRow:
    """One way to pretrain: what its frozen encoder was found to be, and what it cost.

    probe, knn: scores, None without labels; rank: of the embeddings, of at most `width`.
    """

    name: str
    probe: float | None = None
    knn: float | None = None
    rank: float | None = None
    width: int | None = None
    alignment: float | None = None
    uniformity: float | None = None
    seconds: float | None = None
    peak_mb: float | None = None
    error: str | None = None
    kept: bool = False


@dataclass(frozen=True)
class EmbeddingMap:
    """Samples on a plane. `codes` are known classes, or -1.

    Shapes: `xy (N, 2)`; all else `(N,)`: `labelled` whether training saw its label, `held_out`
    whether it was kept aside, `correct` whether it was predicted right (read where held out),
    `values` a regression's targets, NaN where unknown.
    """

    xy: Array
    codes: Array
    labelled: Array
    names: Sequence[str]
    held_out: Array | None = None
    correct: Array | None = None
    values: Array | None = None
    method: str = ""
    """How the plane was found, for the reader."""

    def __post_init__(self) -> None:
        count = len(self.names)
        if self.xy.shape != (count, 2):
            raise DataError(f"xy has shape {self.xy.shape} but there are {count} names.")
        for name in ("codes", "labelled", "held_out", "correct", "values"):
            value = getattr(self, name)
            if value is not None and value.shape != (count,):
                raise DataError(f"{name} has shape {value.shape} but there are {count} points.")


@dataclass(frozen=True)
class ClassRow:
    """How one class fares; NaN where a figure has no denominator."""

    name: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class Calibration:
    """Confidence against accuracy in the bins that hold samples, and the expected error (ECE).

    Shapes: `confidence`, `accuracy`, `count` `(bins,)`.
    """

    confidence: Array
    accuracy: Array
    count: Array
    error: float


@dataclass(frozen=True)
class RegressionFit:
    """Held-out numbers and their predictions, both `(N,)`."""

    true: Array
    predicted: Array


@dataclass(frozen=True)
class SampleError:
    """A held-out sample that was predicted wrongly, and how sure the model was of it."""

    name: str
    true: str
    predicted: str
    confidence: float | None = None
    sample: Sample | None = None


@dataclass(frozen=True)
class Health:
    """Figures on the features (effective rank, spread, ...), and what is wrong, in words."""

    figures: Mapping[str, object] = field(default_factory=dict)
    warnings: Sequence[str] = ()


@dataclass(frozen=True)
class ReportContent:
    """One page. Every part but the title may be missing.

    `curves` maps a candidate to its history: mappings with a `step` and named values.
    """

    title: str
    created: str = ""
    command: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    description: Sequence[str] = ()
    warnings: Sequence[str] = ()
    leaderboard: Sequence[LeaderboardRow] = ()
    verdict: str = ""
    pretrainings: Sequence[PretrainingRow] = ()
    held_out: Mapping[str, float] | None = None
    curves: Mapping[str, Sequence[Mapping[str, float]]] = field(default_factory=dict)
    map: EmbeddingMap | None = None
    classes: Sequence[str] = ()
    confusion: Array | None = None
    per_class: Sequence[ClassRow] = ()
    calibration: Calibration | None = None
    regression: RegressionFit | None = None
    errors: Sequence[SampleError] = ()
    marks: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """What the labelled samples of each class have oftener than those of the others, in words."""
    health: Health | None = None
    recipe: str = ""

    def __post_init__(self) -> None:
        count = len(self.classes)
        if self.confusion is not None and self.confusion.shape != (count, count):
            raise DataError(
                f"The confusion matrix has shape {self.confusion.shape} for {count} classes."
            )


def verdict(rows: Sequence[LeaderboardRow]) -> str:
    """Who won, in a sentence, also when a baseline did; and where unlabelled samples did no good.

    That is said of candidates that use them and are below `supervised`, which learns from the labels
    alone. Empty where nobody has a score.

    >>> verdict([
    ...     LeaderboardRow("fixmatch", "accuracy", 0.96, 0.01, winner=True),
    ...     LeaderboardRow("label spreading", "accuracy", 0.77, 0.02, baseline=True),
    ... ])
    'fixmatch wins: accuracy 96.0% against 77.0% for the best baseline, label spreading.'
    """
    scored = [row for row in rows if math.isfinite(row.mean)]
    if not scored:
        return ""
    winner = next((r for r in scored if r.winner), None) or max(scored, key=lambda r: r.mean)
    rivals = [row for row in scored if row.baseline != winner.baseline]
    name = f"A baseline, {winner.name}," if winner.baseline else winner.name
    sentence = f"{name} wins: {metric_name(winner.metric)} {_score(winner)}"
    if rivals:
        rival = max(rivals, key=lambda row: row.mean)
        other = (
            "the best candidate that learns features" if winner.baseline else "the best baseline"
        )
        sentence += f" against {_score(rival)} for {other}, {rival.name}"
        if abs(winner.mean - rival.mean) <= max(winner.std, rival.std):
            sentence += "; the difference is within the spread of the folds"
    return f"{sentence}.{_without_gain(scored)}"


def _without_gain(rows: Sequence[LeaderboardRow]) -> str:
    """Which candidates have less with unlabelled samples than `supervised` has without."""
    alone = next((row for row in rows if row.name == "supervised"), None)
    using = [row for row in rows if row.unlabelled]
    below = [row for row in using if alone is not None and row.mean < alone.mean]
    if alone is None or not below:
        return ""
    best = max(below, key=lambda row: row.mean)
    if len(below) == len(using):
        said = f"The unlabelled samples helped no candidate: {best.name}"
        said += ", the best that uses them," if len(using) > 1 else ""
        said += f" has {_score(best)} against {_score(alone)} for supervised"
    else:
        *first, last = (row.name for row in below)
        names = f"{', '.join(first)} and {last} are" if first else f"{last} is"
        said = f"Of those that use the unlabelled samples, {names} below supervised"
        said += f" ({_score(alone)})"
    within = all(alone.mean - row.mean <= max(row.std, alone.std) for row in below)
    return f" {said}{'; that is within the spread of the folds' if within else ''}."


def _score(row: LeaderboardRow) -> str:
    return score(row.metric, row.mean)


def sample_errors(
    data: Dataset,
    positions: NDArray[np.int64],
    predicted: Array,
    confidence: Array | None,
) -> list[SampleError]:
    """The samples at `positions` with their names, labels and what was `predicted` for each.

    Shapes: `positions`, `predicted` (codes or values) and `confidence` `(K,)`.
    """
    sure = [None] * len(positions) if confidence is None else [float(c) for c in confidence]
    labels = data.task.words(data.targets[torch.from_numpy(positions)])
    guesses = data.task.words(torch.from_numpy(np.asarray(predicted)))
    return [
        SampleError(
            data.name_of(int(position)),
            label,
            guess,
            share,
            data.kind.show(data, int(position)),
        )
        for position, label, guess, share in zip(positions, labels, guesses, sure, strict=True)
    ]
