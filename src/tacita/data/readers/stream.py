"""Further samples for a model, as a stream: of the same formats, in the shape and code it learnt."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from tacita.data.batch import UNLABELLED, Missing
from tacita.data.dataset import Dataset, Schema
from tacita.data.readers.arrays import ArrayFile, Header
from tacita.data.readers.build import (
    Source,
    array_samples,
    labels_of,
    raw_labels,
    sample_names,
)
from tacita.data.readers.files import (
    ARRAY_FILES,
    TABLE_FILES,
    TEXT_SERIES,
    Entry,
    existing,
    is_nifti,
    unknown_extension,
)
from tacita.data.readers.folders import (
    folder_entries,
    label_folder,
    label_path,
    volume_entries,
)
from tacita.data.readers.frames import frame_table, is_frame, read_table, stream_table
from tacita.data.readers.images import image_files, resized
from tacita.data.readers.labels import LabelFile, encode_like, match, match_recordings
from tacita.data.readers.long import lie_together, long_series, whole_series
from tacita.data.readers.nifti import bare_name, label_scans, scans
from tacita.data.readers.samples import Samples
from tacita.data.readers.series import (
    check_lengths,
    pad_to,
    ragged_series,
    series_files,
    timed_series,
    wide_series,
)
from tacita.data.readers.tables import array_row, spreadsheet_row, table_like
from tacita.data.readers.ts import stream_ts
from tacita.data.readers.values import check_missing
from tacita.data.readers.volumes import encode_voxels_like
from tacita.data.recordings.device import is_device
from tacita.data.recordings.load import recordings_like
from tacita.errors import ConfigError, DataError
from tacita.tasks import Segmentation

_ROWS = 2**16
"""Rows of a long table that are looked at together."""


def read_like(
    source: Any,
    schema: Schema,
    *,
    chunk: int = 4096,
    missing: Missing | None = None,
    labels: Source | None = None,
    hide_labels: bool = False,
) -> Iterator[Dataset]:
    """Stream further samples for a model: encoded by its schema, at most `chunk` at a time.

    `source`: a path in any format of `load`, an array, a frame, or a list of series. Columns are
    matched by name; labels, where there are any, are decoded by the model's classes; `labels` is a
    label file, the label column of the training data, or for volumes a folder of label volumes.
    `hide_labels`: labels are not looked at, so that they may be of other classes.
    Volumes in files come one at a time, at the spacing of the training data and each of its own size.

    Raises `DataError` for what the model cannot take, naming the row and the column.
    """
    missing = check_missing(missing or schema.missing)
    if chunk < 1:
        raise ConfigError(f"chunk={chunk} is too small.", remedy="Give at least 1.")
    if labels is not None and str(labels) == schema.target and not os.path.exists(labels):
        # The model knows its label column already.
        labels = None
    folder = None
    if schema.spec.modality == "volumes" and _is_folder(source):
        folder = label_folder(Path(source), labels)
    by_file = labels is not None and folder is None
    label_file = LabelFile.read(existing(labels)) if by_file and labels is not None else None
    if label_file is not None and _is_folder(source):
        label_file.check_inside()
    used: set[str] = set()
    example = ""
    start = 0
    for samples in _stream(source, schema, chunk, missing, folder):
        names = sample_names(samples, start)
        example = example or names[0]
        if label_file is not None:
            if samples.recordings:
                raw, _, found = match_recordings(label_file, samples.recordings)
            else:
                raw, _, found = match(label_file, names, files=_is_folder(source))
            again = sorted(used & found)
            if again:
                raise DataError(
                    f"{label_file.path}: the id {again[0]!r} fits more than one sample.",
                    remedy="Give every sample an id of its own.",
                )
            used |= found
            samples = replace(samples, labels=raw)
        if hide_labels:
            samples = replace(samples, labels=None)
        yield _finish_like(samples, schema, start, names)
        start += len(samples)
    if not start:
        raise DataError(f"{source}: there are no samples.", remedy="Give at least one.")
    if label_file is not None:
        label_file.check_known([name for name in label_file.labels if name not in used], example)


def _stream(
    source: Any, schema: Schema, chunk: int, missing: Missing, labels: Path | None
) -> Iterator[Samples]:
    """Samples of the schema's modality, shaped and encoded like it, chunk by chunk."""
    kind = schema.spec.modality
    from tacita.data.builtin import BUILTIN, load_builtin
    from tacita.data.convert import as_dataset

    if isinstance(source, str) and source in BUILTIN and not os.path.exists(source):
        source, _ = load_builtin(source)
    if isinstance(source, str | os.PathLike):
        path = existing(source, also=BUILTIN)
        if is_device(path):
            return (_shaped(s, schema) for s in recordings_like(path, schema))
        if kind == "volumes" and (path.is_dir() or is_nifti(path)):
            return _stream_volumes(path, schema, labels)
        if path.is_dir():
            return _stream_folder(path, schema, chunk, missing)
        if path.suffix.lower() in TEXT_SERIES:
            if kind != "series":
                raise _wrong_modality(str(path), "series", schema)
            return (_shaped(s, schema) for s in stream_ts(path, chunk, missing=missing))
        if path.suffix.lower() in TABLE_FILES:
            counted = array_row if path.suffix.lower() == ".parquet" else spreadsheet_row
            if schema.series_id is not None:
                return _stream_long(path, schema, chunk, missing, counted)
            pieces = stream_table(path, chunk)
            return _stream_tables(pieces, schema, missing, str(path), counted)
        if path.suffix.lower() in ARRAY_FILES:
            return _stream_arrays(path, schema, chunk, missing)
        raise unknown_extension(path)
    if is_frame(source):
        table = frame_table(source)
        if schema.series_id is not None:
            samples = _long_samples(table, schema, missing, "data frame", array_row(), 0)
            return _in_parts(_shaped(samples, schema), chunk)
        slices = (table.slice(start, chunk) for start in range(0, len(table), chunk))
        return _stream_tables(slices, schema, missing, "data frame", array_row)
    if not isinstance(source, Dataset):
        source = as_dataset(source, modality=kind, missing=missing)
    if source.modality != kind:
        raise _wrong_modality(source.source, source.modality, schema)
    return _stream_dataset(source, schema, chunk)


