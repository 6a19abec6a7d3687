"""The last steps that all readers share: arrays of any rank to samples, samples to a data set."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from torch import Tensor

from tacita.data.batch import Missing, Modality
from tacita.data.dataset import Dataset
from tacita.data.readers.arrays import ArrayFile
from tacita.data.readers.files import nearest
from tacita.data.readers.images import image_array
from tacita.data.readers.labels import LabelFile, encode_labels, group_codes, with_labels_from
from tacita.data.readers.long import long_series
from tacita.data.readers.samples import Samples
from tacita.data.readers.series import series_array, wide_series
from tacita.data.readers.tables import table_samples
from tacita.data.readers.values import check_finite, to_float32, to_tensor
from tacita.data.readers.volumes import encode_voxels, is_dense, volume_array
from tacita.errors import ConfigError, DataError
from tacita.tasks import Segmentation, Task

Source = str | os.PathLike[str]
_MODALITIES = ("images", "volumes", "series", "tables")


def finish(samples: Samples, task: str | None, missing: Missing = "refuse") -> Dataset:
    """Samples with raw labels to a data set with codes."""
    count = len(samples)
    y, resolved = encode_samples(samples.labels, task, samples.x, samples.source)
    if len(y) != count:
        raise DataError(
            f"{samples.source}: {len(y)} labels but {count} samples.",
            remedy="Give one label a sample (-1, NaN or None where there is none).",
        )
    groups = None if samples.groups is None else group_codes(samples.groups, count)
    return Dataset(
        samples.modality,
        samples.x,
        y,
        resolved,
        lengths=samples.lengths,
        groups=groups,
        ids=samples.ids,
        columns=samples.columns,
        categories=samples.categories,
        target=samples.target,
        group=samples.group,
        source=samples.source,
        id_column=samples.id_column,
        missing=missing,
        series_id=samples.series_id,
        time=samples.time,
        step=samples.step,
        spacing=samples.spacing,
        resampled=samples.resampled,
        gaps=samples.gaps,
        rates=samples.rates,
    )


def encode_samples(labels: Any, task: str | None, x: Tensor, source: str) -> tuple[Tensor, Task]:
    """Raw labels of samples, or of the voxels of volumes, to codes or targets and the task."""
    if is_dense(labels, task) and task in (None, Segmentation.name):
        return encode_voxels(labels, x, source)
    return encode_labels(labels, task, len(x), source=source)


def array_samples(
    x: np.ndarray[Any, Any],
    lengths: Any,
    modality: Modality | None,
    *,
    missing: Missing,
    source: str,
    start: int = 0,
) -> Samples:
    """An array of any rank to samples: the rank and the type decide the modality if none is given."""
    if x.dtype.kind not in "biuf":
        raise DataError(
            f"{source}: x is of type {x.dtype}, not numbers.",
            remedy="Give numbers; a table with text goes in as a data frame or a .csv.",
        )
    kind = modality or _modality_of(x, lengths)
    if x.ndim < 2 or not x.size:
        raise DataError(
            f"{source}: x has shape {x.shape}, so there is nothing to learn from.",
            remedy="Give (N, F) for tables, (N, L, C) for series, (N, C, H, W) for images.",
        )
    if lengths is not None and kind != "series":
        raise DataError(
            f"{source}: lengths were given, but these are {kind}.",
            remedy="Leave lengths out, or pass modality='series'.",
        )
    if kind == "series":
        return series_array(x, lengths, missing=missing, source=source, start=start)
    if kind == "images":
        return image_array(x, source=source, start=start)
    if kind == "volumes":
        return volume_array(x, source=source, start=start)
    if x.ndim != 2:
        raise DataError(
            f"{source}: a table of shape {x.shape}; (rows, columns) is needed.",
            remedy="Reshape the array, or pass modality='series' or 'images'.",
        )

    def place(index: tuple[int, ...]) -> str:
        return f"row {start + index[0]}, column {index[1]}"

    values = to_float32(x, source, place)
    check_finite(values, source, place, missing=missing)
    return Samples("tables", to_tensor(values), source)


def labelled_table(
    table: pa.Table,
    labels: Source | None,
    group: str | None,
    modality: Modality | None,
    missing: Missing,
    source: str,
    row_name: Callable[[int], str],
    series_id: str | None = None,
    time: str | None = None,
) -> Samples:
    """A table with its labels from a column or a label file; one series a row if so asked.

    With `series_id` it is a long table: one row a time step.
    """
    if series_id is None and time is not None:
        raise ConfigError(
            f"{source}: time={time!r} without series_id.",
            remedy="Name the column that says which series a row belongs to (--series-id).",
        )
    if series_id is not None and modality not in (None, "series"):
        raise ConfigError(
            f"{source}: series_id={series_id!r}, but modality={modality!r}.",
            remedy="Leave modality out: a table with a series_id holds series.",
        )
    label_file = None
    if labels is not None and str(labels) not in table.column_names and Path(labels).is_file():
        elsewhere = None if group in table.column_names else group
        label_file = LabelFile.read(Path(labels), elsewhere)
        group = None if label_file.group else group
    target = None if labels is None or label_file is not None else str(labels)
    if modality == "images":
        raise ConfigError(
            f"{source}: a table cannot be read as images.",
            remedy="Images come as a folder, or as an array in a .npz.",
        )
    how: dict[str, Any] = {"missing": missing, "source": source, "row_name": row_name}
    if series_id is not None:
        samples = long_series(
            table, series_id=series_id, time=time, labels=target, group=group, **how
        )
    else:
        read = wide_series if modality == "series" else table_samples
        samples = read(table, labels=target, group=group, **how)
    if label_file is None:
        return samples
    return with_labels_from(label_file, samples, sample_names(samples, 0), files=False)


def check_modality(modality: str | None) -> None:
    """Raises `ConfigError` for a modality that there is not."""
    if modality is not None and modality not in _MODALITIES:
        near = nearest(modality, _MODALITIES)
        raise ConfigError(
            f"modality={modality!r} is not one.",
            remedy=f"Did you mean {near!r}?" if near else f"Modalities: {', '.join(_MODALITIES)}.",
        )


def only_for_long(source: str, series_id: str | None, time: str | None) -> None:
    """Raises `ConfigError` where the names of a long table's columns come with anything else."""
    for argument, name in (("series_id", series_id), ("time", time)):
        if name is not None:
            raise ConfigError(
                f"{argument}={name!r}, but {source} is no table.",
                remedy="Leave it out: it names a column of a table with one row a time step.",
            )


def labels_of(arrays: ArrayFile, name: str, modality: Modality) -> np.ndarray[Any, Any]:
    """The labels in an array file: one a sample, or for volumes perhaps one a voxel."""
    return arrays.read(name) if modality == "volumes" else arrays.per_sample(name)


def raw_labels(data: Dataset) -> list[Any]:
    """The labels of a data set as its user wrote them, None where there is none."""
    if isinstance(data.task, Segmentation):
        return data.task.decode(data.y)
    names = iter(data.task.decode(data.y[data.labelled]))
    return [next(names) if known else None for known in data.labelled.tolist()]


def sample_names(samples: Samples, start: int) -> list[str]:
    """What each sample is called in label files and messages: its id, or its number."""
    return list(samples.ids) or [str(start + i) for i in range(len(samples))]


def _modality_of(x: np.ndarray[Any, Any], lengths: Any) -> Modality:
    if lengths is not None:
        return "series"
    if x.ndim == 3 and x.dtype != np.uint8:
        return "series"
    if x.ndim == 5:
        return "volumes"
    return "tables" if x.ndim <= 2 else "images"
