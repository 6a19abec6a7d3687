"""Parquet files, read in pieces: a file may write a value once and repeat it, so its size says little."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tacita.errors import DataError
from tacita.modalities.readers.types import plain_columns
from tacita.modalities.readers.values import LARGEST, check_unpacked, damaged

_PIECE = 2**27
"""Bytes that one piece may take in memory."""
_ROWS = 2**16


def read_parquet(path: Path) -> pa.Table:
    """A whole file. Raises `DataError` naming it as soon as it has grown beyond all measure."""
    batches: list[pa.RecordBatch] = []
    size, packed = 0, path.stat().st_size
    with _opened(path) as file:
        for batch in file.iter_batches(batch_size=_rows_at_once(file), use_threads=False):
            size += batch.nbytes
            check_unpacked(str(path), size, packed)
            batches.append(_sound(batch))
        table = pa.Table.from_batches(batches, file.schema_arrow)
        # Each piece has the words of its own rows.
        return table.unify_dictionaries()


def stream_parquet(path: Path, chunk: int) -> Iterator[pa.Table]:
    """A file as consecutive tables of at most `chunk` rows."""
    with _opened(path) as file:
        rows = min(chunk, _rows_at_once(file))
        for batch in file.iter_batches(batch_size=rows, use_threads=False):
            yield plain_columns(pa.Table.from_batches([_sound(batch)]), str(path))


@contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    with damaged(path, "parquet"), pq.ParquetFile(path) as file:
        columns = [chunk for group in _groups(file) for chunk in _chunks(group)]
        if any(chunk.total_uncompressed_size > LARGEST for chunk in columns):
            raise DataError(
                f"{path}: a column declares more than {LARGEST // 2**30} GiB.",
                remedy="Write the file with smaller row groups.",
            )
        # Numbers take at least this, however few bytes of the file say them.
        check_unpacked(str(path), 8 * sum(c.num_values for c in columns), path.stat().st_size)
        yield file


def _groups(file: pq.ParquetFile) -> list[pq.RowGroupMetaData]:
    return [file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)]


def _chunks(group: pq.RowGroupMetaData) -> list[pq.ColumnChunkMetaData]:
    return [group.column(i) for i in range(group.num_columns)]


def _rows_at_once(file: pq.ParquetFile) -> int:
    """Rows that stay below the size of a piece even if each of them holds all that a column chunk says."""
    sizes = [c.total_uncompressed_size for group in _groups(file) for c in _chunks(group)]
    return max(1, min(_ROWS, _PIECE // max(1, *sizes))) if sizes else _ROWS


def _sound(batch: pa.RecordBatch) -> pa.RecordBatch:
    # Arrow reads text as it lies there; what is not text would fail far from here.
    batch.validate(full=True)
    return batch