def _stream_dataset(data: Dataset, schema: Schema, chunk: int) -> Iterator[Samples]:
    if data.rates and data.rates != schema.spec.rates:
        raise DataError(
            f"{data.source}: the channels have rates {data.rates}, those of the model"
            f" {schema.spec.rates or 'one rate'}.",
            remedy="Give the same channels in the same order, at the same rates.",
        )
    if data.columns and (data.columns, data.categories) != (schema.columns, schema.categories):
        raise DataError(
            f"{data.source}: the columns or categories are not those of the model.",
            remedy="Give the file or the frame itself, so that its columns are matched by name.",
        )
    for start in range(0, len(data), chunk):
        part = data.subset(torch.arange(start, min(start + chunk, len(data))))
        labels = raw_labels(part) if bool(part.labelled.any()) else None
        samples = Samples(
            part.modality,
            part.x,
            part.source,
            part.lengths,
            labels=labels,
            ids=part.ids,
            columns=part.columns,
        )
        yield _shaped(samples, schema)


def _stream_tables(
    pieces: Iterator[pa.Table],
    schema: Schema,
    missing: Missing,
    source: str,
    counted: Callable[[int], Callable[[int], str]],
) -> Iterator[Samples]:
    start = 0
    for table in pieces:
        if not len(table):
            continue
        row_name = counted(start)
        if schema.spec.modality == "tables":
            yield table_like(
                _named(table, schema, source),
                _named_schema(schema),
                missing=missing,
                source=source,
                row_name=row_name,
            )
        elif schema.spec.modality == "series":
            present = set(table.column_names)
            samples = wide_series(
                table,
                labels=schema.target if schema.target in present else None,
                group=schema.group if schema.group in present else None,
                missing=missing,
                source=source,
                row_name=row_name,
                start=start,
            )
            yield _shaped(samples, schema)
        else:
            raise _wrong_modality(source, "a table", schema)
        start += len(table)


def _stream_long(
    path: Path,
    schema: Schema,
    chunk: int,
    missing: Missing,
    counted: Callable[[int], Callable[[int], str]],
) -> Iterator[Samples]:
    """A table of one row a time step; one whose series lie scattered has to be read whole."""
    name = schema.series_id
    assert name is not None
    if not lie_together(stream_table(path, _ROWS), name):
        samples = _long_samples(read_table(path), schema, missing, str(path), counted(0), 0)
        yield from _in_parts(_shaped(samples, schema), chunk)
        return
    start = 0
    for row, table in whole_series(stream_table(path, _ROWS), name, chunk):
        samples = _long_samples(table, schema, missing, str(path), counted(row), start)
        yield _shaped(samples, schema)
        start += len(samples)


def _long_samples(
    table: pa.Table,
    schema: Schema,
    missing: Missing,
    source: str,
    row_name: Callable[[int], str],
    start: int,
) -> Samples:
    present = set(table.column_names)
    assert schema.series_id is not None
    return long_series(
        table,
        series_id=schema.series_id,
        time=schema.time,
        labels=schema.target if schema.target in present else None,
        group=schema.group if schema.group in present else None,
        missing=missing,
        source=source,
        row_name=row_name,
        channels=schema.columns,
        step=schema.step,
        start=start,
    )


