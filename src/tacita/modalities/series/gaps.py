"""Series to be forecast on their calendar: what is missing, what is still to come, and what fills it in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tacita.data.reading import Reading
from tacita.errors import DataError
from tacita.modalities.readers.values import check_size
from tacita.modalities.series.calendar import Calendar
from tacita.modalities.series.meta import SeriesMeta
from tacita.windows import stamps
from tacita.words import plural


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


def calendar_of(whole: Whole, reading: Reading, known: SeriesMeta | None) -> Calendar:
    if whole.times is None or reading.calendar == "rows":
        return Calendar("rows", dated=whole.dated)
    if known is None:
        return Calendar.of(whole.times, dated=whole.dated, source=whole.source)
    return Calendar(known.calendar, known.step or 1.0, known.last_day, known.dated)


def on_calendar(
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


def known_steps(
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


def check_gaps(
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


def static_columns(
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


def filled(
    values: NDArray[Any],
    owner: NDArray[np.int64],
    place: NDArray[np.int64],
    stops: NDArray[np.int64],
    lengths: NDArray[np.int64],
    whole: Whole,
    ahead: tuple[str, ...],
    static: tuple[str, ...],
) -> NDArray[Any]:
    """Values without gaps: what was known last stays, so that no gap tells of what comes after it.

    Before the first that is known stands that one. Raises `DataError` where something is not known ahead that
    should be, or never was.
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
        known = ~np.isnan(column)
        first = np.full(len(lengths), len(column))
        np.minimum.at(first, owner[known], np.flatnonzero(known))
        if (first == len(column)).any():
            raise DataError(
                f"{whole.source}: the series {whole.names[int(first.argmax())]!r} has no value of {name!r}.",
                remedy="Leave the series or the column out.",
            )
        last = np.maximum.accumulate(np.where(known, np.arange(len(column)), -1))
        values[:, channel] = column[np.maximum(last, first[owner])]
    return values
