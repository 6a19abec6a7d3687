"""From where series come: a table, arrays, files, a list, each to samples, piece by piece."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from tacita.data.dataset import Schema
from tacita.data.reading import Reading, Samples, Source
from tacita.errors import ConfigError, DataError
from tacita.modalities.choice import unreadable
from tacita.modalities.readers.arrays import ArrayFile
from tacita.modalities.readers.files import SERIES_FILES, TABLE_FILES, Entry
from tacita.modalities.readers.frames import read_table
from tacita.modalities.readers.numbers import Written
from tacita.modalities.readers.sources import (
    ArraySource,
    FileSource,
    FolderSource,
    ListSource,
    TableSource,
)
from tacita.modalities.series.forecast import in_pieces, series_to_forecast, table_to_forecast
from tacita.modalities.series.long import (
    label_columns,
    lie_together,
    long_series,
    whole_series,
)
from tacita.modalities.series.meta import SeriesMeta, without_horizon
from tacita.modalities.series.read import (
    ragged_series,
    series_array,
    series_files,
    series_list,
    timed_series,
)
from tacita.modalities.series.recordings.device import is_device
from tacita.modalities.series.recordings.load import recorded_samples
from tacita.modalities.series.ts import stream_ts
from tacita.modalities.series.wide import roles_in, wide_series
from tacita.tasks import is_stepwise
from tacita.values import Ragged
from tacita.words import nearest

TEXT_SERIES = ".ts"
_NO_FORECAST: dict[str, Any] = dict.fromkeys(
    ("horizon", "season", "context", "known_ahead", "calendar")
)
_FILE = "the file that a row is of"
"""The column that says so, in a long table of several files."""
_ROWS = 2**16
"""Rows of a long table that are looked at together."""


def samples_of(
    source: Source, reading: Reading, like: Schema | None, chunk: int | None
) -> Iterator[Samples] | None:
    """The series of a source, piece by piece; None of a source that is none of series."""
    known = meta_of(like)
    if reading.horizon is not None or (known is not None and known.horizon):
        return _to_forecast(source, reading, known, like, chunk)
    stepwise = is_stepwise(reading.task) if like is None else like.task.stepwise
    alone = None if like is None or stepwise else _one_series(source, like)
    if alone is not None and like is not None:
        entry = Entry(alone, alone.name, None)
        how: dict[str, Any] = {"missing": reading.missing, "source": source.name}
        return iter([series_files([entry], columns=_columns(like) or None, **how)])
    if isinstance(source, TableSource):
        known = meta_of(like)
        series_id = reading.series_id if known is None else known.series_id
        if series_id is None and not stepwise:
            return _wide(source, reading, like, chunk)
        return _long(source, reading, series_id, known, chunk, stepwise=stepwise)
    if isinstance(source, ArraySource):
        return _arrays(source, reading, meta_of(like), chunk)
    if isinstance(source, FolderSource | FileSource) and is_device(source.path):
        return recorded_samples(source.path, like)
    if isinstance(source, FolderSource):
        return (_step_files if stepwise else _folder)(source, reading, like, chunk)
    if isinstance(source, FileSource) and is_text_series(source.path):
        return stream_ts(source.path, chunk, missing=reading.missing)
    if isinstance(source, ListSource) and not isinstance(source.items[0], str):
        return _list(source, reading, chunk)
    return None


def _to_forecast(
    source: Source,
    reading: Reading,
    known: SeriesMeta | None,
    like: Schema | None,
    chunk: int | None,
) -> Iterator[Samples] | None:
    """Windows; all series are held at once, as a window may reach back to the beginning of its own."""
    if isinstance(source, TableSource):
        windows = table_to_forecast(
            source.whole,
            reading,
            known,
            source=source.name,
            row_name=source.row_name(0),
            written=_written(reading, known),
        )
        return in_pieces(windows, chunk)
    if isinstance(source, FolderSource | FileSource) and is_device(source.path):
        return None
    if reading.missing == "impute":
        raise ConfigError(
            f"{source.name}: what is missing is filled in for a forecast of a table with a row a time step.",
            remedy="Give such a table, or series without gaps.",
        )
    plain = None if like is None else replace(like, meta=without_horizon(like.meta))
    found = samples_of(source, replace(reading, **_NO_FORECAST), plain, None)
    if found is None:
        return None
    return in_pieces(series_to_forecast(next(found), reading, known), chunk)


def _wide(
    source: TableSource, reading: Reading, like: Schema | None, chunk: int | None
) -> Iterator[Samples]:
    """A table of one series a row."""
    if like is None and reading.time is not None:
        raise ConfigError(
            f"{source.name}: time={reading.time!r} without series_id.",
            remedy="Name the column that says which series a row belongs to (--series-id).",
        )
    start, roles = 0, None
    for table in source.pieces(chunk):
        if not len(table):
            continue
        samples = wide_series(
            table,
            labels=_there(reading.labels, table, like),
            group=_there(reading.group, table, like),
            weight=_there(reading.weight, table, like),
            known=meta_of(like),
            roles=roles,
            missing=reading.missing,
            source=source.name,
            row_name=source.row_name(start),
            start=start,
            written=_written(reading, meta_of(like)),
            ids_in=reading.id_column,
        )
        yield samples
        # What the first rows say of the columns holds of all others, however they are cut.
        roles = roles_in(samples)
        start += len(table)


def _long(
    source: TableSource,
    reading: Reading,
    series_id: str | None,
    known: SeriesMeta | None,
    chunk: int | None,
    *,
    stepwise: bool,
) -> Iterator[Samples]:
    """A table of one row a time step; one whose series lie scattered has to be read whole."""
    pieces: Iterable[tuple[int, Any]]
    if (
        chunk is not None
        and series_id is not None
        and lie_together(source.pieces(_ROWS), series_id)
    ):
        pieces = whole_series(source.pieces(_ROWS), series_id, chunk)
    else:
        pieces = [(0, source.whole)]
    start = 0
    for row, table in pieces:
        samples = long_series(
            table,
            series_id=series_id,
            time=reading.time if known is None else known.time,
            labels=_labels_there(reading.labels, table, known)
            if stepwise
            else _there(reading.labels, table, known),
            group=_there(reading.group, table, known),
            weight=_there(reading.weight, table, known),
            missing=reading.missing,
            source=source.name,
            row_name=source.row_name(row),
            stepwise=stepwise,
            channels=() if known is None else known.columns,
            step=None if known is None else known.step,
            start=start,
            written=_written(reading, known),
        )
        start += len(samples)
        yield from _in_parts(samples, chunk)


def _arrays(
    source: ArraySource, reading: Reading, known: SeriesMeta | None, chunk: int | None
) -> Iterator[Samples]:
    time = reading.time or ("time" if "time" in source.arrays else None)
    if known is not None:
        time = known.time
    if time is not None and time not in source.arrays:
        raise _no_times(source, time, known)
    times = None if time is None else source.arrays.numbers(time)
    if times is not None and times.ndim == 0:
        raise DataError(
            f"{source.name}: array {time!r} is a single number.",
            remedy="Give one time a value.",
        )
    row = 0
    for piece in source.pieces(chunk):
        how: dict[str, Any] = {
            "missing": reading.missing, "source": source.name, "start": piece.start,
        }  # fmt: skip
        read = ragged_series if source.ragged else series_array
        samples = read(piece.x, piece.lengths, **how)
        if times is not None and time is not None:
            longest = samples.meta.shape[0]
            count = _count(samples)
            flat = times.ndim == 1
            at = times[row : row + count] if flat else times[piece.start : piece.stop, :longest]
            step = None if known is None else known.step
            samples = timed_series(samples, at, time, step=step, start=piece.start)
            row += count
        yield samples


def _folder(
    source: FolderSource, reading: Reading, like: Schema | None, chunk: int | None
) -> Iterator[Samples]:
    """A file a series."""
    entries = source.files(SERIES_FILES)
    if not entries:
        raise unreadable(source)
    columns = None if like is None else _columns(like) or None
    step = chunk or len(entries)
    for start in range(0, len(entries), step):
        yield series_files(
            entries[start : start + step],
            columns=columns,
            missing=reading.missing,
            source=source.name,
            start=start,
            written=_written(reading, meta_of(like)),
        )


def _step_files(
    source: FolderSource, reading: Reading, like: Schema | None, chunk: int | None
) -> Iterator[Samples]:
    """A table a series, with a column of labels: as one long table in which each row knows its file."""
    entries = source.files(TABLE_FILES)
    if not entries:
        raise unreadable(source)
    known = meta_of(like)
    step = chunk or len(entries)
    for start in range(0, len(entries), step):
        some = entries[start : start + step]
        tables = [_with_file(read_table(entry.path), entry.name) for entry in some]
        table = pa.concat_tables(tables, promote_options="permissive")
        begins = np.cumsum([0, *(len(each) for each in tables[:-1])])

        def row_name(row: int, some: Sequence[Entry] = some, begins: Any = begins) -> str:
            place = int(np.searchsorted(begins, row, side="right")) - 1
            return f"row {row - int(begins[place])} of {some[place].name}"

        samples = long_series(
            table,
            series_id=_FILE,
            time=reading.time if known is None else known.time,
            labels=_labels_there(reading.labels, table, known),
            group=_there(reading.group, table, known),
            weight=_there(reading.weight, table, known),
            missing=reading.missing,
            source=source.name,
            row_name=row_name,
            stepwise=True,
            channels=() if known is None else known.columns,
            step=None if known is None else known.step,
            start=start,
            written=_written(reading, known),
        )
        meta = samples.meta.model_copy(update={"series_id": None, "id_column": None})
        yield replace(samples, meta=meta)


def _with_file(table: pa.Table, name: str) -> pa.Table:
    return table.append_column(_FILE, pa.array([name] * len(table), pa.string()))


def _list(source: ListSource, reading: Reading, chunk: int | None) -> Iterator[Samples]:
    step = chunk or len(source.items)
    for start in range(0, len(source.items), step):
        items = source.items[start : start + step]
        yield series_list(items, missing=reading.missing, source=source.name)


def _one_series(source: Source, like: Schema) -> Path | None:
    """The file of a source, where a model that learnt from files of one series each is given just one."""
    known = like.meta
    if not isinstance(known, SeriesMeta) or known.series_id is not None or known.rates:
        return None
    if isinstance(source, TableSource) and source.path is not None and known.columns:
        return source.path
    if isinstance(source, ArraySource) and isinstance(source.arrays, ArrayFile) and not known.time:
        channels = known.shape[1]
        one = len(source.shape) == 2 and channels > 1 and source.shape[1] == channels
        return source.arrays.path if one and list(source.arrays.headers) == ["x"] else None
    return None


def is_text_series(path: Path) -> bool:
    """Whether a file is one of the `.ts` format."""
    return path.name.lower().endswith(TEXT_SERIES)


def _written(reading: Reading, known: SeriesMeta | None) -> Written:
    """How numbers are written: as it was told, or as a model learnt it."""
    return Written(reading.decimal) if known is None else Written(known.decimal, known.marks)


def meta_of(like: Schema | None) -> SeriesMeta | None:
    """The facts of a model's series, where there is a model and it is of series."""
    return like.meta if like is not None and isinstance(like.meta, SeriesMeta) else None


