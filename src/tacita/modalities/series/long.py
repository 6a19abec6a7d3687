"""Long tables: a row a time step, and a column that says which series it belongs to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tacita.data.reading import Missing, Samples
from tacita.errors import ConfigError, DataError
from tacita.modalities.readers.columns import is_blank, parse_numbers, strings
from tacita.modalities.readers.numbers import Written, with_numbers
from tacita.modalities.readers.rows import RowName
from tacita.modalities.readers.values import check_finite, to_floats
from tacita.modalities.series.read import ragged_series
from tacita.modalities.series.sampling import on_grid
from tacita.tasks import StepLabels
from tacita.tasks.declared import Declared
from tacita.tasks.labels import arrow_labels
from tacita.words import nearest

_OF_STEPS = (
    " If every step has a label of its own, name the task: task='sequence-labels' (--task"
    " sequence-labels), for numbers 'sequence-regression'."
)
_EXACT = 2**53
"""Up to here a float64 holds every whole number."""


def long_series(
    table: pa.Table,
    *,
    series_id: str | None,
    time: str | None,
    labels: str | None,
    group: str | None,
    weight: str | None,
    missing: Missing,
    source: str,
    row_name: RowName,
    stepwise: bool = False,
    channels: tuple[str, ...] = (),
    step: float | None = None,
    start: int = 0,
    written: Written | None = None,
) -> Samples:
    """Series in the order of their first rows; their rows are sorted by time if there is one.

    The channels are the other numeric columns, or those named. Without `series_id` all rows are one series.
    stepwise: whether each row has a label of its own; of several columns, with commas between their names,
    it has several. Raises `DataError` naming the row
    of a missing id and of a missing or doubled time, and the series whose label, group or weight varies.
    """
    targets = label_columns(labels, table.column_names) if stepwise else ()
    others = {"group": group, "weight": weight}
    for label in targets or (labels,):
        check_columns(table, source, series_id=series_id, time=time, labels=label, **others)
    names: tuple[str, ...]
    if series_id is None:
        names, codes = (Path(source).name,), np.zeros(len(table), np.int64)
    else:
        names, codes = series_codes(table[series_id], series_id, source, row_name)
    times, dated = None, False
    if time is not None:
        times, dated = parse_times(table[time], time, source), _is_date(table[time])
    order = np.lexsort((codes,) if times is None else (times, codes))
    lengths = np.bincount(codes)
    used = {series_id, time, labels, group, weight, *targets}
    table, found, notes = with_numbers(
        table,
        written=written or Written(),
        known=bool(channels),
        missing=missing,
        source=source,
        row_name=row_name,
        aside={n for n in table.column_names if n in used or (channels and n not in channels)},
        surely=channels,
    )
    values, channels = _channel_values(table, channels, used, missing, source, row_name)
    samples_of = {
        what: None if name is None else _constant(table[name], codes, names, what, name, source)
        for what, name in (
            ("label", None if stepwise else labels), ("group", group), ("weight", weight),
        )
    }  # fmt: skip
    raw = samples_of["label"] if not targets else _rows_of([table[name] for name in targets], order)
    values = values[order]
    sampled, resampled, gaps, at = step, 0, 0, None
    starts = None
    if times is not None:
        grid = on_grid(
            values,
            lengths,
            times[order],
            step=step,
            source=source,
            place=lambda position: row_name(int(order[position])),
        )
        starts = times[order][np.cumsum(lengths) - lengths]
        values, lengths, sampled = grid.values, grid.lengths, grid.step
        resampled, gaps, at = grid.resampled, grid.gaps, grid.at
    data = ragged_series(values, lengths, missing=missing, source=source, start=start)
    facts = {
        "columns": channels,
        "id_column": series_id,
        "series_id": series_id,
        "time": time,
        "step": sampled,
        "dated": dated,
        "resampled": resampled,
        "gaps": gaps,
        "decimal": found.decimal,
        "marks": dict(found.marks),
    }
    return replace(
        data,
        meta=data.meta.model_copy(update=facts),
        labels=StepLabels(raw, lengths, at, targets) if targets else raw,
        groups=samples_of["group"],
        weights=samples_of["weight"],
        ids=names,
        at=at,
        starts=starts,
        notes=(*data.notes, *notes),
    )


def label_columns(labels: str | None, columns: Sequence[str]) -> tuple[str, ...]:
    """The columns of a step's labels: one, or several with commas between their names.

    >>> label_columns("vx, vy", ["vx", "vy"]), label_columns("vx, vy", ["vx, vy"]), label_columns(None, [])
    (('vx', 'vy'), ('vx, vy',), ())
    """
    if labels is None or labels in columns:
        return () if labels is None else (labels,)
    return tuple(name.strip() for name in labels.split(",") if name.strip())


def check_columns(table: pa.Table, source: str, **named: str | None) -> None:
    """Raises `ConfigError` for an argument that names no column, and for two that name one."""
    seen: dict[str, str] = {}
    for argument, name in named.items():
        if name is None:
            continue
        if name not in table.column_names:
            near = nearest(name, table.column_names)
            raise ConfigError(
                f"{argument}={name!r} is not a column of {source}.",
                remedy=f"Did you mean {near!r}?"
                if near
                else f"Columns: {', '.join(table.column_names[:10])}.",
            )
        if name in seen and {argument, seen[name]} != {"series_id", "group"}:
            raise ConfigError(
                f"{argument} and {seen[name]} both name the column {name!r}.",
                remedy="Name a column of its own for each.",
            )
        seen[name] = argument


def parse_times(column: pa.ChunkedArray, name: str, source: str) -> NDArray[np.float64]:
    """Numbers as they are; dates and ISO 8601 text as seconds; NaN where empty.

    Months and quarters, such as 2024-05 and 2024 Q2, are their first day.
    Whole numbers that are too large to be exact, such as nanoseconds since 1970, count from the first.
    """
    numbers = parse_numbers(column)
    if numbers is not None:
        beyond = bool((np.abs(numbers) > _EXACT).any())
        exact = numbers.astype(np.float64)
        return _from_the_first(column, exact) if beyond else exact
    if not pa.types.is_temporal(column.type):
        text = _of_periods(strings(column))
        column = pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text)
    for kind in (pa.timestamp("us"), pa.timestamp("us", "UTC")):
        try:
            stamps = pc.cast(pc.cast(column, kind, safe=False), pa.int64())
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            continue
        seconds = np.asarray(pc.cast(stamps, pa.float64(), safe=False).to_numpy(), np.float64)
        return np.asarray(seconds / 1e6)
    raise DataError(
        f"{source}: the time column {name!r} is neither all numbers nor all dates.",
        remedy="Give numbers, or dates such as 2024-05-31 14:00:00.",
    )


def _of_periods(text: pa.ChunkedArray) -> pa.ChunkedArray:
    """Months and quarters as their first day; all else as it is."""
    for quarter, month in enumerate(("01", "04", "07", "10"), start=1):
        pattern = rf"^(\d{{4}})[ -]?Q{quarter}$"
        text = pc.replace_substring_regex(text, pattern, rf"\1-{month}")
    return pc.replace_substring_regex(text, r"^(\d{4}-\d{2})$", r"\1-01")


def _from_the_first(column: pa.ChunkedArray, numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    try:
        whole = pc.cast(column, pa.int64())
        counted = pc.subtract_checked(whole, pc.min(whole))
    except pa.ArrowInvalid:
        return numbers
    return np.asarray(pc.cast(counted, pa.float64(), safe=False).to_numpy(), np.float64)


def whole_series(
    pieces: Iterable[pa.Table], series_id: str, chunk: int
) -> Iterator[tuple[int, pa.Table]]:
    """Consecutive tables cut anew where the id changes, at most `chunk` series in each.

    Gives each with the number of its first row. The rows of a series must lie together.
    """
    held: list[pa.Table] = []
    start = 0
    for piece in pieces:
        held.append(piece)
        table = pa.concat_tables(held)
        edges = _edges(table[series_id])
        if not len(edges):
            continue
        bounds = [0, *edges.tolist()]
        for at in range(0, len(bounds) - 1, chunk):
            stop = bounds[min(at + chunk, len(bounds) - 1)]
            yield start + bounds[at], table.slice(bounds[at], stop - bounds[at])
        # The last series of a piece may go on in the next one.
        held = [table.slice(bounds[-1])]
        start += bounds[-1]
    if held:
        yield start, pa.concat_tables(held)


def lie_together(pieces: Iterable[pa.Table], series_id: str) -> bool:
    """Whether the rows of each series follow one another, so that they can be streamed."""
    seen: set[str] = set()
    last: str | None = None
    for piece in pieces:
        if series_id not in piece.column_names:
            return False
        column = strings(piece[series_id])
        if not len(column):
            continue
        for position in (0, *_edges(column).tolist()):
            name = column[position].as_py()
            if name == last:
                continue
            if name in seen:
                return False
            seen.add(name)
            last = name
    return True


def _edges(column: pa.ChunkedArray) -> NDArray[np.int64]:
    """Where a column's value differs from the one before."""
    codes = _codes(column)
    return np.flatnonzero(codes[1:] != codes[:-1]) + 1


