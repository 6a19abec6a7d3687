"""Columns of text that are numbers all the same: a few odd cells, a decimal comma, thousands, a currency.

A column is numbers if at least half of its filled cells are. What else stands in it is missing then: an
error that names it, or, where missing values are filled in, a note that counts it. How numbers are written is
told by cells that can mean one thing only; where none can, it is asked for and never guessed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tacita.data.notes import Note
from tacita.data.reading import Decimal, Missing
from tacita.errors import DataError
from tacita.modalities.readers.columns import NO_NUMBER
from tacita.modalities.readers.rows import RowName
from tacita.words import listed

_MARK = r"%|[$€£¥₹]|USD|EUR|GBP|CHF|JPY"
_SIGN = r"^([-+]?)"
_POWER = r"([eE][-+]?\d+)?$"
_PLAIN = _SIGN + r"(\d+\.?\d*|\.\d+)" + _POWER
_COMMAS = _SIGN + r"[1-9]\d{0,2}(,\d{3})+(\.\d*)?$"
"""Thousands by commas: 1,234.5."""
_COMMA = _SIGN + r"(\d+,?\d*|,\d+)" + _POWER
_POINTS = _SIGN + r"[1-9]\d{0,2}(\.\d{3})+(,\d*)?$"
"""Thousands by points: 1.234,5."""
_SPACES = _SIGN + r"\d{1,3}([ ']\d{3})+([.,]\d*)?$"
_EITHER = _SIGN + r"[1-9]\d{0,2}[.,]\d{3}$"
"""Three digits behind one sign: thousands, or a fraction."""
_SOME = 0.1
"""Share of numbers from which it is said that a column was not taken for numbers."""


@dataclass(frozen=True)
class Written:
    """How the numbers of a file are written, remembered for those that come later.

    marks: by column, the percent sign or the currency that all of its numbers have.
    """

    decimal: Decimal | None = None
    marks: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Read:
    """A column's cells as floats; which are odd; the decimal sign and the mark that were found."""

    values: NDArray[np.float64]
    odd: NDArray[np.bool_]
    filled: int
    decimal: Decimal | None = None
    thousands: bool = False
    mark: str | None = ""
    either: str = ""
    """A cell that may be thousands or a fraction, where no cell tells."""

    @property
    def mostly(self) -> bool:
        return self.filled > 0 and 2 * int(self.odd.sum()) <= self.filled


def with_numbers(
    table: pa.Table,
    *,
    written: Written,
    known: bool,
    missing: Missing,
    source: str,
    row_name: RowName,
    aside: Collection[str] = (),
    surely: Collection[str] = (),
) -> tuple[pa.Table, Written, tuple[Note, ...]]:
    """The table with every column of text that is numbers as floats, null where there is none.

    written: how numbers are written, as far as it was told or, where `known`, learnt before.
    aside: columns that are left as they are; surely: those that were said to be numbers.

    Raises `DataError` for a cell that is no number where `missing` is "refuse", for numbers that can mean
    two things, and for a mark that only some numbers have, or that those learnt before had not.
    """
    read: dict[str, _Read] = {}
    notes: list[Note] = []
    for name in table.column_names:
        if name in aside or not _is_text(table[name].type):
            continue
        found = _read(table[name], written.decimal)
        if found.mostly or (name in surely and found.filled):
            read[name] = found
        elif not known and found.filled - int(found.odd.sum()) > _SOME * found.filled:
            notes.append(Note(_not_numbers(name, found)))
    decimal = written.decimal or next((r.decimal for r in read.values() if r.decimal == ","), None)
    if decimal == ",":
        # What one column of a file tells holds of those that tell nothing.
        read = {n: _read(table[n], ",") if each.either else each for n, each in read.items()}
    for name, found in read.items():
        if found.either or (decimal == "," and written.decimal is None and found.decimal != ","):
            _check_sure(name, found, table[name], source)
        _check_mark(name, found, written, known, source)
        if found.odd.any():
            notes.append(_odd_cells(name, found, table[name], missing, source, row_name))
        place = table.column_names.index(name)
        column = pa.chunked_array([pa.array(found.values, from_pandas=True)], pa.float64())
        table = table.set_column(place, name, column)
    notes += [] if known else _said(read, table)
    marks = {name: found.mark for name, found in read.items() if found.mark}
    return table, written if known else Written(decimal, marks), tuple(notes)


