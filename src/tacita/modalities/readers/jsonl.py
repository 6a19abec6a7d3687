"""JSONL files as Arrow tables: one JSON object a line, its keys the columns.

Read by Python's own parser: Arrow's makes dates of texts that look like dates, and ends the whole
process where lists are nested very deeply.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from tacita.errors import DataError
from tacita.modalities.readers.packed import parts_of
from tacita.modalities.readers.values import check_unpacked, damaged

LONGEST_LINE = 64 * 2**20
"""Bytes of one line: what is longer is no row of a table."""
_MOST_COLUMNS = 2**16


def stream_jsonl(path: Path, chunk: int | None) -> Iterator[pa.Table]:
    """Consecutive tables of at most `chunk` rows; None for one of all rows.

    A key that a line lacks, or whose value is null, is an empty cell. Raises `DataError` naming the line
    that is no JSON object, is too long or not UTF-8, and the one whose value is of another type than
    those before it.
    """
    names: dict[str, None] = {}
    rows: list[dict[str, Any]] = []
    start = 0
    if chunk is not None:
        # A key that only later lines have is an empty cell in all of them.
        for _, row in _lines(path, whole=False):
            names.update(dict.fromkeys(row))
            if len(names) > _MOST_COLUMNS:
                break
    for number, row in _lines(path, whole=chunk is None):
        names.update(dict.fromkeys(row))
        if len(names) > _MOST_COLUMNS:
            raise DataError(
                f"{path}: more than {_MOST_COLUMNS} different keys by line {number}.",
                remedy="Give every line the same few keys.",
            )
        rows.append(row)
        if len(rows) == chunk:
            yield _table(rows, names, path, start)
            start, rows = start + len(rows), []
    if rows:
        yield _table(rows, names, path, start)


def _lines(path: Path, *, whole: bool) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a file, or of all members of an archive."""
    with damaged(path, "JSONL"):
        for part in parts_of(path):
            with part.opened(whole=whole) as file:
                yield from _objects(file, part.name)


def _objects(file: IO[bytes], path: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each line's number from 1 and its object; only behind the last may there be blank lines."""
    blank = 0
    with damaged(path, "JSONL"):
        lines = iter(lambda: file.readline(LONGEST_LINE + 1), b"")
        for number, raw in enumerate(lines, 1):
            if len(raw) > LONGEST_LINE:
                raise DataError(
                    f"{path}: line {number} is longer than {LONGEST_LINE // 2**20} MiB.",
                    remedy="Give one JSON object a line.",
                )
            if not raw.strip():
                blank = blank or number
                continue
            if blank:
                raise DataError(f"{path}: line {blank} is empty.", remedy="Remove it.")
            yield number, _object(raw, path, number)


def _object(raw: bytes, path: str, number: int) -> dict[str, Any]:
    try:
        value = json.loads(raw.decode("utf-8-sig" if number == 1 else "utf-8"))
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: byte {error.start} of line {number} is not UTF-8.",
            remedy="Save the file as UTF-8.",
        ) from error
    except (ValueError, RecursionError) as error:
        reason = str(error)[:100]
        raise DataError(
            f"{path}: line {number} is not JSON ({reason}).", remedy="Give one JSON object a line."
        ) from error
    if not isinstance(value, dict):
        raise DataError(
            f"{path}: line {number} is no JSON object but a {type(value).__name__}.",
            remedy='Give one object a line, such as {"text": "...", "label": "..."}.',
        )
    return value


def _table(rows: list[dict[str, Any]], names: dict[str, None], path: Path, start: int) -> pa.Table:
    # Where each line has keys of its own, nearly all of the table would be empty cells.
    check_unpacked(str(path), 8 * len(rows) * len(names), path.stat().st_size)
    return pa.table({name: _column(rows, name, path, start) for name in names})


def _column(rows: list[dict[str, Any]], name: str, path: Path, start: int) -> pa.Array:
    values = [row.get(name) for row in rows]
    try:
        # Arrow would take truth values among numbers for 0 and 1.
        if bool in (types := set(map(type, values))) and types & {int, float}:
            raise pa.ArrowInvalid("truth values among numbers")
        column = pa.array(values)
        column.validate(full=True)
    except (pa.ArrowException, UnicodeError, OverflowError) as error:
        kinds = [_kind(value) for value in values]
        known = next(kind for kind in kinds if kind)
        at = next((i for i, kind in enumerate(kinds) if kind not in (known, "")), None)
        if at is not None:
            raise DataError(
                f"{path}: line {start + at + 1} has a {kinds[at]} under {name!r}, where lines before"
                f" it have a {known}.",
                remedy="Give all numbers or all texts under one key.",
            ) from error
        raise DataError(
            f"{path}: the values under {name!r} cannot be read ({str(error)[:100]}).",
            remedy="Give numbers that fit into 64 bits, or texts of valid characters.",
        ) from error
    return column


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "truth value"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "text"
    return "" if value is None else "list" if isinstance(value, list) else "object"
