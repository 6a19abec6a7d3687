"""Parquet files, read in pieces: a file may write a value once and repeat it, so its size says little."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tacita.errors import DataError
from tacita.modalities.readers.delimited import unique
from tacita.modalities.readers.types import check_types, plain_columns, written_out
from tacita.modalities.readers.values import LARGEST, check_unpacked, damaged

_PIECE = 2**27
"""Bytes that one piece may take in memory."""
_ROWS = 2**16
_LEAST = 2**16
"""Bytes that a text may have whatever is said of its size, which may be forged."""


def read_parquet(path: Path) -> pa.Table:
    """A whole file. Raises `DataError` naming it as soon as it has grown beyond all measure."""
    batches: list[pa.RecordBatch] = []
    size, packed = 0, path.stat().st_size
    with _opened(path) as file:
        for batch in _batches(file, _ROWS):
            size += batch.nbytes + written_out(batch)
            check_unpacked(str(path), size, packed)
            batches.append(batch)
        table = pa.Table.from_batches(batches, None if batches else _outline(file.schema_arrow))
        # Each piece has the words of its own rows.
        return table.unify_dictionaries()


def stream_parquet(path: Path, chunk: int) -> Iterator[pa.Table]:
    """A file as consecutive tables of at most `chunk` rows."""
    with _opened(path) as file:
        for batch in _batches(file, chunk):
            check_unpacked(str(path), batch.nbytes + written_out(batch), path.stat().st_size)
            yield plain_columns(pa.Table.from_batches([batch]), str(path))


@contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    with damaged(path, "parquet"), pq.ParquetFile(path) as file:
        if any(group.total_byte_size > LARGEST for group in _groups(file)):
            raise DataError(
                f"{path}: a row group declares more than {LARGEST // 2**30} GiB.",
                remedy="Write the file with smaller row groups.",
            )
        check_types(file.schema_arrow, str(path))
        _check_names(file.schema_arrow, str(path))
        # Numbers take at least this, however few bytes of the file say them.
        size = 8 * file.metadata.num_rows * file.metadata.num_columns
        check_unpacked(str(path), size, path.stat().st_size)
        yield file


def _groups(file: pq.ParquetFile) -> list[pq.RowGroupMetaData]:
    # Not the columns of a group: where their facts contradict each other Arrow ends the process.
    return [file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)]


def _rows_at_once(file: pq.ParquetFile) -> int:
    """Rows that stay below the size of a piece even if each of them holds all that a group says it has."""
    types = file.schema_arrow.types
    if all(pa.types.is_primitive(kind) or pa.types.is_nested(kind) for kind in types):
        return _ROWS
    size = max((group.total_byte_size for group in _groups(file)), default=0)
    return max(1, min(_ROWS, _PIECE // max(size, _LEAST)))


def _batches(file: pq.ParquetFile, rows: int) -> Iterator[pa.RecordBatch]:
    """At most so many rows at a time. Of lists and records only the type is read, and no value.

    Nothing can be done with them, and one row may repeat one value a thousand million times, of which neither
    the size of the file nor the number of its rows says anything.
    """
    flat = [field.name for field in file.schema_arrow if not pa.types.is_nested(field.type)]
    schema = _outline(file.schema_arrow)
    rows = min(rows, _rows_at_once(file))
    if not flat:
        for start in range(0, file.metadata.num_rows, rows):
            count = min(rows, file.metadata.num_rows - start)
            yield pa.record_batch([pa.nulls(count, kind) for kind in schema.types], schema)
        return
    for batch in file.iter_batches(batch_size=rows, columns=flat, use_threads=False):
        _sound(batch)
        columns = [
            batch.column(field.name) if field.name in flat else pa.nulls(len(batch), field.type)
            for field in schema
        ]
        yield pa.record_batch(columns, schema)


def _check_names(schema: pa.Schema, source: str) -> None:
    # Columns are read by name, where a dot leads into a record.
    unique(schema.names, source)
    nested = [field.name for field in schema if pa.types.is_nested(field.type)]
    for name in schema.names:
        if any(name.startswith(f"{other}.") for other in nested):
            raise DataError(
                f"{source}: column {name!r} is called as a field of the records in another.",
                remedy="Rename the one, or leave out the other.",
            )


def _outline(schema: pa.Schema) -> pa.Schema:
    """The same columns, with lists of nothing for those of lists and records."""
    for at, field in enumerate(schema):
        if pa.types.is_nested(field.type):
            schema = schema.set(at, pa.field(field.name, pa.list_(pa.null())))
    return schema


def _sound(batch: pa.RecordBatch) -> pa.RecordBatch:
    # Arrow reads text as it lies there; what is not text would fail far from here.
    batch.validate(full=True)
    return batch
