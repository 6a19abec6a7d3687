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
from tacita.measures.ranks import Operating
from tacita.model.metrics import Metrics, Row
from tacita.report.words import metric_name, score
from tacita.tasks.shown import Course

Array = NDArray[Any]
Sample = Array | Mapping[str, object] | str


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
    """Numbers and their predictions, both `(N,)`."""

    true: Array
    predicted: Array


@dataclass(frozen=True)
class SampleError:
    """A sample that was not learnt from and predicted otherwise, and how sure the model was of it."""

    name: str
    true: str
    predicted: str
    confidence: float | None = None
    sample: Sample | None = None


@dataclass(frozen=True)
class GroupRow:
    """How the samples of one group fare, such as those of a machine."""

    name: str
    samples: int
    score: float
    interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class Importance:
    """By how much the score falls where a column is shuffled: the mean, and the spread over repeats."""

    name: str
    fall: float
    spread: float


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
    description: Sequence[str] = ()
    warnings: Sequence[str] = ()
    metrics: Metrics = field(default_factory=lambda: Metrics(versions={}))
    verdict: str = ""
    curves: Mapping[str, Sequence[Mapping[str, float]]] = field(default_factory=dict)
    map: EmbeddingMap | None = None
    classes: Sequence[str] = ()
    confusion: Array | None = None
    per_class: Sequence[ClassRow] = ()
    judged: str = ""
    """Whose predictions these are, from the classes to the errors, in a sentence; said once."""
    of: str = ""
    """The same in a word, said wherever they are shown."""
    calibration: Calibration | None = None
    operating: Sequence[Operating] = ()
    regression: RegressionFit | None = None
    courses: Sequence[Course] = ()
    """Of forecasts, the last of some series."""
    ahead: tuple[Array, Array] | None = None
    """Of forecasts, the scaled error of every step ahead, and that of the seasonal naive one."""
    group_metric: str = ""
    groups: Sequence[GroupRow] = ()
    errors: Sequence[SampleError] = ()
    suspects: Sequence[SampleError] = ()
    suspected: str = ""
    """How many labels are suspect, and by what, in a sentence."""
    importance: Sequence[Importance] = ()
    importance_metric: str = ""
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


def verdict(metrics: Metrics) -> str:
    """Who is kept, in a sentence, also when a baseline is; and where unlabelled samples did no good.

    The latter is said of candidates that use them and are below `supervised`, which learns from the
    labels alone.

    >>> fixmatch = Row(name="fixmatch", metric="accuracy", mean=0.96, std=0.01)
    >>> spreading = Row(name="label spreading", metric="accuracy", mean=0.77, std=0.02, baseline=True)
    >>> verdict(Metrics(winner="fixmatch", leaderboard=[fixmatch, spreading]))
    'fixmatch wins: accuracy 96.0% against 77.0% for the best baseline, label spreading.'
    """
    scored = [row for row in metrics.leaderboard if math.isfinite(row.merit)]
    if not scored:
        return "" if not metrics.leaderboard else f"{metrics.winner} is kept; nobody has a score."
    found = [row for row in scored if row.name == metrics.winner]
    winner = found[0] if found else max(scored, key=lambda row: row.merit)
    rivals = [row for row in scored if row.baseline != winner.baseline]
    name = f"A baseline, {winner.name}," if winner.baseline else winner.name
    did = "is kept" if metrics.tie else "wins"
    sentence = f"{name} {did}: {metric_name(winner.metric)} {_score(winner)}"
    if rivals:
        rival = max(rivals, key=lambda row: row.merit)
        other = (
            "the best candidate that learns features" if winner.baseline else "the best baseline"
        )
        sentence += f" against {_score(rival)} for {other}, {rival.name}"
        if not metrics.tie and _gap(winner, rival) <= max(winner.std or 0.0, rival.std or 0.0):
            sentence += "; the difference is within the spread of the folds"
    if metrics.tie:
        sentence += f". {metrics.tie}"
    return f"{sentence}.{_below_the_floor(winner, metrics)}{_without_gain(scored)}"


def _gap(one: Row, other: Row) -> float:
    return abs(one.merit - other.merit)


def _below_the_floor(winner: Row, metrics: Metrics) -> str:
    """Said where a model is no better than knowing how common the answers are."""
    free = (metrics.majority or {}).get(winner.metric)
    if free is None or winner.merit > (-free if winner.lower else free):
        return ""
    free_score = score(winner.metric, free)
    return f" That is no better than knowing only how common the answers are ({free_score})."


def _without_gain(rows: Sequence[Row]) -> str:
    """Which candidates have less with unlabelled samples than `supervised` has without."""
    alone = next((row for row in rows if row.name == "supervised"), None)
    using = [row for row in rows if row.unlabelled]
    below = [row for row in using if alone is not None and row.merit < alone.merit]
    if alone is None or not below:
        return ""
    best = max(below, key=lambda row: row.merit)
    if len(below) == len(using):
        said = f"The unlabelled samples helped no candidate: {best.name}"
        said += ", the best that uses them," if len(using) > 1 else ""
        said += f" has {_score(best)} against {_score(alone)} for supervised"
    else:
        *first, last = (row.name for row in below)
        names = f"{', '.join(first)} and {last} are" if first else f"{last} is"
        said = f"Of those that use the unlabelled samples, {names} below supervised"
        said += f" ({_score(alone)})"
    within = all(_gap(alone, row) <= max(row.std or 0.0, alone.std or 0.0) for row in below)
    return f" {said}{'; that is within the spread of the folds' if within else ''}."


def _score(row: Row) -> str:
    return score(row.metric, math.nan if row.mean is None else row.mean)


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