def _columns(like: Schema) -> tuple[str, ...]:
    known = meta_of(like)
    return () if known is None else known.columns


def _there(name: Any, table: Any, like: object) -> str | None:
    """The name of a column; of a model's further samples, where it is there."""
    if name is None or (like is not None and name not in table.column_names):
        return None
    return str(name)


def _labels_there(name: Any, table: Any, like: object) -> str | None:
    """The columns of a step's labels; of a model's further samples, where all of them are there."""
    found = label_columns(None if name is None else str(name), table.column_names)
    there = like is None or all(each in table.column_names for each in found)
    return str(name) if found and there else None


def _count(samples: Samples) -> int:
    values = samples.values
    return (
        int(values.lengths.sum())
        if isinstance(values, Ragged)
        else len(values) * samples.meta.shape[0]
    )


def _in_parts(samples: Samples, chunk: int | None) -> Iterator[Samples]:
    step = chunk or len(samples)
    for start in range(0, len(samples), step):
        part = torch.arange(start, min(start + step, len(samples)))
        cut = slice(start, start + step)
        yield replace(
            samples,
            values=samples.values[part],
            labels=None if samples.labels is None else samples.labels[cut],
            groups=None if samples.groups is None else samples.groups[cut],
            weights=None if samples.weights is None else samples.weights[cut],
            ids=samples.ids[cut],
            at=None,
            starts=None if samples.starts is None else samples.starts[cut],
        )


def _no_times(source: ArraySource, name: str, known: SeriesMeta | None) -> DataError | ConfigError:
    if known is None:
        near = nearest(name, source.arrays.headers)
        return ConfigError(
            f"time={name!r} is no array of {source.name}.",
            remedy=f"Did you mean {near!r}?"
            if near
            else f"Arrays: {', '.join(source.arrays.headers)}.",
        )
    return DataError(
        f"{source.name}: there is no array {name!r}, and the model was trained with times.",
        remedy="Save the time of each value beside the series.",
    )
