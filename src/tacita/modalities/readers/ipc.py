"""Arrow's own files, `.arrow` and `.feather`: each message says its sizes, and they are checked first."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from tacita.errors import DataError
from tacita.modalities.readers.types import plain_columns, written_out
from tacita.modalities.readers.values import check_unpacked, damaged

_MAGIC = b"ARROW1"
_DICTIONARY = 2


def read_ipc(path: Path) -> pa.Table:
    """A whole file as one table."""
    with _opened(path, whole=True) as reader:
        size, packed, batches = 0, path.stat().st_size, list[pa.RecordBatch]()
        for batch in reader:
            batches.append(_sound(batch))
            size += written_out(batch)
            check_unpacked(str(path), size, packed)
        return pa.Table.from_batches(batches, reader.schema).unify_dictionaries()


def stream_ipc(path: Path, chunk: int) -> Iterator[pa.Table]:
    """A file as consecutive tables of at most `chunk` rows; a batch of the file is in memory at a time."""
    with _opened(path, whole=False) as reader:
        for batch in reader:
            check_unpacked(str(path), written_out(_sound(batch)), path.stat().st_size)
            table = plain_columns(pa.Table.from_batches([batch]), str(path))
            for start in range(0, len(table), chunk):
                yield table.slice(start, chunk)


@contextmanager
def _opened(path: Path, *, whole: bool) -> Iterator[pa.RecordBatchStreamReader]:
    with damaged(path, "an Arrow file"), pa.memory_map(str(path)) as file:
        if file.read(4) == b"FEA1":
            raise DataError(
                f"{path}: Feather of version 1 is not read.", remedy="Save it again with pandas."
            )
        file.seek(0)
        begin = 8 if file.read(6) == _MAGIC else 0
        file.seek(begin)
        _check_messages(path, file, whole=whole)
        file.seek(begin)
        yield pa.ipc.open_stream(file)


def _check_messages(path: Path, file: pa.MemoryMappedFile, *, whole: bool) -> None:
    """Refuses batches that would take far more memory than the file holds: packed ones say how much."""
    total, packed = 0, path.stat().st_size
    reader = pa.ipc.MessageReader.open_stream(file)
    while True:
        try:
            message = reader.read_next_message()
        except StopIteration:
            return
        if message.type not in ("record batch", "dictionary"):
            continue
        size = _unpacked(message.metadata.to_pybytes(), message.body)
        total = total + size if whole else size
        check_unpacked(str(path), total, packed)


def _unpacked(head: bytes, body: pa.Buffer) -> int:
    """Bytes of a batch in memory, by its flatbuffer: rows, and the size at the front of packed buffers."""
    message = _Table(head, struct.unpack_from("<I", head)[0])
    batch = message.table(2)
    if message.number(1, "<B") == _DICTIONARY:
        batch = batch.table(1)
    # A column of nothing, or of one value said once, has rows and hardly any bytes.
    size = 8 * sum(abs(rows) for rows, _ in batch.pairs(1))
    is_packed = batch.place(3) is not None
    for offset, length in batch.pairs(2):
        size += length
        if is_packed and length >= 8:
            size += max(0, struct.unpack("<q", body.slice(offset, 8).to_pybytes())[0])
    return size


class _Table:
    """A table of a flatbuffer: fields by their number, absent ones are their default."""

    def __init__(self, data: bytes, at: int) -> None:
        self._data = data
        self._at = at
        self._fields = at - struct.unpack_from("<i", data, at)[0]

    def place(self, field: int) -> int | None:
        """Where a field lies, if it is there."""
        width = struct.unpack_from("<H", self._data, self._fields)[0]
        entry = 4 + 2 * field
        if entry + 2 > width:
            return None
        offset = struct.unpack_from("<H", self._data, self._fields + entry)[0]
        return self._at + offset if offset else None

    def number(self, field: int, kind: str) -> int:
        """A number, 0 where it is absent."""
        at = self.place(field)
        return 0 if at is None else int(struct.unpack_from(kind, self._data, at)[0])

    def table(self, field: int) -> _Table:
        """Another table that a field points to."""
        at = self.place(field)
        if at is None:
            raise ValueError("a message without its content")
        return _Table(self._data, at + struct.unpack_from("<I", self._data, at)[0])

    def pairs(self, field: int) -> Iterator[tuple[int, int]]:
        """A vector of pairs of numbers."""
        at = self.place(field)
        if at is None:
            return
        at += struct.unpack_from("<I", self._data, at)[0]
        count = struct.unpack_from("<I", self._data, at)[0]
        for i in range(min(count, len(self._data) // 16)):
            yield struct.unpack_from("<qq", self._data, at + 4 + 16 * i)


def _sound(batch: pa.RecordBatch) -> pa.RecordBatch:
    batch.validate(full=True)
    return batch
