"""Arrow's many types of column as the few that anything can be done with."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tacita.errors import DataError

_TEXTS = (
    pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary,
    pa.types.is_fixed_size_binary,
)  # fmt: skip


def plain_columns(table: pa.Table, source: str) -> pa.Table:
    """The same table with text as text and bytes that are text as text, whatever they lay in as.

    Raises `DataError` naming a column of a type that belongs to one library alone, such as periods.

    >>> view = pa.table({"a": pa.array(["u"], pa.string_view())})
    >>> plain_columns(view, "example")["a"].type
    DataType(string)
    """
    for at, name in enumerate(table.column_names):
        column = table[at]
        kind = _plain_type(column.type, name, source)
        if kind != column.type:
            storage = _storage(column) if isinstance(column.type, pa.BaseExtensionType) else column
            table = table.set_column(at, name, pc.cast(storage, kind))
        elif pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
            try:
                table = table.set_column(at, name, pc.cast(column, pa.large_string()))
            except pa.ArrowInvalid:
                continue  # Bytes that are no text hurt nobody who does not ask for them.
    return table


def check_types(schema: pa.Schema, source: str) -> None:
    """Raises `DataError` as `plain_columns` does, for the types alone."""
    for field in schema:
        _plain_type(field.type, field.name, source)


def written_out(batch: pa.RecordBatch) -> int:
    """Bytes that the texts of a batch take where each cell has its own, which in it may share one.

    >>> words = pa.array(["four"] * 100).dictionary_encode()
    >>> written_out(pa.record_batch({"a": words}))
    400
    """
    return sum(map(_written_out, batch.columns))


def _written_out(column: pa.Array) -> int:
    kind = column.type
    if pa.types.is_dictionary(kind):
        lengths = _lengths(column.dictionary)
        return 0 if lengths is None else int(lengths[column.indices.drop_null().to_numpy()].sum())
    if pa.types.is_string_view(kind) or pa.types.is_binary_view(kind):
        lengths = _lengths(column)
        return 0 if lengths is None else int(lengths.sum())
    return 0


def _lengths(texts: pa.Array) -> NDArray[np.int64] | None:
    """`(N,)`: the bytes of each text; None for what is no text."""
    kind = texts.type
    if pa.types.is_string_view(kind) or pa.types.is_binary_view(kind):
        # A view begins with its length, of four numbers of 32 bits.
        views = np.frombuffer(texts.buffers()[1], np.int32, 4 * (len(texts) + texts.offset))
        lengths = views[4 * texts.offset :: 4].astype(np.int64)
        return np.where(np.asarray(texts.is_valid()), lengths, 0)
    if not any(is_kind(kind) for is_kind in _TEXTS):
        return None
    return np.asarray(pc.fill_null(pc.binary_length(texts), 0)).astype(np.int64)


def _plain_type(kind: pa.DataType, name: str, source: str) -> pa.DataType:
    if pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_binary_view(kind) or pa.types.is_fixed_size_binary(kind):
        return pa.binary()
    if pa.types.is_dictionary(kind):
        inner = _plain_type(kind.value_type, name, source)
        return kind if inner == kind.value_type else inner
    if not isinstance(kind, pa.BaseExtensionType):
        return kind
    if kind.extension_name == "arrow.bool8":
        return pa.bool_()
    if kind.extension_name == "arrow.json":
        return pa.string()
    raise DataError(
        f"{source}: column {name!r} is of type {kind.extension_name}, which is neither numbers nor text.",
        remedy="Turn it into text or into numbers, or leave it out.",
    )


def _storage(column: pa.ChunkedArray) -> pa.ChunkedArray:
    chunks = [chunk.storage for chunk in column.chunks]
    return pa.chunked_array(chunks, column.type.storage_type)
