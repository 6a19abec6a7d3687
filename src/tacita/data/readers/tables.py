"""Arrow tables to numbers: which columns are numbers, which are categories, and their codes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray

from tacita.data.batch import Missing
from tacita.data.dataset import Schema
from tacita.data.readers.files import nearest
from tacita.data.readers.labels import arrow_labels
from tacita.data.readers.samples import Samples
from tacita.data.readers.values import check_finite, to_float32
from tacita.errors import ConfigError, DataError

MISSING = "missing"
"""The category of an empty cell under `missing="impute"`."""
_BLANK = frozenset({"", "nan"})
_NO_NUMBER = pa.array(["", "nan", "na", "n/a", "none", "null"])
_MANY = 1000

RowName = Callable[[int], str]


def spreadsheet_row(start: int = 0) -> RowName:
    """Names of rows as a spreadsheet counts them: the header is row 1."""
    return lambda position: f"row {start + position + 2}"


def array_row(start: int = 0) -> RowName:
    """Names of rows as arrays count them, from 0."""
    return lambda position: f"row {start + position}"


def table_samples(
    table: pa.Table,
    *,
    labels: str | None,
    group: str | None,
    missing: Missing,
    source: str,
    row_name: RowName,
) -> Samples:
    """A table whose columns are yet unknown: each becomes numbers, categories, or the rows' ids."""
    raw_labels, table = take_column(table, labels, source, "labels")
    raw_groups, table = take_column(table, group, source, "group")
    parsed = {name: parse_numbers(table[name]) for name in table.column_names}
    ids, id_column, table = take_ids(table, parsed)
    if not table.num_columns:
        raise DataError(
            f"{source}: no column is left to learn from.",
            remedy="Give at least one column beside the id, the label and the group.",
        )
    categories: list[tuple[str, ...]] = []
    arrays: list[NDArray[np.float32]] = []
    for name in table.column_names:
        values, names = _infer(table[name], parsed[name], name, missing, source, row_name)
        arrays.append(values)
        categories.append(names)
    return Samples(
        "tables",
        torch.from_numpy(np.stack(arrays, 1)),
        source,
        labels=raw_labels,
        groups=raw_groups,
        ids=ids,
        columns=tuple(table.column_names),
        categories=tuple(categories),
        target=labels,
        group=group,
        id_column=id_column,
    )


def table_like(
    table: pa.Table, schema: Schema, *, missing: Missing, source: str, row_name: RowName
) -> Samples:
    """A table with the columns and the categories of a schema, matched by name."""
    absent = [name for name in schema.columns if name not in table.column_names]
    if absent:
        near = nearest(absent[0], table.column_names)
        raise DataError(
            f"{source}: {len(absent)} column{'s' * (len(absent) > 1)} of the model missing:"
            f" {', '.join(repr(name) for name in absent[:5])}.",
            remedy=f"Did you mean {near!r}? Columns are matched by name."
            if near
            else "Columns are matched by name.",
        )
    arrays = [
        _numbers_like(table[name], name, missing, source, row_name)
        if not names
        else _codes_like(table[name], name, names, missing, source, row_name)
        for name, names in zip(schema.columns, schema.categories, strict=True)
    ]
    ids: tuple[str, ...] = ()
    if schema.id_column in table.column_names:
        ids = tuple(text or "" for text in strings(table[schema.id_column]).to_pylist())
    labels = arrow_labels(table[schema.target]) if schema.target in table.column_names else None
    return Samples(
        "tables",
        torch.from_numpy(np.stack(arrays, 1)),
        source,
        labels=labels,
        ids=ids,
        columns=schema.columns,
        categories=schema.categories,
        target=schema.target,
        id_column=schema.id_column,
    )


def take_column(
    table: pa.Table, name: str | None, source: str, argument: str
) -> tuple[NDArray[np.generic] | None, pa.Table]:
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
    return arrow_labels(table[name]), table.drop_columns([name])


def take_ids(
    table: pa.Table, parsed: Mapping[str, NDArray[np.float64] | None]
) -> tuple[tuple[str, ...], str | None, pa.Table]:
    """The names of the rows, the column they came from, and the table that is left.

    Ids are the column called `id`, or else the first text column, whose values are all different.
    """
    named = [name for name in table.column_names if name.lower() == "id"]
    text = [name for name in table.column_names if parsed[name] is None]
    for name in (*named, *text):
        if _all_different(table[name]):
            ids = tuple(strings(table[name]).to_pylist())
            if not any(is_blank(value) for value in ids):
                return ids, name, table.drop_columns([name])
    return (), None, table


def parse_numbers(column: pa.ChunkedArray) -> NDArray[np.float64] | None:
    """A column as float64 with NaN where empty, or None if some value is no number."""
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
            column = pc.cast(column, pa.float64(), safe=False)
        else:
            return None
    except pa.ArrowInvalid:
        return None
    return np.asarray(column.to_numpy(), dtype=np.float64)


def _cast_text(text: pa.ChunkedArray) -> pa.ChunkedArray:
    try:
        return pc.cast(text, pa.float64())
    except pa.ArrowInvalid:
        # Only now pay for spaces, and for looking at every spelling of "missing".
        text = pc.utf8_trim_whitespace(text)
        blank = pc.is_in(pc.utf8_lower(text), value_set=_NO_NUMBER.cast(text.type))
        return pc.cast(pc.if_else(blank, pa.scalar(None, text.type), text), pa.float64())


