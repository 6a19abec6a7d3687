"""The last step of all reading: samples with raw labels to a data set with targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from tacita.data.dataset import Dataset, Schema
from tacita.data.notes import Doubt
from tacita.data.reading import Reading, Samples
from tacita.errors import DataError
from tacita.modalities.readers.labels import group_codes
from tacita.tasks import StepLabels, encode, is_stepwise, step_labels
from tacita.tasks.labels import of_categories, told
from tacita.values import Values


def finish(
    samples: Samples,
    reading: Reading,
    *,
    target: str | None = None,
    group: str | None = None,
    weight: str | None = None,
    doubt: Doubt | None = None,
) -> Dataset:
    """A data set whose task is told from its labels, or is the one of the reading.

    target, group, weight: the columns or arrays that labels, groups and weights came from.
    doubt: what the samples may be instead.
    """
    count = len(samples)
    labels = samples.labels
    if is_stepwise(reading.task):
        labels = of_steps(labels, samples.values, samples.source, str(reading.task))
    raw, words = as_told(labels, reading, samples.source)
    y, task = encode(raw, reading.task, samples.values, samples.source)
    if len(y) != count:
        raise DataError(
            f"{samples.source}: {len(y)} labels but {count} samples.",
            remedy="Give one label a sample (-1, NaN or None where there is none).",
        )
    facts: dict[str, Any] = {
        "target": target,
        "group": group or samples.meta.group,
        "weight": weight,
        "missing": reading.missing,
    }
    facts |= words
    data = Dataset(
        samples.values,
        y,
        samples.meta.model_copy(update=facts),
        task,
        groups=None if samples.groups is None else group_codes(samples.groups, count),
        ids=samples.ids,
        starts=_times(samples.starts),
        source=samples.source,
        notes=samples.notes,
        doubt=doubt,
    )
    if samples.weights is not None:
        data = data.weighted(samples.weights)
    return data.kind.divided(data)


def as_told(labels: Any, reading: Reading, source: str) -> tuple[Any, dict[str, Any]]:
    """Raw labels as the user of a reading has them, and what of it is remembered."""
    words = {
        "unlabelled_as": tuple(reading.unlabelled_as or ()),
        "as_class": tuple(reading.as_class or ()),
    }
    if isinstance(labels, StepLabels):
        return replace(labels, rows=_told(labels.rows, source, **words)), words
    return told(of_categories(labels), source, order=tuple(reading.order or ()), **words), words


def of_steps(labels: Any, samples: Values, source: str, task: str) -> StepLabels | None:
    """Raw labels of any form as those of time steps; None where there are none."""
    return None if labels is None else step_labels(labels, samples, source, task)


def _told(rows: Any, source: str, **words: tuple[str, ...]) -> Any:
    """The labels of steps as their user has them; of several columns, which are numbers, as they are."""
    several = getattr(rows, "ndim", 1) > 1
    return rows if several else told(of_categories(rows), source, **words)


def _times(starts: Any) -> torch.Tensor | None:
    return None if starts is None else torch.as_tensor(starts, dtype=torch.float64)


def finish_like(samples: Samples, schema: Schema, start: int, names: Sequence[str]) -> Dataset:
    """A data set whose targets are in the codes of a task that stands.

    start: the number of the first sample; names: what to call each in messages.
    """
    count, task = len(samples), schema.task
    if samples.labels is None:
        y = task.unlabelled(samples.values)
    else:
        unlabelled_as = {"unlabelled_as": schema.meta.unlabelled_as}
        labels: Any
        if task.stepwise:
            steps = step_labels(samples.labels, samples.values, samples.source, task.name)
            labels = replace(steps, rows=_told(steps.rows, samples.source, **unlabelled_as))
        else:
            labels = told(of_categories(samples.labels), samples.source, **unlabelled_as)
        y = task.encode_like(labels, samples.values, samples.source, lambda i: f"sample {names[i]}")
    return Dataset(
        samples.values,
        y,
        schema.meta.like(samples.values),
        task,
        index=torch.arange(start, start + count),
        ids=samples.ids,
        starts=_times(samples.starts),
        source=samples.source,
        notes=samples.notes,
    )
