"""From a finished run to the content of its report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from tacita.catalog.recipe import dump_recipe
from tacita.data.dataset import Dataset, joined
from tacita.learner import EncoderOnly, NetworkLearner, features
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
        health=_health(model.metrics),
        recipe=dump_recipe(model.recipe),
        **({} if held is None else _held_out_parts(model, held)),
    )


def _held_out_parts(model: Model, held: Dataset) -> dict[str, Any]:
    logits = model.learner.logits(held)
    predicted = model.task.predict(logits).numpy()
    true = held.y.numpy()
    if model.task.coded and not model.task.discrete:
        return {}  # A class a voxel: neither a table of samples nor a line of values shows it.
    if not model.task.discrete:
        worst = analysis.largest_errors(predicted, true, ERRORS)
        return {
            "regression": RegressionFit(true, predicted),
            "errors": sample_errors(held, worst, predicted[worst], None),
        }
    probabilities = model.task.probabilities(logits).numpy()
    wrong = analysis.confident_errors(probabilities, true, ERRORS)
    matrix = analysis.confusion(predicted, true, len(model.task.answers))
    return {
        "confusion": matrix,
        "per_class": analysis.per_class(matrix, model.task.answers),
        "calibration": analysis.calibration(probabilities, true),
        "errors": sample_errors(
            held, wrong, probabilities[wrong].argmax(1), probabilities[wrong].max(1)
        ),
    }


def _map(model: Model, pool: Dataset, held: Dataset | None) -> EmbeddingMap | None:
    """A seeded draw of the samples by their features; for a baseline, by their raw values."""
    shown = _drawn(pool, POINTS if held is None else POINTS * 3 // 4)
    outside = None if held is None else _drawn(held, POINTS // 4)
    everything = shown if outside is None else joined([shown, outside])
    learner = model.learner
    if isinstance(learner, NetworkLearner):
        values = features(learner.encoder, everything).numpy()
    else:
        values = everything.arrays()[0]
    plane = analysis.embedding_map(values)
    is_held = np.arange(len(everything)) >= len(shown)
    known = everything.labelled.numpy()
    discrete = model.task.discrete
    correct = None
    if discrete and not isinstance(learner, EncoderOnly):
        predicted = model.task.predict(learner.logits(everything)).numpy()
        correct = (predicted == everything.y.numpy()) & known
    return EmbeddingMap(
        plane.xy,
        everything.y.numpy() if discrete else np.full(len(everything), -1),
        known & ~is_held,
        [everything.name_of(i) for i in range(len(everything))],
        held_out=is_held,
        correct=correct,
        values=None if model.task.coded else everything.y.numpy(),
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