def _read(column: pa.ChunkedArray, decimal: Decimal | None) -> _Read:
    """Cells of text as numbers, by the decimal sign that is told or that the cells themselves tell."""
    text = pc.fill_null(pc.utf8_trim_whitespace(column.cast(pa.string())), "")
    blank = pc.is_in(pc.utf8_lower(text), value_set=NO_NUMBER)
    empty = np.asarray(blank.to_numpy(), bool)
    filled = int((~empty).sum())
    if decimal != ",":
        try:
            plain = pc.cast(pc.if_else(blank, None, text), pa.float64())
        except pa.ArrowInvalid:
            pass
        else:
            return _Read(plain.to_numpy(), np.zeros(len(text), bool), filled)
    text = pc.replace_substring_regex(text, r"[\x{a0}\x{202f}\x{2009}]", " ")
    text = pc.replace_substring(text, "\u2212", "-")
    body = pc.replace_substring_regex(text, rf"{_SIGN}\s*(?:{_MARK})\s*", r"\1")
    body = pc.replace_substring_regex(body, rf"\s*(?:{_MARK})$", "")
    spaced = _like(body, _SPACES)
    body = pc.if_else(pa.array(spaced), pc.replace_substring_regex(body, "[ ']", ""), body)
    plain, commas, comma, points, either = (
        _like(body, pattern) for pattern in (_PLAIN, _COMMAS, _COMMA, _POINTS, _EITHER)
    )
    has_comma = np.asarray(pc.match_substring(body, ",").to_numpy(), bool)
    has_point = np.asarray(pc.match_substring(body, ".").to_numpy(), bool)
    # What only one reading allows: a fraction that is not of three digits, or both signs in their order.
    by_comma = ((comma & has_comma) | (points & (has_comma | ~plain))) & ~commas
    by_point = ((plain & has_point) | (commas & (has_point | ~comma))) & ~points
    unsure = either & has_comma & ~by_comma
    example = ""
    if decimal is None:
        decimal = "," if int(by_comma.sum()) > int(by_point.sum()) else "."
        if unsure.any() and not by_comma.any() and not by_point.any():
            example = body[int(unsure.argmax())].as_py()
    fits, groups, sign = (comma, points, ".") if decimal == "," else (plain, commas, ",")
    valid = (fits | groups) & ~empty
    bare = pc.if_else(pa.array(groups), pc.replace_substring(body, sign, ""), body)
    bare = pc.replace_substring(bare, ",", ".") if decimal == "," else bare
    values = pc.cast(pc.if_else(pa.array(valid), bare, None), pa.float64()).to_numpy()
    thousands = bool(((groups & ~fits) | spaced)[valid].any())
    return _Read(values, ~valid & ~empty, filled, decimal, thousands, _mark(text, valid), example)


def _mark(text: pa.ChunkedArray, valid: NDArray[np.bool_]) -> str | None:
    """The mark that all numbers have; empty where none has one; None where only some have it."""
    numbers = text.filter(pa.array(valid))
    found = pc.extract_regex(numbers, f"(?P<mark>{_MARK})")
    marks = set(pc.unique(pc.fill_null(pc.struct_field(found, "mark"), "")).to_pylist())
    return next(iter(marks), "") if len(marks) < 2 else None


def _check_sure(name: str, found: _Read, column: pa.ChunkedArray, source: str) -> None:
    """Raises `DataError` where three digits behind a sign are thousands or a fraction, and no cell tells."""
    example = found.either
    if not example:
        text = pc.fill_null(pc.utf8_trim_whitespace(column.cast(pa.string())), "")
        pointed = _like(text, r"\.")
        if not pointed.any() or not _like(text, _EITHER)[pointed].all():
            return
        example = str(text[int(pointed.argmax())].as_py())
    digits = example.replace(",", "").replace(".", "")
    fraction = example.replace(",", ".")
    raise DataError(
        f"{source}: column {name!r} has numbers such as {example!r}, which may be {digits} or {fraction}.",
        remedy="Say which sign stands before the fraction: decimal='.' or decimal=','"
        " (--decimal . or --decimal ,).",
    )


def _check_mark(name: str, found: _Read, written: Written, known: bool, source: str) -> None:
    if found.mark is None:
        raise DataError(
            f"{source}: in column {name!r} some numbers have a percent sign or a currency, and others"
            " have none or another.",
            remedy="Write all numbers of a column in one unit.",
        )
    before = written.marks.get(name, "")
    if known and found.mark != before:
        has = f"have {found.mark!r}" if found.mark else "have no mark"
        had = f"had {before!r}" if before else "had none"
        raise DataError(
            f"{source}: the numbers of column {name!r} {has}, and those that the model learnt from {had}.",
            remedy="Write them in the unit of the training data.",
        )


def _odd_cells(
    name: str,
    found: _Read,
    column: pa.ChunkedArray,
    missing: Missing,
    source: str,
    row_name: RowName,
) -> Note:
    first, count = int(found.odd.argmax()), int(found.odd.sum())
    place = f"{column[first].as_py()!r} at {row_name(first)}"
    if missing == "refuse":
        raise DataError(
            f"{source}: {place}, column {name!r} is not a number, as {found.filled - count} of the"
            f" {found.filled} filled cells are.",
            remedy="Correct it; or pass missing='impute' (--missing impute) to take what is no number for"
            " missing, or name a column of categories in categorical (--categorical) and not in numeric"
            " (--numeric).",
        )
    end = f"of column {name!r}"
    what = f"cell {end} is no number and is taken for missing"
    many = f"cells {end} are no numbers and are taken for missing"
    return Note((what, many), count, place)


def _said(read: Mapping[str, _Read], table: pa.Table) -> list[Note]:
    """What was found out about how numbers are written."""
    commas = [name for name, found in read.items() if found.decimal == ","]
    grouped = [name for name, found in read.items() if found.thousands]
    said = []
    if commas:
        said.append(
            f"the comma is the decimal sign in {_columns(commas)}: 3,5 is three and a half;"
            " decimal='.' (--decimal .) says otherwise"
        )
    if grouped:
        said.append(f"signs between thousands are left out in {_columns(grouped)}")
    for name, found in read.items():
        if found.mark:
            said.append(f"{found.mark!r} is left out of the numbers of column {name!r}")
    return [Note(text) for text in said]


def _columns(names: Sequence[str]) -> str:
    return listed("column", names)


def _not_numbers(name: str, found: _Read) -> str:
    count = found.filled - int(found.odd.sum())
    return f"column {name!r} is not taken for numbers, though {count} of its {found.filled} filled cells are"


def _like(text: pa.ChunkedArray, pattern: str) -> NDArray[np.bool_]:
    return np.asarray(pc.match_substring_regex(text, pattern).to_numpy(), bool)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
