"""The last step of all reading: samples with raw labels to a data set with targets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from tacita.data.dataset import Dataset, Schema
from tacita.data.reading import Reading, Samples
from tacita.errors import DataError
from tacita.modalities.readers.labels import encode_labels, encode_like, group_codes
from tacita.modalities.volumes.read import encode_voxels, encode_voxels_like, is_dense
from tacita.tasks import Segmentation, Task
from tacita.values import as_tensor


def finish(
    samples: Samples, reading: Reading, *, target: str | None = None, group: str | None = None
) -> Dataset:
    """A data set whose task is told from its labels, or is the one of the reading.

    target, group: the columns or arrays that labels and groups came from.
    """
    count = len(samples)
    y, task = encode(samples.labels, reading.task, samples.values, samples.source)
    if len(y) != count:
        raise DataError(
            f"{samples.source}: {len(y)} labels but {count} samples.",
            remedy="Give one label a sample (-1, NaN or None where there is none).",
        )
    facts = {"target": target, "group": group or samples.meta.group, "missing": reading.missing}
    return Dataset(
        samples.values,
        y,
        samples.meta.model_copy(update=facts),
        task,
        groups=None if samples.groups is None else group_codes(samples.groups, count),
        ids=samples.ids,
        source=samples.source,
    )


def finish_like(samples: Samples, schema: Schema, start: int, names: Sequence[str]) -> Dataset:
    """A data set whose targets are in the codes of a task that stands.

    start: the number of the first sample; names: what to call each in messages.
    """
    count, task = len(samples), schema.task
    if samples.labels is None:
        y = task.unlabelled(samples.values)
    elif isinstance(task, Segmentation):
        y = encode_voxels_like(samples.labels, task, as_tensor(samples.values), samples.source)
    else:
        y = encode_like(samples.labels, task, samples.source, lambda i: f"sample {names[i]}")
    return Dataset(
        samples.values,
        y,
        schema.meta.like(samples.values),
        task,
        index=torch.arange(start, start + count),
        ids=samples.ids,
        source=samples.source,
    )


def encode(labels: Any, task: str | None, values: Any, source: str) -> tuple[Tensor, Task]:
    """Raw labels of samples, or of the voxels of volumes, to codes or targets and the task."""
    if is_dense(labels, task) and task in (None, Segmentation.name):
        return encode_voxels(labels, as_tensor(values), source)
    return encode_labels(labels, task, len(values), source=source)
