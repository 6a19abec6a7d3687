"""Columns of dates: recognised once, and spread over columns of numbers, at first and ever after alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from tacita.data.notes import Note
from tacita.data.reading import Missing
from tacita.errors import DataError
from tacita.modalities.readers.columns import strings
from tacita.modalities.readers.rows import RowName
from tacita.modalities.tables.times import (
    DAY,
    EARLIEST,
    HOUR,
    LATEST,
    YEAR_LAST,
    Form,
    Times,
    is_date,
    plain_times,
    times_of,
)

Part = Literal["days", "year", "month", "weekday", "hour"]


class DateColumn(BaseModel):
    """A column of dates, and what is learnt from it.

    form: which number of a date as text comes first; first: the first of the training data, in
    microseconds since 1970, from which days are counted; zoned: whether it has time zones: then all times
    are taken in UTC; parts: those that vary, the days always.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    form: Form = "year-first"
    first: int = Field(ge=EARLIEST, le=LATEST)
    zoned: bool = False
    parts: Annotated[tuple[Part, ...], Field(min_length=1, max_length=5)]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of numbers that it becomes."""
        return tuple(f"{self.name}.{part}" for part in self.parts)

    def __str__(self) -> str:
        start = str(np.datetime64(self.first, "us").astype("M8[s]"))
        start = start.removesuffix("T00:00:00").replace("T", " ")
        zone = " UTC" * self.zoned
        return f"{self.name} as {', '.join(self.parts)}; days since {start}{zone}"


def date_columns(
    table: pa.Table, names: Sequence[str], source: str
) -> tuple[list[DateColumn], tuple[Note, ...]]:
    """Which of these columns hold dates, by their type or by at least half of their filled cells.

    Raises `DataError` for dates such as 03/04/2020 of which no cell says whether the day comes first.
    """
    found, notes = [], []
    for name in names:
        form = _form(table[name], name, source)
        if form is None:
            continue
        times = times_of(table[name], form, name, source)
        known = times.dates
        if 2 * int(known.sum()) < int((~times.blank).sum()) or not known.any():
            continue
        at = times.at[known]
        parts = [part for part in _PARTS if part == "days" or np.ptp(_part(at, part, 0)) > 0]
        zoned = bool(times.zoned.any())
        found.append(
            DateColumn(name=name, form=form, first=int(at.min()), zoned=zoned, parts=tuple(parts))
        )
        if form != "year-first":
            first = form.removesuffix("-first")
            notes.append(
                Note(
                    f"dates of column {name!r} are read with the {first} first, as some can only be"
                )
            )
    return found, tuple(notes)


def spread(
    table: pa.Table,
    dates: Sequence[DateColumn],
    *,
    missing: Missing,
    source: str,
    row_name: RowName,
) -> tuple[pa.Table, tuple[Note, ...]]:
    """A table with each of these columns replaced by its parts, as numbers; blank where there is no date.

    Raises `DataError` for blank cells and for those that are no dates where `missing` is "refuse", for
    times with a zone beside times without, and for names of parts that other columns have.
    """
    notes = []
    for date in dates:
        if date.name not in table.column_names:
            raise DataError(
                f"{source}: the model's column of dates {date.name!r} is missing.",
                remedy="Columns are matched by name.",
            )
        taken = [name for name in date.columns if name in table.column_names]
        if taken:
            raise DataError(
                f"{source}: the dates of column {date.name!r} become a column {taken[0]!r}, and there is"
                " one already.",
                remedy="Rename one of the two.",
            )
        column = table[date.name]
        times = times_of(column, date.form, date.name, source)
        odd = ~times.dates & ~times.blank
        if missing == "refuse" and (odd | times.blank).any():
            raise _no_dates(column, date.name, odd, times.blank, source, row_name)
        _check_zones(times, date, source, row_name)
        if odd.any():
            first = int(odd.argmax())
            what = f"of column {date.name!r} is no date, so it is missing"
            many = f"of column {date.name!r} are no dates, so they are missing"
            text = strings(column)[first].as_py()
            notes.append(
                Note(
                    (f"cell {what}", f"cells {many}"),
                    int(odd.sum()),
                    f"{text!r} at {row_name(first)}",
                )
            )
        place = table.column_names.index(date.name)
        for name, part in zip(date.columns, date.parts, strict=True):
            values = np.full(len(column), np.nan)
            values[times.dates] = _part(times.at[times.dates], part, date.first)
            table = table.add_column(place, name, pa.chunked_array([values], pa.float64()))
            place += 1
        table = table.drop_columns([date.name])
    return table, tuple(notes)


_PARTS: tuple[Part, ...] = ("days", "year", "month", "weekday", "hour")


def _part(at: NDArray[np.int64], part: Part, first: int) -> NDArray[np.float64]:
    """One part of times: days since the first with their fraction, or a number as calendars count it."""
    if part == "days":
        return (at - first) / DAY
    if part == "hour":
        return np.asarray(at // HOUR % 24, np.float64)
    days = at // DAY
    if part == "weekday":
        return np.asarray((days + 3) % 7 + 1, np.float64)  # 1970 began on a Thursday, which is 4.
    months = days.astype("M8[D]").astype("M8[M]").astype(np.int64)
    counted = months // 12 + 1970 if part == "year" else months % 12 + 1
    return np.asarray(counted, np.float64)


def _form(column: pa.ChunkedArray, name: str, source: str) -> Form | None:
    """Which number comes first in a column's dates; None where it holds none."""
    if is_date(column.type):
        return "year-first"
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return None
    text = pc.unique(strings(column)).drop_null()
    if plain_times(text) is not None:
        return "year-first"
    last = pc.extract_regex(text, YEAR_LAST).drop_null()
    if not len(last):
        return "year-first"
    if 2 * len(last) < len(text):
        return None
    first, second = (
        np.asarray(pc.cast(pc.struct_field(last, part), pa.int64()))
        for part in ("first_part", "second_part")
    )
    day_first, month_first = bool((first > 12).any()), bool((second > 12).any())
    if day_first == month_first:
        why = ": in some it must be the one, in others the other" * day_first
        raise DataError(
            f"{source}: column {name!r} has dates such as {_example(text)!r}, where the day may come"
            f" first, or the month{why}.",
            remedy="Write them as 2020-04-03, leave the column out with ignore (--ignore), or take its"
            " values as categories with categorical (--categorical).",
        )
    return "day-first" if day_first else "month-first"


