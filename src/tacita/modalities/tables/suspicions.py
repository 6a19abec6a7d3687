"""What looks wrong in a table's columns."""

from __future__ import annotations

import torch
from torch import Tensor

from tacita.data.dataset import Dataset
from tacita.modalities.tables.read import TablesMeta
from tacita.words import listed

_ENOUGH_FOR_LEAK = 10


def about_columns(data: Dataset) -> list[str]:
    """Constant columns, and those that look like ids or like the label."""
    constant: list[str] = []
    same_as_label: list[str] = []
    like_ids: list[str] = []
    all_different: list[str] = []
    for position, size in enumerate(data.spec.cardinalities):
        values = data.x[:, position]
        filled = values[~values.isnan()]
        name = column_name(data, position)
        if not filled.numel() or bool(filled.amin() == filled.amax()):
            constant.append(name)
        elif _tells_label(data, values):
            same_as_label.append(name)
        elif not size and _like_ids(values):
            like_ids.append(name)
        elif size > 2 and size == len(filled):
            all_different.append(name)
    said = []
    if constant:
        said.append(f"constant {listed('column', constant)}: nothing to learn there")
    if same_as_label:
        said.append(f"the label can be read off {listed('column', same_as_label)}: probably a leak")
    if like_ids:
        said.append(
            f"rows are numbered by {listed('column', like_ids)}: leave it out if it is an id"
        )
    if all_different:
        said.append(
            f"no value stands twice in {listed('column', all_different)}: name it as --id-column if it"
            " names the rows, or leave it out with --ignore"
        )
    return said


def column_name(data: Dataset, position: int) -> str:
    """What a column is called: its name, or its number."""
    meta = data.meta
    assert isinstance(meta, TablesMeta)
    return meta.columns[position] if meta.columns else str(position)


def _tells_label(data: Dataset, column: Tensor) -> bool:
    """Whether a column and the label determine each other, on enough samples to be no accident."""
    known = data.labelled
    values, y = column[known], data.targets[known]
    if len(y) < _ENOUGH_FOR_LEAK or bool(values.isnan().any()):
        return False
    return data.task.told_by(values, y)


def _like_ids(column: Tensor) -> bool:
    """Whole numbers, all different, without gaps: a row counter."""
    if len(column) < _ENOUGH_FOR_LEAK or bool((column != column.round()).any()):
        return False
    span = float(column.amax() - column.amin())
    return span < 2 * len(column) and len(torch.unique(column)) == len(column)
