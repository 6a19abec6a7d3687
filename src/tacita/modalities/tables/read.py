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
from tacita.data.notes import Note
from tacita.data.reading import Decimal, Missing, Samples
from tacita.errors import DataError
from tacita.modalities.readers.columns import (
    blank_cells,
    ids_named,
    is_blank,
    need_numbers,
    parse_numbers,
    strings,
    take_column,
    take_ids,
)
from tacita.modalities.readers.numbers import Written, with_numbers
from tacita.modalities.readers.rows import RowName
from tacita.modalities.readers.values import check_finite, to_floats, to_tensor
from tacita.modalities.tables.dates import DateColumn, date_columns, spread
from tacita.modalities.tables.told import Told, as_words, plain
from tacita.tasks.labels import arrow_labels
from tacita.words import nearest

MISSING = "missing"
"""The category of an empty cell under `missing="impute"`."""
_MANY = 1000
_FEW = 20
"""As many different values are categories even where each occurs once."""
_LEAVE_OUT = (
    "leave it out with ignore (--ignore), or learn from it alone as texts with text (--text)."
)
_MOST_COLUMNS = 1_000_000


class TablesMeta(Meta):
    """`shape (F,)`; columns: their names; categories: the names in each column, none for a number.

    dates: the columns of a table that become several of these, as parts of dates.
    """

    modality = "tables"
    rank = 1

    columns: tuple[str, ...] = Field(default=(), max_length=_MOST_COLUMNS)
    categories: tuple[tuple[str, ...], ...] = Field(default=(), max_length=_MOST_COLUMNS)
    dates: tuple[DateColumn, ...] = Field(default=(), max_length=_MOST_COLUMNS)

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
    weight: str | None,
    missing: Missing,
    source: str,
    row_name: RowName,
    told: Told,
    decimal: Decimal | None = None,
    ids_in: str | None = None,
) -> Samples:
    """A table whose columns are yet unknown: each becomes numbers, categories, parts of dates, or ids."""
    raw_labels, table = take_column(table, labels, source, "labels")
    raw_groups, table = take_column(table, group, source, "group")
    raw_weights, table = take_column(table, weight, source, "weight")
    table = told.kept(table, source)
    table, written, numbers = with_numbers(
        table,
        written=Written(decimal),
        known=False,
        missing=missing,
        source=source,
        row_name=row_name,
        aside={*told.categorical, *ids_named(table.column_names, ids_in)},
        surely=told.numeric,
    )
    parsed = {name: parse_numbers(table[name]) for name in table.column_names}
    aside = [*dict.fromkeys((*told.categorical, *told.numeric))]
    named = ids_named(table.column_names, ids_in)
    others = [n for n in parsed if parsed[n] is None and n not in aside and n not in named]
    dates, notes = date_columns(table, others, source)
    table, odd = spread(table, dates, missing=missing, source=source, row_name=row_name)
    parsed |= {n: parse_numbers(table[n]) for date in dates for n in date.columns}
    parsed |= dict.fromkeys(told.categorical)
    parsed |= {n: _told_numbers(table[n], n, source, row_name) for n in told.numeric}
    ids, id_column, _ = take_ids(table.drop_columns(aside), ids_in, source)
    table = table if id_column is None else table.drop_columns([id_column])
    if not table.num_columns:
        raise DataError(
            f"{source}: no column is left to learn from.",
            remedy="Give at least one column beside the id, the label and the group.",
        )
    categories: list[tuple[str, ...]] = []
    arrays: list[NDArray[np.floating[Any]]] = []
    for name in table.column_names:
        sure = name in told.categorical
        values, names = _infer(table[name], parsed[name], name, missing, source, row_name, sure)
        arrays.append(values)
        categories.append(names)
    x = torch.from_numpy(np.stack(arrays, 1))
    meta = TablesMeta.of(
        x,
        columns=tuple(table.column_names),
        categories=tuple(categories),
        dates=tuple(dates),
        id_column=id_column,
        decimal=written.decimal,
        marks=dict(written.marks),
    )
    said = (*numbers, *notes, *odd)
    return Samples(x, meta, source, raw_labels, raw_groups, ids, notes=said, weights=raw_weights)


def unseen_values(column: str, count: int, first: str) -> Note:
    """The note on values of a column that are none of the categories that a model learnt from."""
    end = f"of column {column!r} not in the training data, taken for none of its categories"
    return Note((f"value {end}", f"values {end}"), count, first)


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


def _by_position(table: pa.Table, meta: TablesMeta, source: str) -> tuple[pa.Table, TablesMeta]:
    """For a model of a nameless array, the table's columns and the model's by their position."""
    if meta.columns:
        return table, meta
    width = meta.shape[0]
    kept = [
        name for name in table.column_names if name not in (meta.target, meta.group, meta.weight)
    ]
    if len(kept) != width:
        raise DataError(
            f"{source}: {len(kept)} columns, but the model was trained with {width}.",
            remedy="Give the same columns in the same order.",
        )
    names = tuple(str(i) for i in range(width))
    facts = {"columns": names, "categories": ((),) * width}
    return table.select(kept).rename_columns(list(names)), meta.model_copy(update=facts)