def _in_parts(samples: Samples, chunk: int) -> Iterator[Samples]:
    for start in range(0, len(samples), chunk):
        part = slice(start, start + chunk)
        yield replace(
            samples,
            x=samples.x[part],
            lengths=None if samples.lengths is None else samples.lengths[part],
            labels=None if samples.labels is None else samples.labels[part],
            ids=samples.ids[part],
        )


def _stream_volumes(path: Path, schema: Schema, folder: Path | None) -> Iterator[Samples]:
    """Volumes from files, one at a time and each of its own size, at the spacing of the model's."""
    entries = [Entry(path, path.name, None)]
    of_labels: list[Entry] = []
    if path.is_dir():
        found, _ = folder_entries(path, label_path(path, None), "volumes")
        entries, of_labels = volume_entries(path, found, folder)
    for entry in entries:
        samples = scans([entry], str(path), spacing=schema.spacing)
        if isinstance(schema.task, Segmentation) and folder is not None:
            own = [label for label in of_labels if bare_name(label.name) == bare_name(entry.name)]
            samples = replace(samples, labels=label_scans([entry], own, samples))
        yield _shaped(samples, schema)


def _stream_folder(path: Path, schema: Schema, chunk: int, missing: Missing) -> Iterator[Samples]:
    kind = schema.spec.modality
    entries, _ = folder_entries(path, label_path(path, None), kind)
    classes = {entry.label for entry in entries if entry.label is not None}
    # Folders that are no classes of the model merely sort the files.
    labelled = not classes.isdisjoint(schema.task.answers)
    for start in range(0, len(entries), chunk):
        part = entries[start : start + chunk]
        if kind == "images":
            channels, height, width = schema.spec.shape
            samples = image_files(part, size=(height, width), channels=channels, source=str(path))
        else:
            columns = schema.columns or None
            samples = _shaped(
                series_files(part, columns=columns, missing=missing, source=str(path), start=start),
                schema,
            )
        raw = [entry.label for entry in part] if labelled else None
        yield replace(samples, labels=raw)


def _stream_arrays(path: Path, schema: Schema, chunk: int, missing: Missing) -> Iterator[Samples]:
    arrays = ArrayFile(path)
    source = str(path)
    kind = schema.spec.modality
    lengths = arrays.read("lengths") if "lengths" in arrays else None
    known: np.ndarray[Any, np.dtype[np.int64]] | None
    ragged = "values" in arrays
    if ragged:
        if lengths is None or kind != "series":
            raise _wrong_modality(source, "series laid end to end", schema)
        known = check_lengths(lengths, None, None, source)
        total = arrays.headers["values"].shape[:1]
        if total != (int(known.sum()),):
            raise DataError(
                f"{source}: the lengths sum to {int(known.sum())}, but 'values' has shape"
                f" {arrays.headers['values'].shape}.",
                remedy="Give one length a series, in the order in which they lie.",
            )
        count, name = len(known), "values"
    else:
        name = arrays.main
        shape = arrays.headers[name].shape
        count = shape[0] if shape else 0
        known = None if lengths is None else check_lengths(lengths, count, None, source)
    target = schema.target if schema.target is not None and schema.target in arrays else None
    target = target or ("y" if "y" in arrays else None)
    raw = None if target is None else labels_of(arrays, target, kind)
    if raw is not None and len(raw) != count:
        raise DataError(
            f"{source}: {len(raw)} labels but {count} samples.", remedy="Give one label a sample."
        )
    times = _times(arrays, schema)
    starts = range(0, count, chunk)
    stops = [min(start + chunk, count) for start in starts]
    each = known if known is not None else np.full(count, _length(arrays.headers[name]))
    ends = np.concatenate([[0], np.cumsum(each)])
    sizes: Sequence[int] = [stop - start for start, stop in zip(starts, stops, strict=True)]
    if ragged:
        sizes = [int(ends[stop] - ends[start]) for start, stop in zip(starts, stops, strict=True)]
    for start, stop, x in zip(starts, stops, arrays.chunks(name, sizes), strict=True):
        part = None if known is None else known[start:stop]
        if ragged:
            samples = ragged_series(x, part, missing=missing, source=source, start=start)
        else:
            samples = array_samples(x, part, kind, missing=missing, source=source, start=start)
        if times is not None and schema.time is not None:
            flat = times.ndim == 1
            at = (
                times[ends[start] : ends[stop]] if flat else times[start:stop, : samples.x.shape[1]]
            )
            samples = timed_series(samples, at, schema.time, step=schema.step, start=start)
        labels = None if raw is None else raw[start:stop]
        yield _shaped(replace(samples, labels=labels), schema)


