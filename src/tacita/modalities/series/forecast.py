"""Series to be forecast: the calendar they follow, what is known ahead, and windows of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
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
from tacita.modalities.readers.values import check_finite, check_size, to_floats
from tacita.modalities.series.calendar import Calendar
from tacita.modalities.series.long import check_columns, parse_times, series_codes
from tacita.modalities.series.meta import SeriesMeta
from tacita.modalities.series.sampling import check_times, interpolated
from tacita.values import Ragged, full
from tacita.windows import Course, Windows, stamps
from tacita.words import listed, plural

MOST = 20_000
"""Windows to learn from: of more, those that scores are told on, and a draw of the others."""
LONGEST_CONTEXT = 512
_FEWEST = 2
"""Steps that a history needs, for a change to be seen."""


@dataclass(frozen=True)
class Whole:
    """Series end to end, before they are cut into windows.

    Shapes: `values (R, C)`, targets first, NaN where there is none; `lengths (N,)`; `times (R,)` or None.
    """

    values: NDArray[np.floating[Any]]
    lengths: NDArray[np.int64]
    names: tuple[str, ...]
    columns: tuple[str, ...]
    targets: int
    times: NDArray[np.float64] | None
    source: str
    place: Callable[[int], str]
    """What to call a row in messages."""
    dated: bool = False


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
    if series_id is None:
        names: tuple[str, ...] = (target or "series",)
        codes = np.zeros(len(table), np.int64)
    else:
        names, codes = series_codes(table[series_id], series_id, source, row_name)
    times, dated = None, False
    if time is not None:
        times = parse_times(table[time], time, source)
        dated = parse_numbers(table[time]) is None
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
    names: tuple[str, ...] = ("",)
    codes = np.zeros(len(table), np.int64)
    if series_id is not None:
        names, codes = series_codes(table[series_id], series_id, source, row_name)
    times = np.arange(len(table), dtype=np.float64)
    if time is not None:
        times = parse_times(table[time], time, source)
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


def windows_of(
    whole: Whole, reading: Reading, known: SeriesMeta | None, ahead: tuple[str, ...]
) -> Samples:
    """Series as windows: at first all that there is to learn from, and for a model the last of each series.

    A window whose future nobody knows yet stands at the end of every series: that is what is asked later.
    """
    calendar = _calendar(whole, reading, known)
    values, times, lengths, holes = _regular(whole, calendar)
    owner = np.repeat(np.arange(len(lengths)), lengths)
    firsts = np.cumsum(lengths) - lengths
    seen = ~np.isnan(values[:, : whole.targets])
    stops = _stops(seen, owner, lengths, whole)
    _check_gaps(whole, calendar, values, times, owner, firsts, stops, holes, reading)
    place = np.arange(len(values)) - firsts[owner]
    static = _static(values, owner, place < stops[owner], whole) if known is None else known.static
    values = _filled(values, owner, place, stops, lengths, whole, ahead, static)
    horizon, season = _horizon(reading, known), _season(reading, known, calendar)
    context = _context(reading, known, horizon, season, int(stops.max()))
    # Behind each series lie the rows that are to be forecast.
    row = np.arange(len(values)) + horizon * owner
    size = len(values) + horizon * len(lengths)
    check_size(whole.source, (size, values.shape[1] + 4), 8)
    steps = np.zeros((size, values.shape[1]), values.dtype)
    steps[row] = values
    begins = firsts + horizon * np.arange(len(lengths))
    behind = (begins + lengths)[:, None] + np.arange(horizon)
    measured = np.zeros((size, whole.targets), bool)
    measured[row] = seen & (place < stops[owner])[:, None]
    moments = np.full(size, np.nan)
    moments[row] = times
    moments[behind] = calendar.after(times[firsts + lengths - 1], horizon)
    if whole.times is None:
        # Counted from the end, so that one moment parts all series.
        moments[row] = place - stops[owner]
        moments[behind] = (lengths - stops)[:, None] + np.arange(horizon)
    course = Course(
        torch.from_numpy(steps),
        torch.from_numpy(measured),
        torch.from_numpy(np.repeat(np.arange(len(lengths)), lengths + horizon)),
        torch.from_numpy(moments),
        horizon, context, season, _names(whole),
        len(ahead),
        calendar.dated and whole.times is not None,
    )  # fmt: skip
    which, ends = _places(begins, stops, lengths, course, first=known is None)
    learnt = which[ends < (begins + stops)[which]]
    if not len(ends) or (known is None and not len(learnt)):
        raise _too_short(whole, stops, lengths, course)
    windows = Windows(
        course,
        torch.from_numpy(begins[which]),
        torch.from_numpy(ends),
        torch.from_numpy((begins + stops)[which]),
    )
    facts: dict[str, Any] = {
        "columns": whole.columns, "targets": whole.targets, "horizon": horizon, "season": season,
        "context": context, "known_ahead": ahead, "static": static, "calendar": calendar.kind,
        "step": calendar.step, "last_day": calendar.last_day, "dated": course.dated,
    }  # fmt: skip
    used = learnt if known is None else which
    notes = _notes(whole, holes, used, lengths - stops < course.shown)
    meta = SeriesMeta.of(windows, **facts)
    # Their labels are what came after, which windows know themselves.
    return Samples(
        windows, meta, whole.source, windows, ids=_ids(whole, windows, which), notes=notes
    )


def in_pieces(samples: Samples, chunk: int | None) -> Iterator[Samples]:
    """Windows, at most `chunk` at a time."""
    for start in range(0, len(samples), chunk or len(samples)):
        part = torch.arange(start, min(start + (chunk or len(samples)), len(samples)))
        cut = slice(start, start + len(part))
        notes = samples.notes if not start else ()
        values = samples.values[part]
        yield replace(samples, values=values, labels=values, ids=samples.ids[cut], notes=notes)


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


def _calendar(whole: Whole, reading: Reading, known: SeriesMeta | None) -> Calendar:
    if whole.times is None or reading.calendar == "rows":
        return Calendar("rows", dated=whole.dated)
    if known is None:
        return Calendar.of(whole.times, dated=whole.dated, source=whole.source)
    return Calendar(known.calendar, known.step or 1.0, known.last_day, known.dated)


def _regular(
    whole: Whole, calendar: Calendar
) -> tuple[NDArray[Any], NDArray[np.float64], NDArray[np.int64], NDArray[np.bool_]]:
    """Values, times and lengths with a row for every moment of the calendar; and which rows were not there.

    A moment that no series has, such as a holiday among weekdays, is none where there are several series or
    the calendar is one of weekdays.
    """
    count = len(whole.values)
    if whole.times is None or calendar.kind == "rows":
        times = np.arange(count, dtype=np.float64) if whole.times is None else whole.times
        return whole.values, times, whole.lengths, np.zeros(count, bool)
    places = calendar.places(whole.times)
    several = len(whole.lengths) > 1
    if several or calendar.kind == "weekdays":
        there, places = np.unique(places, return_inverse=True)
        at = np.zeros(len(there))
        at[places] = whole.times
    owner = np.repeat(np.arange(len(whole.lengths)), whole.lengths)
    firsts = np.cumsum(whole.lengths) - whole.lengths
    inside = places - places[firsts][owner]
    if (np.diff(inside)[owner[1:] == owner[:-1]] < 1).any():
        bad = int(((np.diff(inside) < 1) & (owner[1:] == owner[:-1])).argmax()) + 1
        raise DataError(
            f"{whole.source}: {whole.place(bad)} is of the same step as the row before it"
            f" ({calendar.words}).",
            remedy="Give every step of a series one row.",
        )
    lengths = inside[firsts + whole.lengths - 1] + 1
    if int(lengths.sum()) == count:
        return whole.values, whole.times, whole.lengths, np.zeros(count, bool)
    check_size(whole.source, (int(lengths.sum()), whole.values.shape[1] + 2), 8)
    row = (np.cumsum(lengths) - lengths)[owner] + inside
    values = np.full((int(lengths.sum()), whole.values.shape[1]), np.nan, whole.values.dtype)
    values[row] = whole.values
    holes = np.ones(len(values), bool)
    holes[row] = False
    number = np.repeat(np.arange(len(lengths)), lengths)
    place = np.arange(len(values)) - (np.cumsum(lengths) - lengths)[number]
    if several or calendar.kind == "weekdays":
        times = at[places[firsts][number] + place]
    else:
        times = np.full(len(values), np.nan)
        times[row] = whole.times
        missing = np.flatnonzero(holes)
        before = np.maximum.accumulate(np.where(holes, -1, np.arange(len(values))))[missing]
        far = missing - before
        times[missing] = calendar.after(times[before], int(far.max()))[np.arange(len(far)), far - 1]
    return values, times, lengths, holes


def _stops(
    seen: NDArray[np.bool_], owner: NDArray[np.int64], lengths: NDArray[np.int64], whole: Whole
) -> NDArray[np.int64]:
    """How many steps of each series are known: up to the last with a target. What follows is to come."""
    firsts = np.cumsum(lengths) - lengths
    last = np.full(len(lengths), -1)
    rows = np.flatnonzero(seen.any(1))
    np.maximum.at(last, owner[rows], rows)
    if (last < 0).any():
        name = whole.names[int((last < 0).argmax())]
        raise DataError(
            f"{whole.source}: the series {name!r} has no value of its target.",
            remedy="Leave it out, or give its past.",
        )
    return np.asarray(last - firsts + 1)


def _check_gaps(
    whole: Whole,
    calendar: Calendar,
    values: NDArray[Any],
    times: NDArray[np.float64],
    owner: NDArray[np.int64],
    firsts: NDArray[np.int64],
    stops: NDArray[np.int64],
    holes: NDArray[np.bool_],
    reading: Reading,
) -> None:
    """Raises `DataError` for what is missing in the past, unless it is to be filled in."""
    if reading.missing == "impute":
        return
    past = np.arange(len(values)) - firsts[owner] < stops[owner]
    if (holes & past).any():
        at = int((holes & past).argmax())
        several = len(whole.lengths) > 1
        raise DataError(
            f"{whole.source}: the series {whole.names[owner[at]]!r} has no row for"
            f" {stamps(times[at : at + 1], dated=calendar.dated)[0]} ({calendar.words};"
            f" {plural(int((holes & past).sum()), 'row')} missing in all).",
            remedy="Add the rows, or pass missing='impute' (--missing impute) to fill them in; if"
            " nothing happens at such times"
            + (" in this series alone" if several else "")
            + ", calendar='rows' (--calendar rows) takes rows as they follow one another.",
        )
    empty = np.isnan(values).any(1) & past
    if empty.any():
        # No row was added, so that rows are those of the table.
        at = int(empty.argmax())
        column = int(np.isnan(values[at]).argmax())
        name = repr(whole.columns[column]) if whole.columns else str(column)
        raise DataError(
            f"{whole.source}: {whole.place(at)} has no value of {name}"
            f" ({plural(int(empty.sum()), 'row')} in all).",
            remedy="Fill it in, or pass missing='impute' (--missing impute). Only the rows at the end of a"
            " series may lack the target: they are to come.",
        )


def _static(
    values: NDArray[Any], owner: NDArray[np.int64], past: NDArray[np.bool_], whole: Whole
) -> tuple[str, ...]:
    """The columns beside the targets that never change within a series, but differ between some."""
    found = []
    for channel in range(whole.targets, values.shape[1] if whole.columns else 0):
        kept = past & ~np.isnan(values[:, channel])
        column, of = values[kept, channel], owner[kept]
        same = (column[1:] == column[:-1]) | (of[1:] != of[:-1])
        if len(column) and same.all() and (column != column[0]).any():
            found.append(whole.columns[channel])
    return tuple(found)


def _filled(
    values: NDArray[Any],
    owner: NDArray[np.int64],
    place: NDArray[np.int64],
    stops: NDArray[np.int64],
    lengths: NDArray[np.int64],
    whole: Whole,
    ahead: tuple[str, ...],
    static: tuple[str, ...],
) -> NDArray[Any]:
    """Values without gaps: straight lines between what is known.

    Raises `DataError` where something is not known ahead that should be.
    """
    if not np.isnan(values).any():
        return values
    values = values.copy()
    to_come = place >= stops[owner]
    for channel in range(values.shape[1]):
        column = values[:, channel]
        name = whole.columns[channel] if whole.columns else str(channel)
        if name in ahead and (np.isnan(column) & to_come).any():
            at = int((np.isnan(column) & to_come).argmax())
            raise DataError(
                f"{whole.source}: {name!r} is known ahead, but the series {whole.names[owner[at]]!r} has none"
                f" for step {int(place[at] - stops[owner[at]]) + 1} of those to come.",
                remedy="Fill it in, or leave the row out.",
            )
        if np.isnan(column).any():
            values[:, channel] = interpolated(
                column, place.astype(float), owner, lengths, name, whole.source
            )
    return values


def _horizon(reading: Reading, known: SeriesMeta | None) -> int:
    if known is not None:
        return known.horizon
    assert reading.horizon is not None
    if reading.horizon < 1:
        raise ConfigError(f"horizon={reading.horizon}: it must be 1 or more steps.")
    return reading.horizon


def _season(reading: Reading, known: SeriesMeta | None, calendar: Calendar) -> int:
    if known is not None:
        return known.season
    if reading.season is not None and reading.season < 1:
        raise ConfigError(
            f"season={reading.season}: it must be 1 step or more.", remedy="1 means no season."
        )
    return reading.season or calendar.season


def _context(
    reading: Reading, known: SeriesMeta | None, horizon: int, season: int, longest: int
) -> int:
    """By default two seasons or three horizons, whichever is longer; no more than there is."""
    if known is not None:
        return known.context
    if reading.context is not None:
        if reading.context < _FEWEST:
            raise ConfigError(f"context={reading.context}: it must be {_FEWEST} or more steps.")
        if reading.context > longest - horizon:
            raise ConfigError(
                f"context={reading.context} and horizon={horizon}, but the longest series has"
                f" {longest} steps.",
                remedy=f"Give a context of at most {max(longest - horizon, _FEWEST)}.",
            )
        return reading.context
    usual = min(LONGEST_CONTEXT, max(2 * season, 3 * horizon, 16))
    return max(_FEWEST, min(usual, longest - horizon))


def _places(
    begins: NDArray[np.int64],
    stops: NDArray[np.int64],
    lengths: NDArray[np.int64],
    course: Course,
    *,
    first: bool,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """`(N,)` each: the series of every window, and the row after the last that it knows."""
    horizon = course.horizon
    all_series = np.arange(len(begins))
    # Where something is known ahead, rows to come are needed to ask for them.
    able = (lengths - stops >= course.shown) & (stops >= _FEWEST)
    if not first:
        scored = stops - horizon >= _FEWEST
        which = np.concatenate([all_series[scored], all_series[able]])
        back = np.concatenate([np.full(int(scored.sum()), horizon), np.zeros(int(able.sum()), int)])
        return _in_order(which, (begins + stops)[which] - back)
    least = np.minimum(min(course.context, max(course.season + 1, horizon)), stops - horizon)
    least = np.maximum(least, _FEWEST)
    count = np.maximum(stops - horizon - least + 1, 0)
    which = np.repeat(all_series, count)
    back = np.arange(len(which)) - (np.cumsum(count) - count)[which]  # From the last one.
    if len(which) > MOST:
        scored = back % horizon == 0
        others = np.flatnonzero(~scored)
        drawn = np.random.default_rng(0).permutation(others)[: max(MOST - int(scored.sum()), 0)]
        kept = np.sort(np.concatenate([np.flatnonzero(scored), drawn]))
        which, back = which[kept], back[kept]
    ends = (begins + stops - horizon)[which] - back
    return _in_order(
        np.concatenate([which, all_series[able]]),
        np.concatenate([ends, (begins + stops)[able]]),
    )


def _in_order(
    which: NDArray[np.int64], ends: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    order = np.argsort(ends, kind="stable")
    return which[order], ends[order]


def _too_short(
    whole: Whole, stops: NDArray[np.int64], lengths: NDArray[np.int64], course: Course
) -> DataError:
    longest, horizon = int(stops.max()), course.horizon
    if course.shown and longest >= _FEWEST:
        name = whole.names[0]
        return DataError(
            f"{whole.source}: something is known ahead, but {name!r} has {int(lengths[0] - stops[0])} rows to"
            f" come, and {horizon} are forecast.",
            remedy="Add the rows to come, with an empty target: `tacita future` writes them.",
        )
    return DataError(
        f"{whole.source}: {horizon} steps ahead need a series of {horizon + _FEWEST} or more, and the longest"
        f" has {longest}.",
        remedy=f"Give longer series, or a horizon of at most {max(longest - _FEWEST, 1)}.",
    )


def _ids(whole: Whole, windows: Windows, which: NDArray[np.int64]) -> tuple[str, ...]:
    """A series' name, and of windows whose future is known the moment from which they look ahead."""
    course = windows.course
    moments = course.times[windows.ends].numpy()
    said = stamps(moments, dated=course.dated)
    at_end = (windows.ends == windows.stops).tolist()
    each = zip(which.tolist(), said, at_end, strict=True)
    return tuple(whole.names[i] if last else f"{whole.names[i]} @ {text}" for i, text, last in each)


def _names(whole: Whole) -> tuple[str, ...]:
    return whole.columns[: whole.targets] or tuple(str(i) for i in range(whole.targets))


def _notes(
    whole: Whole, holes: NDArray[np.bool_], used: NDArray[np.int64], ended: NDArray[np.bool_]
) -> tuple[Note, ...]:
    said = []
    if holes.any():
        said.append(
            Note(
                ("time without a row filled in", "times without a row filled in"), int(holes.sum())
            )
        )
    absent = np.setdiff1d(np.arange(len(whole.lengths)), used)
    if len(absent):
        what = "series too short for the horizon, which is not learnt from"
        many = "series too short for the horizon, which are not learnt from"
        said.append(Note((what, many), len(absent), whole.names[absent[0]]))
    if ended.any() and not ended.all():
        name = whole.names[int(ended.argmax())]
        what = "series without the rows to come, and so without a forecast"
        said.append(Note((what, what), int(ended.sum()), name))
    return tuple(said)
