"""Reading series to be forecast: which column is the target, what is known ahead, and what is to come."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from tacita.data.notes import Note
from tacita.data.reading import Reading, Samples
from tacita.errors import ConfigError, DataError
from tacita.modalities.readers.columns import parse_numbers
from tacita.modalities.readers.numbers import Written, with_numbers
from tacita.modalities.readers.rows import RowName
from tacita.modalities.readers.values import check_finite, to_floats
from tacita.modalities.series.calendar import Calendar
from tacita.modalities.series.cut import windows_of
from tacita.modalities.series.gaps import Whole
from tacita.modalities.series.long import check_columns, parse_times, series_codes
from tacita.modalities.series.meta import SeriesMeta
from tacita.modalities.series.sampling import check_times
from tacita.values import Ragged, full
from tacita.windows import stamps
from tacita.words import listed


def table_to_forecast(
    table: pa.Table,
    reading: Reading,
    known: SeriesMeta | None,
    *,
    source: str,
    row_name: RowName,
    written: Written,
) -> Samples:
    """Windows of a table with a row a time step; without `series_id` all of it is one series.

    The target is the column `labels`, or without it every column of numbers that is not known ahead.
    Raises `DataError` naming the row of a missing id, time or value, and a doubled time; `ConfigError` for
    columns that are not there.
    """
    series_id = reading.series_id if known is None else known.series_id
    time = reading.time if known is None else known.time
    target = None if reading.labels is None else str(reading.labels)
    ahead = tuple(reading.known_ahead or ()) if known is None else known.known_ahead
    for option in ("group", "weight"):
        if getattr(reading, option) is not None:
            raise ConfigError(
                f"{option}={getattr(reading, option)!r}, but windows of series that are forecast have none.",
                remedy="Leave it out.",
            )
    check_columns(table, source, series_id=series_id, time=time, labels=target)
    for name in ahead:
        check_columns(
            table, source, series_id=series_id, time=time, labels=target, known_ahead=name
        )
    names, codes, times = _series(table, series_id, time, source, row_name)
    names = names or (target or "series",)
    dated = time is not None and parse_numbers(table[time]) is None
    order = np.lexsort((codes,) if times is None else (times, codes))
    lengths = np.bincount(codes)

    def place(row: int) -> str:
        return row_name(int(order[row]))

    if times is not None:
        check_times(times[order], codes[order], source, place)
    columns = known.columns if known is not None else ()
    used = {series_id, time}
    table, found, notes = with_numbers(
        table,
        written=written,
        known=known is not None,
        missing="impute",
        source=source,
        row_name=row_name,
        aside={n for n in table.column_names if n in used or (columns and n not in columns)},
        surely=columns or tuple(n for n in (target, *ahead) if n is not None),
    )
    if not columns:
        columns, aside = _channels(table, used, target, ahead, source)
        if aside:
            what = f"{listed('column', aside)} without numbers, which a forecast does not use"
            notes = (*notes, Note(what))
    absent = [name for name in columns if name not in table.column_names]
    if absent:
        raise DataError(
            f"{source}: there is no column {absent[0]!r}.", remedy="Columns are matched by name."
        )
    targets = known.targets if known is not None else len(columns) - len(ahead)
    if target is not None:
        targets = 1
    kept = []
    for name in columns:
        numbers = parse_numbers(table[name])
        if numbers is None:
            raise DataError(f"{source}: the column {name!r} is not all numbers.", remedy="Mend it.")

        def where(index: tuple[int, ...], name: str = name) -> str:
            return f"{row_name(index[0])}, column {name!r}"

        kept.append(to_floats(numbers, source, where))
        check_finite(kept[-1], source, where, missing="impute")
    whole = Whole(
        np.stack(kept, 1)[order], lengths, names, columns, targets,
        None if times is None else times[order], source, place, dated,
    )  # fmt: skip
    samples = windows_of(whole, reading, known, ahead)
    facts = {
        "id_column": series_id, "series_id": series_id, "time": time,
        "decimal": found.decimal, "marks": dict(found.marks),
    }  # fmt: skip
    meta = samples.meta.model_copy(update=facts)
    return replace(samples, meta=meta, notes=(*notes, *samples.notes))


def rows_to_come(
    table: pa.Table, known: SeriesMeta, *, source: str, row_name: RowName
) -> tuple[list[str], list[list[Any]]]:
    """The columns and rows behind each series of a table, its target and what is known ahead left empty."""
    target, series_id, time = known.target, known.series_id, known.time
    check_columns(table, source, series_id=series_id, time=time, labels=target)
    names, codes, told_times = _series(table, series_id, time, source, row_name)
    names = names or ("",)
    times = np.arange(len(table), dtype=np.float64) if told_times is None else told_times
    targets = known.columns[: known.targets]
    told = [parse_numbers(table[name]) for name in targets if name in table.column_names]
    measured = np.zeros(len(table), bool)
    for column in told:
        measured |= False if column is None else ~np.isnan(column.astype(np.float64))
    last = np.full(len(names), -np.inf)
    np.maximum.at(last, codes[measured], times[measured])
    calendar = Calendar(known.calendar, known.step or 1.0, known.last_day, known.dated)
    empty = [name for name in (*targets, *known.known_ahead) if name not in (series_id, time)]
    header = [*filter(None, (series_id, time)), *empty]
    rows = []
    for name, moment in zip(names, last, strict=True):
        if not np.isfinite(moment):
            continue
        for said in stamps(calendar.after(np.array([moment]), known.horizon)[0], dated=known.dated):
            keys = [name] * (series_id is not None) + [said] * (time is not None)
            rows.append([*keys, *([""] * len(empty))])
    return header, rows


def series_to_forecast(samples: Samples, reading: Reading, known: SeriesMeta | None) -> Samples:
    """Windows of series that were read whole and have no times: every channel is forecast."""
    if reading.known_ahead:
        raise ConfigError(
            f"known_ahead={', '.join(reading.known_ahead)}, but {samples.source} is no table with columns.",
            remedy="Give a table with a row a time step, which has the rows to come too.",
        )
    values = samples.values
    ragged = full(values) if isinstance(values, Tensor) else values
    assert isinstance(ragged, Ragged)
    meta = samples.meta
    assert isinstance(meta, SeriesMeta)
    if meta.rates:
        raise ConfigError(
            f"{samples.source}: channels at rates of their own are not forecast.",
            remedy="Bring them to one rate.",
        )
    names = tuple(samples.names(0))

    def place(row: int) -> str:
        ends = ragged.lengths.cumsum(0)
        number = int(torch.searchsorted(ends, row, right=True))
        return f"series {names[number]}, step {row - int(ends[number] - ragged.lengths[number])}"

    whole = Whole(
        ragged.flat.numpy(), ragged.lengths.numpy(), names, meta.columns,
        ragged.flat.shape[1], None, samples.source, place,
    )  # fmt: skip
    cut = windows_of(whole, reading, known, ())
    return replace(cut, notes=(*samples.notes, *cut.notes))


def in_pieces(samples: Samples, chunk: int | None) -> Iterator[Samples]:
    """Windows, at most `chunk` at a time."""
    for start in range(0, len(samples), chunk or len(samples)):
        part = torch.arange(start, min(start + (chunk or len(samples)), len(samples)))
        cut = slice(start, start + len(part))
        notes = samples.notes if not start else ()
        values = samples.values[part]
        yield replace(samples, values=values, labels=values, ids=samples.ids[cut], notes=notes)


def _series(
    table: pa.Table, series_id: str | None, time: str | None, source: str, row_name: RowName
) -> tuple[tuple[str, ...], NDArray[np.int64], NDArray[np.float64] | None]:
    """The names of the series, none where all rows are one; each row's series and its time, if it has one."""
    times = None if time is None else parse_times(table[time], time, source)
    if series_id is None:
        return (), np.zeros(len(table), np.int64), times
    return *series_codes(table[series_id], series_id, source, row_name), times


def _channels(
    table: pa.Table, used: set[str | None], target: str | None, ahead: tuple[str, ...], source: str
) -> tuple[tuple[str, ...], list[str]]:
    """The columns that are channels, targets first and what is known ahead last, and those left aside."""
    others = [n for n in table.column_names if n not in used and not n.startswith("__index_level_")]
    numeric = [name for name in others if parse_numbers(table[name]) is not None]
    for name in (*((target,) if target else ()), *ahead):
        if name not in numeric:
            raise DataError(
                f"{source}: the column {name!r} holds no numbers.",
                remedy="A forecast is of numbers; give what is known ahead as numbers too.",
            )
    first = [target] if target else [name for name in numeric if name not in ahead]
    if not first:
        raise DataError(
            f"{source}: no column of numbers is left to be forecast.",
            remedy="Name the target with labels (--labels).",
        )
    rest = [name for name in numeric if name not in first and name not in ahead]
    return (*first, *rest, *ahead), [name for name in others if name not in numeric]