def _infer(
    column: pa.ChunkedArray,
    numbers: NDArray[np.float64] | None,
    name: str,
    missing: Missing,
    source: str,
    row_name: RowName,
) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    if numbers is not None:
        return _finite(numbers, name, missing, source, row_name), ()
    text = strings(column)
    blank = _blank(text)
    if blank.any() and missing == "refuse":
        raise _empty_cells(blank, name, source, row_name)
    names = {value for value in pc.unique(text).to_pylist() if not is_blank(value)}
    if len(names) > _MANY:
        raise DataError(
            f"{source}: column {name!r} is text with {len(names)} different values;"
            f" at most {_MANY} can be categories.",
            remedy="Remove the column, merge rare values, or turn it into numbers.",
        )
    if blank.any():
        names.add(MISSING)
    order = tuple(sorted(names))
    return _encode(text, order, blank).astype(np.float32), order


def _numbers_like(
    column: pa.ChunkedArray, name: str, missing: Missing, source: str, row_name: RowName
) -> NDArray[np.float32]:
    numbers = parse_numbers(column)
    if numbers is None:
        texts = strings(column)
        for position, text in enumerate(texts.to_pylist()):
            if parse_numbers(pa.chunked_array([[text]], pa.string())) is None:
                raise DataError(
                    f"{source}: {text!r} at {row_name(position)}, column {name!r} is not a number.",
                    remedy="The model was trained with numbers in this column.",
                )
        raise DataError(
            f"{source}: column {name!r} is {column.type}, but the model expects numbers.",
            remedy="Convert the column to numbers.",
        )
    return _finite(numbers, name, missing, source, row_name)


def _codes_like(
    column: pa.ChunkedArray,
    name: str,
    names: tuple[str, ...],
    missing: Missing,
    source: str,
    row_name: RowName,
) -> NDArray[np.float32]:
    text = strings(column)
    blank = _blank(text)
    if blank.any() and (missing == "refuse" or MISSING not in names):
        raise _empty_cells(blank, name, source, row_name, known=MISSING in names)
    codes = _encode(text, names, blank)
    unknown = codes < 0
    if unknown.any():
        if MISSING not in names:
            position = int(unknown.argmax())
            value = text[position].as_py()
            near = nearest(value, names)
            raise DataError(
                f"{source}: {value!r} at {row_name(position)}, column {name!r} is a category that"
                " the model does not know.",
                remedy=f"Did you mean {near!r}?" if near else f"Known: {', '.join(names[:10])}.",
            )
        codes[unknown] = names.index(MISSING)
    return codes.astype(np.float32)


def _finite(
    numbers: NDArray[np.float64], name: str, missing: Missing, source: str, row_name: RowName
) -> NDArray[np.float32]:
    def place(index: tuple[int, ...]) -> str:
        return f"{row_name(index[0])}, column {name!r}"

    values = to_float32(numbers, source, place)
    check_finite(values, source, place, missing=missing)
    return values


def _encode(
    text: pa.ChunkedArray, names: tuple[str, ...], blank: NDArray[np.bool_]
) -> NDArray[np.int64]:
    codes = pc.fill_null(pc.index_in(text, value_set=pa.array(names, pa.string())), -1)
    codes = np.array(codes.to_numpy(), dtype=np.int64)
    if blank.any():
        codes[blank] = names.index(MISSING)
    return codes


def _blank(text: pa.ChunkedArray) -> NDArray[np.bool_]:
    lower = pc.utf8_lower(text)
    blank = pc.is_in(lower, value_set=pa.array([*_BLANK, None], pa.string()))
    return np.asarray(blank.to_numpy(), dtype=bool)


def is_blank(value: str | None) -> bool:
    return value is None or value.lower() in _BLANK


def _empty_cells(
    blank: NDArray[np.bool_], name: str, source: str, row_name: RowName, *, known: bool = True
) -> DataError:
    return DataError(
        f"{source}: {int(blank.sum())} empty cell{'s' * bool(blank.sum() > 1)} in column {name!r},"
        f" the first at {row_name(int(blank.argmax()))}.",
        remedy="Fill them in, or pass missing='impute' (--missing impute) to make them a category."
        if known
        else "Fill them in: the model was trained without empty cells in this column.",
    )


def strings(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Any column as trimmed text; booleans as Python and pandas write them."""
    if pa.types.is_boolean(column.type):
        return pc.if_else(column, "True", "False")
    try:
        return pc.utf8_trim_whitespace(pc.cast(column, pa.string()))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataError(
            f"a column of type {column.type} is neither numbers nor text.",
            remedy="Remove the column, or spread its values over columns of their own.",
        ) from error


def _is_text(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def _all_different(column: pa.ChunkedArray) -> bool:
    return (
        len(column) > 1
        and not pa.types.is_nested(column.type)
        and not pa.types.is_dictionary(column.type)
        and column.null_count == 0
        and int(pc.count_distinct(column).as_py()) == len(column)
    )