def _times(arrays: ArrayFile, schema: Schema) -> np.ndarray[Any, Any] | None:
    """The times of a model's series, which their step needs."""
    if schema.time is None:
        return None
    if schema.time not in arrays:
        raise DataError(
            f"{arrays.path}: there is no array {schema.time!r}, and the model was trained with times.",
            remedy="Save the time of each value beside the series.",
        )
    return arrays.numbers(schema.time)


def _length(header: Header) -> int:
    """The padded length of series in an array."""
    return header.shape[1] if len(header.shape) > 1 else 1


def _shaped(samples: Samples, schema: Schema) -> Samples:
    """Checked against the schema's shape; images resized, short series padded."""
    spec = schema.spec
    found = samples.x.shape[2] if spec.modality == "series" else samples.x.shape[1]
    what = "columns" if spec.modality == "tables" else "channels"
    if found != spec.channels:
        raise DataError(
            f"{samples.source}: {found} {what}, but the model was trained with {spec.channels}.",
            remedy=f"Give the same {what} in the same order.",
        )
    if spec.modality == "tables" and any(schema.categories) and not samples.columns:
        raise DataError(
            f"{samples.source}: the model knows its columns by name, and an array has no names.",
            remedy="Give a .csv, a .parquet or a data frame.",
        )
    if spec.modality == "images":
        height, width = spec.shape[1:]
        return replace(samples, x=resized(samples.x, (height, width)))
    if spec.modality == "series":
        x, lengths = pad_to(samples.x, samples.lengths, spec.shape[0])
        return replace(samples, x=x, lengths=lengths, columns=schema.columns)
    return samples


def _named(table: pa.Table, schema: Schema, source: str) -> pa.Table:
    """For a model of a nameless array: the table's columns by their position."""
    if schema.columns:
        return table
    kept = [name for name in table.column_names if name not in (schema.target, schema.group)]
    if len(kept) != schema.spec.channels:
        raise DataError(
            f"{source}: {len(kept)} columns, but the model was trained with {schema.spec.channels}.",
            remedy="Give the same columns in the same order.",
        )
    return table.select(kept).rename_columns([str(i) for i in range(len(kept))])


def _named_schema(schema: Schema) -> Schema:
    if schema.columns:
        return schema
    count = schema.spec.channels
    return replace(
        schema, columns=tuple(str(i) for i in range(count)), categories=((),) * count, target=None
    )


def _finish_like(samples: Samples, schema: Schema, start: int, names: Sequence[str]) -> Dataset:
    count = len(samples)
    _check_pixels(samples, schema)
    dense = isinstance(schema.task, Segmentation)
    if samples.labels is None:
        missing = UNLABELLED if schema.task.coded else torch.nan
        y = torch.full((count, *samples.x.shape[2:]) if dense else (count,), missing)
    elif isinstance(schema.task, Segmentation):
        y = encode_voxels_like(samples.labels, schema.task, samples.x, samples.source)
    else:
        y = encode_like(samples.labels, schema.task, samples.source, lambda i: f"sample {names[i]}")
    return Dataset(
        samples.modality,
        samples.x,
        y,
        schema.task,
        index=torch.arange(start, start + count),
        lengths=samples.lengths,
        ids=samples.ids,
        columns=schema.columns,
        categories=schema.categories,
        target=schema.target,
        group=schema.group,
        source=samples.source,
        id_column=schema.id_column,
        missing=schema.missing,
        series_id=schema.series_id,
        time=schema.time,
        step=schema.step,
        rates=schema.spec.rates,
        spacing=schema.spacing,
    )


def _check_pixels(samples: Samples, schema: Schema) -> None:
    """Refuse images on another scale than the model learnt from: its features would be nonsense."""
    if samples.modality not in ("images", "volumes"):
        return
    is_bytes = samples.x.dtype == torch.uint8
    if is_bytes and not schema.bytes:
        raise DataError(
            f"{samples.source}: {samples.modality} of uint8, but the model learnt from floats.",
            remedy="Give floats on the scale that it learnt from.",
        )
    if schema.bytes and not is_bytes and bool((samples.x.abs() > 1).any()):
        raise DataError(
            f"{samples.source}: float {samples.modality} beyond 0 to 1, but the model learnt from uint8.",
            remedy="Give uint8, or floats divided by 255.",
        )


def _is_folder(source: Any) -> bool:
    return isinstance(source, str | os.PathLike) and Path(source).is_dir()


def _wrong_modality(source: str, what: str, schema: Schema) -> DataError:
    return DataError(
        f"{source}: this is {what}, but the model was trained on {schema.spec.modality}.",
        remedy="Give the same kind of data.",
    )
