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
_LEAST = 2**16
"""Bytes that a text may have whatever is said of its size, which may be forged."""


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
        if any(group.total_byte_size > LARGEST for group in _groups(file)):
            raise DataError(
                f"{path}: a row group declares more than {LARGEST // 2**30} GiB.",
                remedy="Write the file with smaller row groups.",
            )
        # Numbers take at least this, however few bytes of the file say them.
        size = 8 * file.metadata.num_rows * file.metadata.num_columns
        check_unpacked(str(path), size, path.stat().st_size)
        yield file


def _groups(file: pq.ParquetFile) -> list[pq.RowGroupMetaData]:
    # Not the columns of a group: where their facts contradict each other Arrow ends the process.
    return [file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)]


def _rows_at_once(file: pq.ParquetFile) -> int:
    """Rows that stay below the size of a piece even if each of them holds all that a group says it has."""
    if all(pa.types.is_primitive(kind) for kind in file.schema_arrow.types):
        return _ROWS
    size = max((group.total_byte_size for group in _groups(file)), default=0)
    return max(1, min(_ROWS, _PIECE // max(size, _LEAST)))


def _sound(batch: pa.RecordBatch) -> pa.RecordBatch:
    # Arrow reads text as it lies there; what is not text would fail far from here.
    batch.validate(full=True)
    return batch
