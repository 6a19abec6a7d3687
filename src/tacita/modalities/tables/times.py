"""Dates as people and files write them, to microseconds since 1970."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tacita.errors import DataError
from tacita.modalities.readers.columns import blank_cells, strings

Form = Literal["year-first", "day-first", "month-first"]

_CLOCK = (
    r"(?:[T ](?P<hour>\d{1,2})(?::(?P<minute>\d{2})(?::(?P<second>\d{2})(?:\.(?P<fraction>\d{1,9}))?)?)?"
    r"(?P<zone> ?Z|[+-]\d{2}(?::?\d{2})?)?)?$"
)
YEAR_FIRST = r"^(?P<year>\d{4})[-/.](?P<second_part>\d{1,2})[-/.](?P<third_part>\d{1,2})" + _CLOCK
YEAR_LAST = r"^(?P<first_part>\d{1,2})[-/.](?P<second_part>\d{1,2})[-/.](?P<year>\d{4})" + _CLOCK
SECOND = 10**6
HOUR = 3600 * SECOND
DAY = 24 * HOUR
EARLIEST, LATEST = (
    int(np.datetime64(text, "us").astype(np.int64))
    for text in ("0001-01-01", "9999-12-31T23:59:59")
)
NO_TIME = np.iinfo(np.int64).min
"""What NumPy has for a time that there is not."""


@dataclass(frozen=True)
class Times:
    """Cells as times: `at (N,)` int64 microseconds, `NO_TIME` for no date; which are blank, and zoned."""

    at: NDArray[np.int64]
    blank: NDArray[np.bool_]
    zoned: NDArray[np.bool_]

    @property
    def dates(self) -> NDArray[np.bool_]:
        """`(N,)`: which cells are dates."""
        return self.at != NO_TIME


def is_date(kind: pa.DataType) -> bool:
    """Whether a type of columns is one of dates, with or without a time of day."""
    return bool(pa.types.is_date(kind) or pa.types.is_timestamp(kind))


def times_of(column: pa.ChunkedArray, form: Form, name: str, source: str) -> Times:
    """Cells as times in microseconds since 1970, in UTC where they have a zone."""
    if is_date(column.type):
        blank = np.asarray(pc.is_null(column).to_numpy(), bool)
        at = _typed(column, name, source)
        zoned = pa.types.is_timestamp(column.type) and column.type.tz is not None
        return Times(at, blank, np.full(len(column), zoned) & ~blank)
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        raise DataError(
            f"{source}: column {name!r} is {column.type}, but the model learnt dates.",
            remedy="Give dates, such as 2020-04-03.",
        )
    text = strings(column)
    plain = plain_times(text)
    if plain is not None:
        return Times(plain, blank_cells(text), np.zeros(len(plain), bool))
    encoded = pc.dictionary_encode(pc.fill_null(text, "")).combine_chunks()
    places = np.asarray(encoded.indices.to_numpy(zero_copy_only=False))
    first = _parsed(encoded.dictionary, YEAR_FIRST, ("second", "third"))
    order = ("first", "second") if form == "month-first" else ("second", "first")
    last = _parsed(encoded.dictionary, YEAR_LAST, order) if form != "year-first" else first
    at = np.where(first[0] == NO_TIME, last[0], first[0])
    return Times(at[places], blank_cells(text), (first[1] | last[1])[places])


def _typed(column: pa.ChunkedArray, name: str, source: str) -> NDArray[np.int64]:
    zone = column.type.tz if pa.types.is_timestamp(column.type) else None
    how = pc.CastOptions(pa.timestamp("us", zone), allow_time_truncate=True)
    try:
        whole = pc.cast(pc.cast(column, options=how), pa.int64())
    except pa.ArrowInvalid as error:
        raise DataError(
            f"{source}: column {name!r} has a date beyond the years 1 to 9999.",
            remedy="Correct it, or leave the column out with ignore (--ignore).",
        ) from error
    at = np.array(pc.fill_null(whole, NO_TIME).to_numpy(), np.int64)
    return np.where((at < EARLIEST) | (at > LATEST), NO_TIME, at)


def plain_times(text: pa.ChunkedArray) -> NDArray[np.int64] | None:
    """Text that is all dates with the year first, or null; much faster than to take it apart."""
    try:
        times = pc.cast(text, pa.timestamp("us"))
    except pa.ArrowInvalid:
        return None
    at = np.array(pc.fill_null(pc.cast(times, pa.int64()), NO_TIME), np.int64)
    return at if ((at >= EARLIEST) | (at == NO_TIME)).all() else None


def _parsed(
    text: pa.Array, pattern: str, order: tuple[str, str]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Text to microseconds, `NO_TIME` where it is no date; and whether it names a zone.

    order: which of the numbers beside the year are the month and the day.
    """
    found = pc.extract_regex(text, pattern)
    matched = np.asarray(found.is_valid())

    def number(field: str) -> NDArray[np.int64]:
        digits = pc.struct_field(found, field)
        digits = pc.if_else(pc.equal(digits, ""), "0", digits)
        return np.array(pc.fill_null(pc.cast(digits, pa.int64()), 0))

    year, month, day = (number(field) for field in ("year", *(f"{each}_part" for each in order)))
    hour, minute, second = number("hour"), number("minute"), number("second")
    fraction = pc.utf8_rpad(pc.struct_field(found, "fraction"), 6, "0")
    small = np.array(pc.fill_null(pc.cast(pc.utf8_slice_codeunits(fraction, 0, 6), pa.int64()), 0))
    months = ((year - 1970) * 12 + month - 1).astype("M8[M]")
    days = months.astype("M8[D]") + (day - 1)
    fits = matched & (month >= 1) & (month <= 12) & (day >= 1) & (days.astype("M8[M]") == months)
    fits &= (hour <= 23) & (minute <= 59) & (second <= 59) & (year >= 1)
    shift, zoned = _zones(pc.struct_field(found, "zone"))
    at = days.astype(np.int64) * DAY + hour * HOUR + (minute * 60 + second - shift) * SECOND + small
    fits &= (at >= EARLIEST) & (at <= LATEST)
    return np.where(fits, at, NO_TIME), zoned & fits


def _zones(zone: pa.Array) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Seconds that zones such as +02:00 are ahead of UTC; and whether there is one."""
    found = pc.extract_regex(zone, r"^(?P<sign>[+-])(?P<hours>\d{2}):?(?P<minutes>\d{2})?$")

    def number(field: str) -> NDArray[np.int64]:
        digits = pc.struct_field(found, field)
        digits = pc.if_else(pc.equal(digits, ""), "0", digits)
        return np.array(pc.fill_null(pc.cast(digits, pa.int64()), 0))

    ahead = np.array(pc.fill_null(pc.equal(pc.struct_field(found, "sign"), "+"), True))
    seconds = number("hours") * 3600 + number("minutes") * 60
    zoned = np.array(pc.fill_null(pc.not_equal(zone, ""), False))
    return np.where(ahead, seconds, -seconds), zoned