def _codes(column: pa.ChunkedArray) -> NDArray[np.int64]:
    encoded = strings(column).combine_chunks().dictionary_encode()
    return np.asarray(pc.fill_null(encoded.indices, -1).to_numpy(), np.int64)


def _rows_of(columns: Sequence[pa.ChunkedArray], order: NDArray[np.int64]) -> Any:
    """The raw labels of rows in an order: of one column, or `(R, T)` of several."""
    found = [arrow_labels(column) for column in columns]
    if len(found) == 1:
        return found[0][order]
    plain = [each.names if isinstance(each, Declared) else each for each in found]
    return np.stack([each.astype(object) for each in plain], 1)[order]


def _is_date(column: pa.ChunkedArray) -> bool:
    return parse_numbers(column) is None


def series_codes(
    column: pa.ChunkedArray, name: str, source: str, row_name: RowName
) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """The names of the series in the order of their first rows, and each row's series."""
    encoded = strings(column).combine_chunks().dictionary_encode()
    names = tuple(encoded.dictionary.to_pylist())
    codes = np.asarray(pc.fill_null(encoded.indices, -1).to_numpy(), np.int64)
    empty = np.array([*map(is_blank, names), True])[codes]
    if empty.any():
        raise DataError(
            f"{source}: {row_name(int(empty.argmax()))} has no {name!r}, so its series is unknown.",
            remedy="Give every row the id of its series, or leave the row out.",
        )
    return names, codes


