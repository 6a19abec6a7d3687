"""From a finished run to the content of its report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from tacita.catalog.recipe import dump_recipe
from tacita.data.dataset import Dataset, joined
from tacita.learner import EncoderOnly, features
from tacita.model.metrics import Metrics
from tacita.model.model import Model
from tacita.report import analysis
from tacita.report.content import (
    EmbeddingMap,
    Health,
    LeaderboardRow,
    PretrainingRow,
    RegressionFit,
    ReportContent,
    sample_errors,
    verdict,
)
from tacita.report.describe import Description

POINTS = 2000
"""Samples on the map: what t-SNE draws in seconds."""
ERRORS = 24


def leaderboard_rows(metrics: Metrics) -> list[LeaderboardRow]:
    """The leaderboard as the report draws it."""
    return [
        LeaderboardRow(
            row.name,
            row.metric,
            float("nan") if row.mean is None else row.mean,
            float("nan") if row.std is None else row.std,
            row.folds,
            row.seconds,
            row.peak_mb,
            row.baseline,
            unlabelled=row.unlabelled,
            rank=row.rank,
            winner=row.name == metrics.winner,
        )
        for row in metrics.leaderboard
    ]


def pretraining_rows(metrics: Metrics) -> list[PretrainingRow]:
    """The ways to pretrain as the report tabulates them."""
    return [
        PretrainingRow(
            **row.model_dump(exclude={"method", "steps", "warnings"}),
            kept=row.name == metrics.winner,
        )
        for row in metrics.pretrainings
    ]


def report_content(
    model: Model,
    pool: Dataset,
    held: Dataset | None,
    *,
    title: str,
    created: str,
    command: str,
    description: Description,
    curves: Mapping[str, Sequence[Mapping[str, float]]],
) -> ReportContent:
    """Everything the page shows: held-out results where there are any, and the map of all samples."""
    rows = leaderboard_rows(model.metrics)
    return ReportContent(
        title=title,
        created=created,
        command=command,
        versions=model.metrics.versions,
        description=description.lines(),
        warnings=description.warnings,
        leaderboard=rows,
        verdict=verdict(rows),
        pretrainings=pretraining_rows(model.metrics),
        held_out=model.metrics.held_out,
        curves=curves,
        map=_map(model, pool, held),
        classes=model.task.answers,
        marks=pool.kind.marks(pool),
        health=_health(model.metrics),
        recipe=dump_recipe(model.recipe),
        **({} if held is None else _held_out_parts(model, held)),
    )


def _held_out_parts(model: Model, held: Dataset) -> dict[str, Any]:
    """What the model's task has to show of predictions, in the page's own form."""
    shown = model.task.shown(model.learner.logits(held), held.y, ERRORS)
    parts: dict[str, Any] = {"errors": sample_errors(held, shown.worst, shown.guesses, shown.sure)}
    if shown.confusion is not None:
        parts["confusion"] = shown.confusion
        parts["per_class"] = analysis.per_class(shown.confusion, model.task.answers)
    if shown.calibration is not None:
        parts["calibration"] = analysis.calibration(shown.calibration)
    if shown.fit is not None:
        parts["regression"] = RegressionFit(*shown.fit)
    return parts


def _map(model: Model, pool: Dataset, held: Dataset | None) -> EmbeddingMap | None:
    """A seeded draw of the samples by their features; for a baseline, by their raw values."""
    shown = _drawn(pool, POINTS if held is None else POINTS * 3 // 4)
    outside = None if held is None else _drawn(held, POINTS // 4)
    everything = shown if outside is None else joined([shown, outside])
    learner = model.learner
    if learner.encoder is not None:
        values = features(learner.encoder, everything).numpy()
    else:
        values = everything.arrays()[0]
    plane = analysis.embedding_map(values)
    is_held = np.arange(len(everything)) >= len(shown)
    known = everything.labelled.numpy()
    codes = model.task.codes(everything.targets)
    correct = None
    if codes is not None and not isinstance(learner, EncoderOnly):
        predicted = model.task.predict(learner.logits(everything))
        correct = (predicted == codes).numpy() & known
    return EmbeddingMap(
        plane.xy,
        np.full(len(everything), -1) if codes is None else codes.numpy(),
        known & ~is_held,
        [everything.name_of(i) for i in range(len(everything))],
        held_out=is_held,
        correct=correct,
        values=model.task.values(everything.targets),
        method=plane.method,
    )


def _drawn(data: Dataset, count: int) -> Dataset:
    """At most `count` samples, all labelled ones first."""
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(len(data), generator=generator)
    labelled_first = order[data.labelled[order].int().argsort(descending=True, stable=True)]
    return data.subset(labelled_first[:count].sort().values)


def _health(metrics: Metrics) -> Health | None:
    if metrics.health is None:
        return None
    figures = {name: value for name, value in metrics.health.items() if value is not None}
    warnings = figures.pop("warnings", [])
    return Health(figures, warnings if isinstance(warnings, list) else [])
