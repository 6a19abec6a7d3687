"""Arrow tables to numbers: which columns are numbers, which are categories, and their codes."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator

from tacita.data.batch import InputSpec
from tacita.data.modality import Meta
from tacita.data.reading import Missing, Samples
from tacita.errors import DataError
from tacita.modalities.readers.columns import (
    blank_cells,
    is_blank,
    need_numbers,
    parse_numbers,
    strings,
    take_column,
    take_ids,
)
from tacita.modalities.readers.rows import RowName
from tacita.modalities.readers.values import check_finite, to_floats, to_tensor
from tacita.tasks.labels import arrow_labels
from tacita.words import nearest

MISSING = "missing"
"""The category of an empty cell under `missing="impute"`."""
_MANY = 1000
_MOST_COLUMNS = 1_000_000


class TablesMeta(Meta):
    """`shape (F,)`; columns: their names; categories: the names in each column, none for a number."""

    modality = "tables"
    rank = 1

    columns: tuple[str, ...] = Field(default=(), max_length=_MOST_COLUMNS)
    categories: tuple[tuple[str, ...], ...] = Field(default=(), max_length=_MOST_COLUMNS)

    @model_validator(mode="after")
    def _as_wide_as_the_rows(self) -> Self:
        for name in ("columns", "categories"):
            count = len(getattr(self, name))
            if count not in (0, self.shape[0]):
                raise ValueError(f"{count} {name} of rows of {self.shape[0]}")
        return self

    @property
    def spec(self) -> InputSpec:
        sizes = tuple(len(names) for names in self.categories) or (0,) * self.shape[0]
        return InputSpec(self.modality, tuple(self.shape), cardinalities=sizes)


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
    arrays: list[NDArray[np.floating[Any]]] = []
    for name in table.column_names:
        values, names = _infer(table[name], parsed[name], name, missing, source, row_name)
        arrays.append(values)
        categories.append(names)
    x = torch.from_numpy(np.stack(arrays, 1))
    meta = TablesMeta.of(
        x, columns=tuple(table.column_names), categories=tuple(categories), id_column=id_column
    )
    return Samples(x, meta, source, raw_labels, raw_groups, ids)


def row_array(x: NDArray[Any], *, missing: Missing, source: str, start: int = 0) -> Samples:
    """`(rows, columns)` of numbers."""
    if x.ndim != 2:
        raise DataError(
            f"{source}: a table of shape {x.shape}; (rows, columns) is needed.",
            remedy="Reshape the array, or pass modality='series' or 'images'.",
        )

    def place(index: tuple[int, ...]) -> str:
        return f"row {start + index[0]}, column {index[1]}"

    values = to_floats(x, source, place)
    check_finite(values, source, place, missing=missing)
    rows = to_tensor(values)
    return Samples(rows, TablesMeta.of(rows), source)


def by_name(table: pa.Table, meta: TablesMeta, source: str) -> tuple[pa.Table, TablesMeta]:
    """For a model of a nameless array, the table's columns and the model's by their position."""
    if meta.columns:
        return table, meta
    width = meta.shape[0]
    kept = [name for name in table.column_names if name not in (meta.target, meta.group)]
    if len(kept) != width:
        raise DataError(
            f"{source}: {len(kept)} columns, but the model was trained with {width}.",
            remedy="Give the same columns in the same order.",
        )
    names = tuple(str(i) for i in range(width))
    facts = {"columns": names, "categories": ((),) * width, "target": None}
    return table.select(kept).rename_columns(list(names)), meta.model_copy(update=facts)


def table_like(
    table: pa.Table, meta: TablesMeta, *, missing: Missing, source: str, row_name: RowName
) -> Samples:
    """A table with the columns and the categories that a model knows, matched by name."""
    absent = [name for name in meta.columns if name not in table.column_names]
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
        for name, names in zip(meta.columns, meta.categories, strict=True)
    ]
    ids: tuple[str, ...] = ()
    if meta.id_column in table.column_names:
        ids = tuple(text or "" for text in strings(table[meta.id_column]).to_pylist())
    labels = arrow_labels(table[meta.target]) if meta.target in table.column_names else None
    x = torch.from_numpy(np.stack(arrays, 1))
    return Samples(x, meta.like(x), source, labels, ids=ids)


def _infer(
    column: pa.ChunkedArray,
    numbers: NDArray[np.floating[Any]] | None,
    name: str,
    missing: Missing,
    source: str,
    row_name: RowName,
) -> tuple[NDArray[np.floating[Any]], tuple[str, ...]]:
    if numbers is not None:
        return _finite(numbers, name, missing, source, row_name), ()
    text = strings(column, name)
    blank = blank_cells(text)
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
) -> NDArray[np.floating[Any]]:
    numbers = need_numbers(column, name, source, row_name)
    return _finite(numbers, name, missing, source, row_name)


def _codes_like(
    column: pa.ChunkedArray,
    name: str,
    names: tuple[str, ...],
    missing: Missing,
    source: str,
    row_name: RowName,
) -> NDArray[np.floating[Any]]:
    text = strings(column)
    blank = blank_cells(text)
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
    numbers: NDArray[np.floating[Any]], name: str, missing: Missing, source: str, row_name: RowName
) -> NDArray[np.floating[Any]]:
    def place(index: tuple[int, ...]) -> str:
        return f"{row_name(index[0])}, column {name!r}"

    values = to_floats(numbers, source, place)
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
