"""CSV, TSV and other delimited text as Arrow tables, packed or not.

Cells stay text here: whether a column is a number is decided over the whole column, later.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.csv as pa_csv

from tacita.data.notes import Note
from tacita.errors import DataError
from tacita.modalities.readers.packed import Part, format_of, parts_of
from tacita.modalities.readers.values import damaged

_LINE = 2**20
_LINES = 20
_DELIMITERS = {"\t": "a tab", ";": "';'", "|": "'|'", ",": "','", " ": "a space"}


def read_delimited(path: Path) -> pa.Table:
    """A whole file, or all members of an archive, as one table."""
    with damaged(path, "CSV"):
        tables = []
        for part in parts_of(path):
            with _csv(part) as (options, names), part.for_arrow(whole=True) as file:
                tables.append(_renamed(pa_csv.read_csv(file, **options), names, part.name))
                _same_columns(tables[0].column_names, tables[-1].column_names, part.name)
        return pa.concat_tables(tables)


def stream_delimited(path: Path, chunk: int) -> Iterator[pa.Table]:
    """Consecutive tables of at most `chunk` rows, one block of the file in memory at a time."""
    first: list[str] = []
    with damaged(path, "CSV"):
        for part in parts_of(path):
            with _csv(part) as (options, names), part.for_arrow() as file:
                for batch in pa_csv.open_csv(file, **options):
                    table = _renamed(pa.Table.from_batches([batch]), names, part.name)
                    first = first or table.column_names
                    _same_columns(first, table.column_names, part.name)
                    for start in range(0, len(table), chunk):
                        yield table.slice(start, chunk)


def about_delimiter(path: Path) -> list[Note]:
    """What was taken for the delimiter, where the name of the file does not say it."""
    with damaged(path, "CSV"):
        _, delimiter = _header(parts_of(path)[0])
    usual = {".csv": ",", ".tsv": "\t"}.get(format_of(path))
    return [] if delimiter == usual else [Note(f"cells are parted by {_DELIMITERS[delimiter]}")]


@contextmanager
def _csv(part: Part) -> Iterator[tuple[dict[str, Any], list[str]]]:
    """Options for pyarrow's reader, and the names of the columns; errors are given in our words."""
    ragged: list[Any] = []

    def note(row: Any) -> str:
        ragged.append(row)
        return "error"

    names, delimiter = _header(part)
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
                f"{part.name}: row {row.number} has {row.actual_columns}"
                f" cell{'s' * (row.actual_columns != 1)}, the header has"
                f" {row.expected_columns}.",
                remedy="Give every row the same number of cells; put text with commas into quotes.",
            ) from error
        _check_encoding(part)
        raise


def _header(part: Part) -> tuple[list[str], str]:
    """The column names and the delimiter, from the first rows."""
    with part.opened() as file:
        start = file.read(4)
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise _encoding_error(part, "the file is UTF-16", "utf-16")
    try:
        with _text(part) as text:
            delimiter = _delimiter(text, format_of(part.path), part.name)
        with _text(part) as text:
            lines = iter(lambda: text.readline(_LINE), "")
            names = next((row for row in csv.reader(lines, delimiter=delimiter) if row), [])
    except UnicodeDecodeError:
        _check_encoding(part)
        raise
    if not names:
        raise DataError(
            f"{part.name}: the file is empty.",
            remedy="Give a header row and at least one row of data.",
        )
    unique(names, part.name)
    if _looks_like_data(names):
        raise DataError(
            f"{part.name}: the first row ({', '.join(names[:3])}, ...) looks like data, not like names.",
            remedy="Add a header row that names the columns.",
        )
    return names, delimiter


@contextmanager
def _text(part: Part) -> Iterator[IO[str]]:
    with part.opened() as file:
        text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
        try:
            yield text
        finally:
            text.detach()


def _delimiter(file: IO[str], ending: str, source: str) -> str:
    """The usual one of such a file if it is there at all, else the one that parts all rows alike."""
    lines = [line for line in (file.readline(_LINE) for _ in range(_LINES)) if line.strip("\r\n")]
    usual = {".csv": ",", ".tsv": "\t"}.get(ending)
    if usual is not None and (not lines or usual in lines[0]):
        return usual
    for delimiter in _DELIMITERS:
        # A space between words is no sign of columns where the name of the file promises others.
        if (delimiter == " " and usual) or not lines or delimiter not in lines[0]:
            continue
        # The last of the lines may be the beginning of one only.
        rows = list(csv.reader(lines[:-1] if len(lines) == _LINES else lines, delimiter=delimiter))
        if len({len(row) for row in rows}) == 1:
            return delimiter
    if usual is None:
        raise DataError(
            f"{source}: no delimiter parts its lines into the same number of cells.",
            remedy="Call a table .csv or .tsv; one text, or a folder of them, is read with"
            " modality='text' (--modality text).",
        )
    return usual


def _looks_like_data(names: list[str]) -> bool:
    """Whether all names are numbers and some are no integers (frames are often saved with 0, 1, 2)."""
    try:
        numbers = [float(name) for name in names]
    except ValueError:
        return False
    return not all(number.is_integer() for number in numbers)


def _check_encoding(part: Part) -> None:
    """Raises the place of the first byte that is not UTF-8, if there is one."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    offset, row = 0, 1
    with part.opened() as file:
        while True:
            block = file.read(2**20)
            pending = len(decoder.getstate()[0])
            try:
                decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                at = offset - pending + error.start
                row += block[: max(0, error.start - pending)].count(b"\n")
                raise _encoding_error(part, f"byte {at} (row {row}) is not UTF-8") from error
            if not block:
                return
            offset += len(block)
            row += block.count(b"\n")


def _encoding_error(part: Part, reason: str, encoding: str = "latin1") -> DataError:
    return DataError(
        f"{part.name}: {reason}.",
        remedy="Save it as UTF-8, for example:"
        f" iconv -f {encoding} -t utf-8 {part.path.name} > new.csv",
    )


def _same_columns(first: Sequence[str], names: Sequence[str], source: str) -> None:
    if list(first) != list(names):
        raise DataError(
            f"{source}: its columns are not those of the archive's first file.",
            remedy="Give every part the same header.",
        )


def unique(names: Sequence[str], source: str) -> None:
    """Raises `DataError` for two columns of one name."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise DataError(
                f"{source}: two columns are called {name!r}.", remedy="Rename one of them."
            )
        seen.add(name)


def _renamed(table: pa.Table, names: list[str], source: str) -> pa.Table:
    if table.num_columns != len(names):
        raise DataError(
            f"{source}: the header row cannot be understood.", remedy="Check its quotes and commas."
        )
    table = table.rename_columns(names)
    unique(names, source)
    return table
