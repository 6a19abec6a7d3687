"""Files of rows and columns, and data frames, as Arrow tables, whole or in pieces."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import pyarrow as pa

from tacita.data.notes import Note
from tacita.errors import DataError
from tacita.modalities.readers.delimited import (
    about_delimiter,
    read_delimited,
    stream_delimited,
    unique,
)
from tacita.modalities.readers.excel import about_sheets, read_excel
from tacita.modalities.readers.ipc import read_ipc, stream_ipc
from tacita.modalities.readers.jsonl import stream_jsonl
from tacita.modalities.readers.packed import format_of
from tacita.modalities.readers.parquet import read_parquet, stream_parquet
from tacita.modalities.readers.types import plain_columns


def read_table(path: Path) -> pa.Table:
    """A whole file as one table."""
    kind = format_of(path)
    if kind == ".jsonl":
        tables = list(stream_jsonl(path, None))
        return _checked(tables[0] if tables else pa.table({}), str(path))
    read = {
        ".parquet": read_parquet, ".feather": read_ipc, ".arrow": read_ipc, ".xlsx": read_excel,
    }.get(kind, read_delimited)  # fmt: skip
    return _checked(read(path), str(path))


def stream_table(path: Path, chunk: int) -> Generator[pa.Table, None, None]:
    """A file as consecutive tables of at most `chunk` rows, one block of it in memory at a time.

    A sheet is read whole.
    """
    kind = format_of(path)
    if kind == ".xlsx":
        table = read_table(path)
        yield from (table.slice(start, chunk) for start in range(0, len(table), chunk))
        return
    stream = {
        ".jsonl": stream_jsonl, ".parquet": stream_parquet, ".feather": stream_ipc,
        ".arrow": stream_ipc,
    }.get(kind, stream_delimited)  # fmt: skip
    for table in stream(path, chunk):
        unique(table.column_names, str(path))
        yield table


def notes_on(path: Path) -> list[Note]:
    """How a file was understood, where its name does not say it."""
    kind = format_of(path)
    if kind == ".xlsx":
        return about_sheets(path)
    return about_delimiter(path) if kind in (".csv", ".tsv", ".txt") else []


def frame_table(frame: Any) -> pa.Table:
    """A pandas or polars data frame, or an Arrow table, as an Arrow table with unique columns."""
    if isinstance(frame, pa.Table):
        return _checked(frame, "table")
    names = [str(name) for name in frame.columns]
    unique(names, "data frame")
    if type(frame).__module__.partition(".")[0] == "polars":
        return _checked(frame.to_arrow(), "data frame")
    try:
        table = pa.Table.from_pandas(frame, preserve_index=False)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise DataError(
            f"data frame: a column mixes types ({str(error)[:200]}).",
            remedy="Make every column all numbers or all text, for example with astype(str).",
        ) from error
    return _checked(table, "data frame")


def is_frame(x: Any) -> bool:
    """Whether an object is a data frame or an Arrow table; none of their packages is imported."""
    if isinstance(x, pa.Table):
        return True
    return type(x).__module__.partition(".")[0] in ("pandas", "polars") and hasattr(x, "columns")


def _checked(table: pa.Table, source: str) -> pa.Table:
    unique(table.column_names, source)
    if not len(table) or not table.num_columns:
        raise DataError(f"{source}: there are no rows.", remedy="Give at least one row of data.")
    return plain_columns(table, source)
