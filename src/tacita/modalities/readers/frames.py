"""CSV, TSV, parquet, JSONL and data frames as Arrow tables; streamed where the file may exceed the memory.

CSV cells stay text here: whether a column is a number is decided over the whole column, later.
"""

from __future__ import annotations

import codecs
import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv

from tacita.errors import DataError
from tacita.modalities.readers.jsonl import stream_jsonl
from tacita.modalities.readers.parquet import read_parquet, stream_parquet
from tacita.modalities.readers.types import plain_columns
from tacita.modalities.readers.values import damaged

_LINE = 2**20


def read_table(path: Path) -> pa.Table:
    """A whole file as one table."""
    if path.suffix.lower() == ".jsonl":
        tables = list(stream_jsonl(path, None))
        return _checked(tables[0] if tables else pa.table({}), str(path))
    if path.suffix.lower() == ".parquet":
        return _checked(read_parquet(path), str(path))
    with _csv(path) as (options, names):
        table = pa_csv.read_csv(str(path), **options)
        return _checked(_renamed(table, names, path), str(path))


def stream_table(path: Path, chunk: int) -> Iterator[pa.Table]:
    """A file as consecutive tables of at most `chunk` rows, one block of it in memory at a time."""
    if path.suffix.lower() == ".jsonl":
        yield from stream_jsonl(path, chunk)
        return
    if path.suffix.lower() == ".parquet":
        for table in stream_parquet(path, chunk):
            _unique(table.column_names, str(path))
            yield table
        return
    with _csv(path) as (options, names):
        reader = pa_csv.open_csv(str(path), **options)
        for batch in reader:
            table = _renamed(pa.Table.from_batches([batch]), names, path)
            for start in range(0, len(table), chunk):
                yield table.slice(start, chunk)


def frame_table(frame: Any) -> pa.Table:
    """A pandas or polars data frame, or an Arrow table, as an Arrow table with unique columns."""
    if isinstance(frame, pa.Table):
        return _checked(frame, "table")
    names = [str(name) for name in frame.columns]
    _unique(names, "data frame")
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


@contextmanager
def _csv(path: Path) -> Iterator[tuple[dict[str, Any], list[str]]]:
    """Options for pyarrow's reader, and the names of the columns; errors are given in our words."""
    ragged: list[Any] = []

    def note(row: Any) -> str:
        ragged.append(row)
        return "error"

    with damaged(path, "CSV"):
        names, delimiter = _header(path)
        options = {
            # One thread, so that a bad row has a number.
            "read_options": pa_csv.ReadOptions(use_threads=False),
            "parse_options": pa_csv.ParseOptions(
                delimiter=delimiter, newlines_in_values=True, invalid_row_handler=note
            ),
            "convert_options": pa_csv.ConvertOptions(
                column_types={name: pa.string() for name in names}, null_values=[]
            ),
        }
        try:
            yield options, [name or f"column {i + 1}" for i, name in enumerate(names)]
        except pa.ArrowException as error:
            if ragged:
                row = ragged[0]
                raise DataError(
                    f"{path}: row {row.number} has {row.actual_columns}"
                    f" cell{'s' * (row.actual_columns != 1)}, the header has"
                    f" {row.expected_columns}.",
                    remedy="Give every row the same number of cells; put text with commas into quotes.",
                ) from error
            _check_encoding(path)
            raise


def _header(path: Path) -> tuple[list[str], str]:
    """The column names and the delimiter, from the first row."""
    with path.open("rb") as file:
        start = file.read(4)
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise _encoding_error(path, "the file is UTF-16", "utf-16")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = file.readline(_LINE)
            delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
            if delimiter == "," and "," not in first and ";" in first:
                delimiter = ";"
            file.seek(0)
            lines = iter(lambda: file.readline(_LINE), "")
            names = next((row for row in csv.reader(lines, delimiter=delimiter) if row), [])
    except UnicodeDecodeError:
        _check_encoding(path)
        raise
    if not names:
        raise DataError(
            f"{path}: the file is empty.", remedy="Give a header row and at least one row of data."
        )
    _unique(names, str(path))
    if _looks_like_data(names):
        raise DataError(
            f"{path}: the first row ({', '.join(names[:3])}, ...) looks like data, not like names.",
            remedy="Add a header row that names the columns.",
        )
    return names, delimiter


def _looks_like_data(names: list[str]) -> bool:
    """Whether all names are numbers and some are no integers (frames are often saved with 0, 1, 2)."""
    try:
        numbers = [float(name) for name in names]
    except ValueError:
        return False
    return not all(number.is_integer() for number in numbers)


def _check_encoding(path: Path) -> None:
    """Raises the place of the first byte that is not UTF-8, if there is one."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    offset, row = 0, 1
    with path.open("rb") as file:
        while True:
            block = file.read(2**20)
            pending = len(decoder.getstate()[0])
            try:
                decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                at = offset - pending + error.start
                row += block[: max(0, error.start - pending)].count(b"\n")
                raise _encoding_error(path, f"byte {at} (row {row}) is not UTF-8") from error
            if not block:
                return
            offset += len(block)
            row += block.count(b"\n")


def _encoding_error(path: Path, reason: str, encoding: str = "latin1") -> DataError:
    return DataError(
        f"{path}: {reason}.",
        remedy=f"Save it as UTF-8, for example: iconv -f {encoding} -t utf-8 {path.name} > new.csv",
    )


def _unique(names: list[str], source: str) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise DataError(
                f"{source}: two columns are called {name!r}.", remedy="Rename one of them."
            )
        seen.add(name)


def _renamed(table: pa.Table, names: list[str], path: Path) -> pa.Table:
    if table.num_columns != len(names):
        raise DataError(
            f"{path}: the header row cannot be understood.", remedy="Check its quotes and commas."
        )
    table = table.rename_columns(names)
    _unique(names, str(path))
    return table


def _checked(table: pa.Table, source: str) -> pa.Table:
    _unique(table.column_names, source)
    if not len(table) or not table.num_columns:
        raise DataError(f"{source}: there are no rows.", remedy="Give at least one row of data.")
    return plain_columns(table, source)