def table_like(
    table: pa.Table, meta: TablesMeta, *, missing: Missing, source: str, row_name: RowName
) -> Samples:
    """A table with the columns, the categories and the dates that a model knows, matched by name."""
    labels = arrow_labels(table[meta.target]) if meta.target in table.column_names else None
    table, meta = _by_position(table, meta, source)
    learnt = {name for name, names in zip(meta.columns, meta.categories, strict=True) if not names}
    table, _, numbers = with_numbers(
        table,
        written=Written(meta.decimal, meta.marks),
        known=True,
        missing=missing,
        source=source,
        row_name=row_name,
        aside={name for name in table.column_names if name not in learnt},
        surely=learnt,
    )
    table, odd = spread(table, meta.dates, missing=missing, source=source, row_name=row_name)
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
    notes = [*numbers, *odd]
    arrays = [
        _numbers_like(table[name], name, missing, source, row_name)
        if not names
        else _codes_like(table[name], name, names, missing, source, row_name, notes)
        for name, names in zip(meta.columns, meta.categories, strict=True)
    ]
    ids: tuple[str, ...] = ()
    if meta.id_column in table.column_names:
        ids = tuple(text or "" for text in strings(table[meta.id_column]).to_pylist())
    x = torch.from_numpy(np.stack(arrays, 1))
    return Samples(x, meta.like(x), source, labels, ids=ids, notes=tuple(notes))


def _infer(
    column: pa.ChunkedArray,
    numbers: NDArray[np.floating[Any]] | None,
    name: str,
    missing: Missing,
    source: str,
    row_name: RowName,
    sure: bool,
) -> tuple[NDArray[np.floating[Any]], tuple[str, ...]]:
    """A column's numbers; or the codes of its categories, and these. sure: it was said to have such."""
    if numbers is not None:
        return _finite(numbers, name, missing, source, row_name), ()
    text = as_words(column, name)
    blank = blank_cells(text)
    if blank.any() and missing == "refuse":
        raise _empty_cells(blank, name, source, row_name)
    names = {value for value in pc.unique(text).to_pylist() if not is_blank(value)}
    if len(names) > _MANY:
        raise DataError(
            f"{source}: column {name!r} is text with {len(names)} different values;"
            f" at most {_MANY} can be categories.",
            remedy=f"Merge rare values, or {_LEAVE_OUT}",
        )
    filled = int((~blank).sum())
    if not sure and len(names) > max(_FEW, filled / 2):
        raise DataError(
            f"{source}: column {name!r} is text with {len(names)} different values in {filled} cells,"
            " which repeat too rarely for categories.",
            remedy=f"Say that they are all the same with categorical (--categorical), or {_LEAVE_OUT}",
        )
    if blank.any():
        names.add(MISSING)
    order = tuple(sorted(names))
    return _encode(text, order, blank).astype(np.float32), order


def _numbers_like(
    column: pa.ChunkedArray, name: str, missing: Missing, source: str, row_name: RowName
) -> NDArray[np.floating[Any]]:
    numbers = need_numbers(plain(column), name, source, row_name)
    return _finite(numbers, name, missing, source, row_name)


def _codes_like(
    column: pa.ChunkedArray,
    name: str,
    names: tuple[str, ...],
    missing: Missing,
    source: str,
    row_name: RowName,
    notes: list[Note],
) -> NDArray[np.floating[Any]]:
    """Codes of categories that stand; NaN, and a note, for a value that is none of them."""
    text = as_words(column, name)
    blank = blank_cells(text)
    if blank.any() and missing == "refuse":
        raise _empty_cells(blank, name, source, row_name, at_first=False)
    codes = _encode(text, names, blank)
    unseen = codes < 0
    if unseen.any():
        first = int(unseen.argmax())
        value = "nothing" if blank[first] else repr(text[first].as_py())
        notes.append(unseen_values(name, int(unseen.sum()), f"{value} at {row_name(first)}"))
    return np.where(unseen, np.nan, codes).astype(np.float32)


def _told_numbers(
    column: pa.ChunkedArray, name: str, source: str, row_name: RowName
) -> NDArray[np.floating[Any]]:
    """A column that was said to be numbers."""
    try:
        return need_numbers(plain(column), name, source, row_name)
    except DataError as error:
        raise DataError(
            error.message, remedy=f"Correct it, or leave {name!r} out of numeric (--numeric)."
        ) from error


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
        codes[blank] = names.index(MISSING) if MISSING in names else -1
    return codes


def _empty_cells(
    blank: NDArray[np.bool_], name: str, source: str, row_name: RowName, *, at_first: bool = True
) -> DataError:
    return DataError(
        f"{source}: {int(blank.sum())} empty cell{'s' * bool(blank.sum() > 1)} in column {name!r},"
        f" the first at {row_name(int(blank.argmax()))}.",
        remedy="Fill them in, or pass missing='impute' (--missing impute) to make them a category."
        if at_first
        else "Fill them in, or train with missing='impute' (--missing impute): this model was not.",
    )
