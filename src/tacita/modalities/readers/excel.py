"""The first sheet of an `.xlsx` file as an Arrow table: its first row names the columns."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

import pyarrow as pa

from tacita.data.notes import Note
from tacita.errors import DataError, MissingExtraError
from tacita.modalities.readers.values import check_unpacked, damaged

_BOMB = 2**28
_RATIO = 100
"""What zip makes smaller than this many times, and is as large, is no sheet that anyone wrote."""


def read_excel(path: Path) -> pa.Table:
    """The first sheet; formulas count as the values that were saved with them.

    Raises `DataError` for a sheet without rows, and one that would unpack beyond all measure.
    """
    with damaged(path, "an Excel file"):
        _check_archive(path)
        book = _opened(path)
        try:
            rows = list(_rows(path, book.worksheets[0]))
        finally:
            book.close()
    if not rows:
        raise DataError(
            f"{path}: the first sheet is empty.",
            remedy="Give a header row and at least one row of data.",
        )
    width = max(map(len, rows))
    check_unpacked(str(path), 8 * len(rows) * width, path.stat().st_size)
    names = [*map(_text, rows[0]), *[""] * (width - len(rows[0]))]
    filled = [[*row, *[None] * (width - len(row))] for row in rows[1:]]
    columns = {
        name or f"column {i + 1}": _column([row[i] for row in filled])
        for i, name in enumerate(names)
    }
    if len(columns) < width:
        twice = next(name for i, name in enumerate(names) if name in names[:i])
        raise DataError(f"{path}: two columns are called {twice!r}.", remedy="Rename one of them.")
    return pa.table(columns)


def about_sheets(path: Path) -> list[Note]:
    """Which sheet was read, where there are several."""
    with damaged(path, "an Excel file"):
        _check_archive(path)
        book = _opened(path)
        names = [sheet.title for sheet in book.worksheets]
        book.close()
    if len(names) < 2:
        return []
    return [Note(f"only the first of {len(names)} sheets is read: {names[0]!r}")]


def _opened(path: Path) -> Any:
    try:
        import openpyxl
    except ModuleNotFoundError as error:
        raise MissingExtraError("openpyxl", "excel") from error
    return openpyxl.load_workbook(path, read_only=True, data_only=True, keep_links=False)


def _check_archive(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    size = sum(member.file_size for member in members)
    packed = sum(member.compress_size for member in members)
    check_unpacked(str(path), size, packed)
    if size > _BOMB and size > _RATIO * packed:
        raise DataError(
            f"{path}: would unpack from {packed / 2**20:.1f} MiB to {size / 2**20:.0f} MiB, which looks"
            " like a decompression bomb.",
            remedy="Save the sheet as .csv.",
        )


def _rows(path: Path, sheet: Any) -> Iterator[list[Any]]:
    """The rows up to the last that has a value, each up to its own last value."""
    # What the sheet says of its own size is a claim.
    sheet.reset_dimensions()
    cells, empty, packed = 0, 0, path.stat().st_size
    for row in sheet.iter_rows(values_only=True):
        values = [None if value is None or value == "" else value for value in row]
        while values and values[-1] is None:
            values.pop()
        if not values:
            empty += 1
            continue
        yield from ([] for _ in range(empty))
        empty = 0
        cells += max(len(values), 1)
        check_unpacked(str(path), 64 * cells, packed)
        yield values


def _text(value: Any) -> str:
    return "" if value is None else str(value).strip()


def _column(values: list[Any]) -> pa.Array:
    """Numbers, truth values or dates where all cells are such, else text."""
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int, float}:
        return pa.array([None if value is None else float(value) for value in values], pa.float64())
    if kinds == {bool}:
        return pa.array(values, pa.bool_())
    if kinds <= {datetime, date}:
        return pa.array(
            [datetime(*v.timetuple()[:6]) if type(v) is date else v for v in values],
            pa.timestamp("us"),
        )
    return pa.array([None if value is None else _cell(value) for value in values], pa.string())


def _cell(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime | date | time) else str(value)
