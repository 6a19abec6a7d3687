"""From a finished run to the content of its report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tacita.catalog.recipe import dump_recipe
from tacita.data.dataset import Dataset, joined
from tacita.learner import EncoderOnly, Learner, features
from tacita.model.metrics import Metrics
from tacita.model.model import Model
from tacita.report import analysis
from tacita.report.content import (
    EmbeddingMap,
    GroupRow,
    Health,
    RegressionFit,
    ReportContent,
    sample_errors,
    verdict,
)
from tacita.report.describe import Description
from tacita.report.markdown import summary
from tacita.report.page import render
from tacita.tasks import Task
from tacita.verbs.importance import importance

POINTS = 2000
"""Samples on the map: what t-SNE draws in seconds."""
ERRORS = 24
COURSES = 6
"""Series whose forecast is drawn."""


@dataclass
class RunPage:
    """A finished run as its report, made when it is asked for.

    pool: what was learnt from; `held`: labelled samples that were kept aside.
    out_of_fold: positions in `pool` and logits for them by models that were trained without them.
    outside: learners and samples that each has not learnt from, where nothing was kept aside.
    """

    model: Model
    pool: Dataset
    held: Dataset | None = None
    description: Description | None = None
    curves: Mapping[str, Sequence[Mapping[str, float]]] = field(default_factory=dict)
    command: str = ""
    out_of_fold: tuple[Tensor, Tensor] | None = None
    outside: Sequence[tuple[Learner, Dataset]] = ()
    created: str = field(default_factory=lambda: datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"))

    def html(self) -> str:
        """The page, one file that needs nothing else."""
        return render(self.content)

    def markdown(self) -> str:
        """What it comes to, as Markdown."""
        return summary(self.content)

    @cached_property
    def content(self) -> ReportContent:
        """Everything the page shows."""
        model, described = self.model, self.description
        return ReportContent(
            title=f"{model.recipe.name} on {self.pool.source}",
            created=self.created,
            command=self.command,
            description=() if described is None else described.lines(),
            warnings=() if described is None else described.warnings,
            metrics=model.metrics,
            verdict=verdict(model.metrics),
            curves=self.curves,
            map=_map(model, self.pool, self.held),
            classes=model.task.answers,
            marks=self.pool.kind.marks(self.pool),
            health=_health(model.metrics),
            recipe=dump_recipe(model.recipe),
            **self._judged(),
            **self._suspects(),
            **self._importance(),
        )

    @cached_property
    def _folds(self) -> tuple[Dataset, Tensor] | None:
        """The samples of the folds, and logits for them by models that did not see them."""
        if self.out_of_fold is None:
            return None
        at, logits = self.out_of_fold
        return self.pool.subset(at), logits

    def _judged(self) -> dict[str, Any]:
        """What the task has to show of predictions: for held-out samples, else for those of the folds."""
        if self.held is not None:
            if isinstance(self.model.learner, EncoderOnly):
                return {}
            held = self.held
            logits, task = self.model.learner.logits(held), self.model.task
            of = f"{len(held):,} held-out samples."
            judged = f"{len(held):,} held-out samples, which nothing was learnt from."
        elif self._folds is not None:
            (held, logits), task = self._folds, self.pool.task
            of = "Out of fold."
            judged = (
                f"Out of fold: each of the {len(held):,} labelled samples as predicted by a model that"
                " was trained without it. The winner was chosen on them, so all is slightly too good."
            )
        else:
            return {}
        return {
            "judged": judged,
            "of": of,
            **_shown(task, held, logits),
            **_by_group(task, held, logits),
        }

    def _suspects(self) -> dict[str, Any]:
        """Labels that models trained without them do not believe."""
        if self._folds is None:
            return {}
        data, logits = self._folds
        found = data.task.suspects(logits, data.y)
        if not len(found):
            return {}
        predicted = data.task.predict(logits)[found].numpy()
        sure = data.task.probabilities(logits)[found].amax(1).numpy()
        said = (
            f"{len(found)} of the {len(data):,} labels that were learnt from, the most suspect first:"
            " models trained without the sample are surer of another class than they usually are of"
            " that class (confident learning). A suspicion, no verdict: look at the sample."
        )
        shown = sample_errors(data, found[:ERRORS], predicted[:ERRORS], sure[:ERRORS])
        return {"suspects": shown, "suspected": said}

    def _importance(self) -> dict[str, Any]:
        model = self.model
        outside = self.outside if self.held is None else [(model.learner, self.held)]
        if not outside or isinstance(model.learner, EncoderOnly):
            return {}
        # Shuffled cells seldom turn a decision where samples are few.
        metric = model.task.sensitive or model.task.metric
        return {"importance": importance(outside, metric), "importance_metric": metric}


def _shown(task: Task, data: Dataset, logits: Tensor) -> dict[str, Any]:
    """What a task has to show of predictions, in the page's own form."""
    shown = task.shown(logits, data.y, ERRORS)
    parts: dict[str, Any] = {
        "errors": sample_errors(data, shown.worst, shown.guesses, shown.sure),
        "operating": shown.operating,
        "ahead": shown.ahead,
        "courses": task.courses(
            data.samples, logits, [data.name_of(i) for i in range(len(data))], COURSES
        ),
    }
    if shown.confusion is not None:
        parts["confusion"] = shown.confusion
        parts["per_class"] = analysis.per_class(shown.confusion, task.answers)
    if shown.calibration is not None:
        parts["calibration"] = analysis.calibration(shown.calibration)
    if shown.fit is not None:
        parts["regression"] = RegressionFit(*shown.fit)
    return parts


def _by_group(task: Task, data: Dataset, logits: Tensor) -> dict[str, Any]:
    """The figure for few samples, group by group, the worst first."""
    if data.groups is None or not task.of_few:
        return {}
    rows = []
    for code in torch.unique(data.groups).tolist():
        mine = data.groups == code
        y = data.y[mine]
        value = task.scores(logits[mine], y).get(task.of_few)
        if value is None:
            return {}
        within = task.intervals(logits[mine], y).get(task.of_few)
        rows.append(GroupRow(f"{data.meta.group or 'group'} {code}", len(y), value, within))
    if len(rows) < 2:
        return {}
    rows.sort(key=lambda row: row.score, reverse=task.of_few in task.lower)
    return {"groups": rows, "group_metric": task.of_few}


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