def _channel_values(
    table: pa.Table,
    channels: tuple[str, ...],
    used: set[str | None],
    missing: Missing,
    source: str,
    row_name: RowName,
) -> tuple[NDArray[np.floating[Any]], tuple[str, ...]]:
    others = [
        name
        for name in table.column_names
        # The row numbers that pandas saves in parquet are no channel.
        if name not in used and not name.startswith("__index_level_")
    ]
    absent = [name for name in channels if name not in table.column_names]
    if absent:
        near = nearest(absent[0], others)
        raise DataError(
            f"{source}: there is no channel {absent[0]!r}.",
            remedy=f"Did you mean {near!r}?" if near else "Channels are matched by name.",
        )
    kept: dict[str, NDArray[np.floating[Any]]] = {}
    for name in channels or others:
        numbers = parse_numbers(table[name])
        if numbers is None:
            if channels:
                raise DataError(
                    f"{source}: the channel {name!r} is not all numbers.",
                    remedy="The model was trained with numbers in this column.",
                )
            continue

        def place(index: tuple[int, ...], name: str = name) -> str:
            return f"{row_name(index[0])}, column {name!r}"

        kept[name] = to_floats(numbers, source, place)
        check_finite(kept[name], source, place, missing=missing)
    if not kept:
        raise DataError(
            f"{source}: beside the id, the time and the label no column is numeric.",
            remedy="Give one numeric column a channel.",
        )
    return np.stack(list(kept.values()), 1), tuple(kept)


def _constant(
    column: pa.ChunkedArray,
    codes: NDArray[np.int64],
    names: tuple[str, ...],
    what: str,
    name: str,
    source: str,
) -> NDArray[np.object_] | Declared:
    """One raw value a series from a column that may not vary within one; empty cells do not count."""
    encoded = strings(column).combine_chunks().dictionary_encode()
    words = encoded.dictionary.to_pylist()
    values = np.asarray(pc.fill_null(encoded.indices, -1).to_numpy(), np.int64)
    known = np.flatnonzero(~np.array([*map(is_blank, words), True])[values])
    owners, first = np.unique(codes[known], return_index=True)
    chosen = np.full(len(names), -1)
    chosen[owners] = known[first]
    varies = values[known] != values[chosen[codes[known]]]
    if varies.any():
        bad = known[varies.argmax()]
        raise DataError(
            f"{source}: the {what} {name!r} varies within the series {names[codes[bad]]!r}:"
            f" {words[values[chosen[codes[bad]]]]!r} and {words[values[bad]]!r}.",
            remedy=f"Give one {what} a series, or make each stretch a series of its own."
            + _OF_STEPS * (what == "label"),
        )
    raw = arrow_labels(column)
    out = np.full(len(names), None, dtype=object)
    if isinstance(raw, Declared):
        out[owners] = raw.names[chosen[owners]]
        return replace(raw, names=out)
    out[owners] = raw.astype(object)[chosen[owners]]
    return out
