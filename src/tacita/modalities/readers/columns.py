"""Columns of Arrow tables: as numbers, as text, as labels, or as the names of the rows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tacita.errors import ConfigError, DataError
from tacita.modalities.readers.rows import RowName
from tacita.tasks.declared import Declared
from tacita.tasks.labels import arrow_labels
from tacita.words import nearest

_BLANK = frozenset({"", "nan"})
NO_NUMBER = pa.array(["", "nan", "na", "n/a", "none", "null"])
"""What a cell of a column of numbers may say, in lower case, where there is none."""


def take_column(
    table: pa.Table, name: str | None, source: str, argument: str
) -> tuple[NDArray[Any] | Declared | None, pa.Table]:
    """A column taken out of the features as raw values, and the table that is left."""
    if name is None:
        return None, table
    if name not in table.column_names:
        near = nearest(name, table.column_names)
        raise ConfigError(
            f"{argument}={name!r} is neither a column of {source} nor a file.",
            remedy=f"Did you mean {near!r}?"
            if near
            else f"Columns: {', '.join(table.column_names[:10])}.",
        )
    _refuse_bytes(table[name], name, source)
    if pa.types.is_nested(table[name].type):
        raise DataError(
            f"{source}: column {name!r} ({argument}) holds {kind_of(table[name])}.",
            remedy="Name a column with one number or one text a row.",
        )
    return arrow_labels(table[name]), table.drop_columns([name])


def take_ids(
    table: pa.Table, told: str | None, source: str
) -> tuple[tuple[str, ...], str | None, pa.Table]:
    """The names of the rows, the column they came from, and the table that is left.

    Ids are the column that is told, or else one called `id` whose values are all different: what a column
    holds never makes it ids. Raises `ConfigError` for one that there is not, or that names no row.
    """
    if told is not None and told not in table.column_names:
        near = nearest(told, table.column_names)
        raise ConfigError(
            f"id_column={told!r} is no column of {source}.",
            remedy=f"Did you mean {near!r}?"
            if near
            else f"Columns: {', '.join(table.column_names[:10])}.",
        )
    for name in ids_named(table.column_names, told):
        ids = tuple(strings(table[name]).to_pylist()) if _all_different(table[name]) else ()
        if ids and not any(is_blank(value) for value in ids):
            return ids, name, table.drop_columns([name])
    if told is not None:
        raise ConfigError(
            f"id_column={told!r}: its values are not all different and filled in {source}.",
            remedy="Name a column that tells the rows apart.",
        )
    return (), None, table


def ids_named(names: Iterable[str], told: str | None) -> list[str]:
    """The columns that may hold ids, by their name."""
    return [told] if told is not None else [name for name in names if name.lower() == "id"]


def _refuse_bytes(column: pa.ChunkedArray, name: str, source: str) -> None:
    """Raises `DataError` for a column of bytes, which is text in another encoding or no text at all."""
    if pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
        raise DataError(
            f"{source}: column {name!r} holds bytes that are not UTF-8 text.",
            remedy="Write it as text, or leave it out.",
        )


def parse_numbers(column: pa.ChunkedArray) -> NDArray[np.floating[Any]] | None:
    """A column as floats with NaN where empty, or None if some value is no number.

    They are of 64 bits, unless the column's own type has fewer than 32 or is that of floats of 32.
    """
    if pa.types.is_dictionary(column.type) or pa.types.is_boolean(column.type):
        return None
    try:
        if _is_text(column.type):
            column = _cast_text(column)
        elif (
            pa.types.is_null(column.type)
            or pa.types.is_primitive(column.type)
            or (pa.types.is_decimal(column.type))
        ):
            if pa.types.is_temporal(column.type):
                return None
            column = pc.cast(column, _floats(column.type), safe=False)
        else:
            return None
    except pa.ArrowInvalid:
        return None
    return np.asarray(column.to_numpy())


def need_numbers(
    column: pa.ChunkedArray, name: str, source: str, row_name: RowName
) -> NDArray[np.floating[Any]]:
    """A column as floats; raises `DataError` naming the first cell that is no number."""
    numbers = parse_numbers(column)
    if numbers is not None:
        return numbers
    for position, text in enumerate(strings(column).to_pylist()):
        if parse_numbers(pa.chunked_array([[text]], pa.string())) is None:
            raise DataError(
                f"{source}: {text!r} at {row_name(position)}, column {name!r} is not a number.",
                remedy="The model was trained with numbers in this column.",
            )
    raise DataError(
        f"{source}: column {name!r} is {column.type}, but the model expects numbers.",
        remedy="Convert the column to numbers.",
    )


def strings(column: pa.ChunkedArray, name: str | None = None) -> pa.ChunkedArray:
    """Any column as trimmed text; booleans as Python and pandas write them."""
    if pa.types.is_boolean(column.type):
        return pc.if_else(column, "True", "False")
    try:
        return pc.utf8_trim_whitespace(pc.cast(column, pa.string()))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        which = "a column" if name is None else f"column {name!r}"
        raise DataError(
            f"{which} of {kind_of(column)} is neither numbers nor text.",
            remedy="Remove the column, or spread its values over columns of their own.",
        ) from error


def kind_of(column: pa.ChunkedArray) -> str:
    """What the cells of a column are, in words: of nested ones only that they are so is known."""
    return "lists or records" if pa.types.is_nested(column.type) else f"type {column.type}"


def blank_cells(text: pa.ChunkedArray) -> NDArray[np.bool_]:
    """`(N,)`: which cells of text hold nothing."""
    lower = pc.utf8_lower(text)
    blank = pc.is_in(lower, value_set=pa.array([*_BLANK, None], pa.string()))
    return np.asarray(blank.to_numpy(), dtype=bool)


def is_blank(value: str | None) -> bool:
    """Whether a cell holds nothing."""
    return value is None or value.lower() in _BLANK


def _cast_text(text: pa.ChunkedArray) -> pa.ChunkedArray:
    try:
        return pc.cast(text, pa.float64())
    except pa.ArrowInvalid:
        # Only now pay for spaces, and for looking at every spelling of "missing".
        text = pc.utf8_trim_whitespace(text)
        blank = pc.is_in(pc.utf8_lower(text), value_set=NO_NUMBER.cast(text.type))
        return pc.cast(pc.if_else(blank, pa.scalar(None, text.type), text), pa.float64())


def _floats(kind: pa.DataType) -> pa.DataType:
    """The type of floats that holds such numbers."""
    narrow = pa.types.is_floating(kind) or pa.types.is_integer(kind)
    exact = kind.bit_width < 32 or pa.types.is_float32(kind) if narrow else False
    return pa.float32() if exact else pa.float64()


def _is_text(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def _all_different(column: pa.ChunkedArray) -> bool:
    return (
        len(column) > 1
        and not pa.types.is_nested(column.type)
        and not pa.types.is_dictionary(column.type)
        and not pa.types.is_binary(column.type)
        and column.null_count == 0
        and int(pc.count_distinct(column).as_py()) == len(column)
    )
