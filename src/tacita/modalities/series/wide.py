"""Tables of one series a row: which columns are its steps, in their order, and which are not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from tacita.data.notes import Note
from tacita.data.reading import Missing, Samples
from tacita.errors import DataError
from tacita.modalities.readers.columns import (
    ids_named,
    need_numbers,
    parse_numbers,
    strings,
    take_column,
    take_ids,
)
from tacita.modalities.readers.numbers import Written, with_numbers
from tacita.modalities.readers.rows import RowName
from tacita.modalities.readers.values import check_finite, to_floats
from tacita.modalities.series.meta import SeriesMeta
from tacita.modalities.series.read import series_array
from tacita.words import listed


class Roles(NamedTuple):
    """Of the columns of a wide table, which one names the rows and which others are no steps."""

    ids: str | None
    aside: tuple[str, ...]


def first_roles(table: pa.Table, ids_in: str | None, source: str) -> Roles:
    """The roles of columns that are yet unknown: what is no number is no step."""
    parsed = {name: parse_numbers(table[name]) for name in table.column_names}
    _, ids, rest = take_ids(table, ids_in, source)
    return Roles(ids, tuple(n for n in rest.column_names if parsed[n] is None or _is_id(n)))


def roles_like(table: pa.Table, known: SeriesMeta) -> Roles:
    """Those of a table for a model, which may have learnt from another with other columns."""
    ids = known.id_column
    if ids not in table.column_names:
        ids = next((n for n in table.column_names if _is_id(n) and n not in known.aside), None)
    others = [n for n in table.column_names if n != ids and n not in known.aside]
    return Roles(ids, (*known.aside, *(n for n in others if parse_numbers(table[n]) is None)))


def roles_in(samples: Samples) -> Roles:
    """Those that were found in rows before."""
    assert isinstance(samples.meta, SeriesMeta)
    return Roles(samples.meta.id_column, samples.meta.aside)


def _is_id(name: str) -> bool:
    return name.lower() == "id"


def wide_series(
    table: pa.Table,
    *,
    labels: str | None,
    group: str | None,
    weight: str | None,
    known: SeriesMeta | None,
    roles: Roles | None,
    missing: Missing,
    source: str,
    row_name: RowName,
    start: int = 0,
    written: Written | None = None,
    ids_in: str | None = None,
) -> Samples:
    """A table of one series a row: its numeric columns in their order, one channel.

    known: what a model learnt from. roles, written: of the columns, and how numbers are written, where
        rows before have told them. ids_in: the column that was said to name the rows.

    Empty cells at the end of a row are the end of a shorter series, not missing values.
    """
    raw_labels, table = take_column(table, labels, source, "labels")
    raw_groups, table = take_column(table, group, source, "group")
    raw_weights, table = take_column(table, weight, source, "weight")
    aside = {*ids_named(table.column_names, ids_in), *(known.aside if known else ())}
    table, found, notes = with_numbers(
        table,
        written=written or (Written() if known is None else Written(known.decimal, known.marks)),
        known=known is not None,
        missing=missing,
        source=source,
        row_name=row_name,
        aside=aside if roles is None else {roles.ids or "", *roles.aside},
    )
    if roles is None:
        first = known is None
        roles = roles_like(table, known) if known else first_roles(table, ids_in, source)
        if first and roles.aside:
            notes = (
                *notes,
                Note(f"{listed('column', roles.aside)}: no steps, as they are no numbers"),
            )
    ids: tuple[str, ...] = ()
    if roles.ids in table.column_names:
        ids = tuple(text or "" for text in strings(table[roles.ids]).to_pylist())
    steps = [n for n in table.column_names if n != roles.ids and n not in roles.aside]
    kept = [(name, need_numbers(table[name], name, source, row_name)) for name in steps]
    if not kept:
        raise DataError(
            f"{source}: no column is numeric, so there is no series in a row.",
            remedy="Pass modality='tables', or one numeric column a time step.",
        )

    def place(index: tuple[int, ...]) -> str:
        return f"{row_name(index[0])}, column {kept[index[1]][0]!r}"

    x = to_floats(np.stack([numbers for _, numbers in kept], 1), source, place)
    filled = ~np.isnan(x)
    lengths = x.shape[1] - filled[:, ::-1].argmax(1)
    if not filled.any(1).all():
        raise DataError(
            f"{source}: {row_name(int((~filled.any(1)).argmax()))} has no value at all.",
            remedy="Remove the row.",
        )
    ended = np.where(np.arange(x.shape[1]) < lengths[:, None], x, np.float32(0))
    check_finite(ended, source, place, missing=missing)
    data = series_array(ended, lengths, missing=missing, source=source, start=start)
    facts: dict[str, Any] = {"id_column": roles.ids, "aside": roles.aside}
    facts |= {"decimal": found.decimal, "marks": dict(found.marks)}
    meta = data.meta.model_copy(update=facts)
    said = (*data.notes, *notes)
    data = replace(data, labels=raw_labels, groups=raw_groups, weights=raw_weights)
    return replace(data, meta=meta, ids=ids, notes=said)