def _example(text: pa.Array) -> str:
    found = text.filter(pc.match_substring_regex(text, YEAR_LAST))
    return str(found[0].as_py())


def _check_zones(times: Times, date: DateColumn, source: str, row_name: RowName) -> None:
    other = times.dates & (times.zoned != date.zoned)
    if other.any():
        has = "has no time zone, and others have" if date.zoned else "has a time zone"
        what = has if date.zoned else f"{has}, and the column has none elsewhere"
        raise DataError(
            f"{source}: the time at {row_name(int(other.argmax()))}, column {date.name!r}, {what}.",
            remedy="Give all times of a column with a zone, or all without.",
        )


def _no_dates(
    column: pa.ChunkedArray,
    name: str,
    odd: NDArray[np.bool_],
    blank: NDArray[np.bool_],
    source: str,
    row_name: RowName,
) -> DataError:
    if odd.any():
        first = int(odd.argmax())
        count = int(odd.sum())
        return DataError(
            f"{source}: {count} cell{'s' * (count > 1)} of column {name!r} {'are' if count > 1 else 'is'}"
            f" no date, the first at {row_name(first)}: {strings(column)[first].as_py()!r}.",
            remedy="Correct it, or pass missing='impute' (--missing impute) to take it for missing;"
            " categorical (--categorical) takes the column's values as categories.",
        )
    count = int(blank.sum())
    return DataError(
        f"{source}: {count} empty cell{'s' * (count > 1)} in column {name!r},"
        f" the first at {row_name(int(blank.argmax()))}.",
        remedy="Fill them in, or pass missing='impute' (--missing impute).",
    )
