"""Labels as people write them, to codes: missing is -1, NaN, None or an empty cell."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from torch import Tensor

from tacita.errors import ConfigError, DataError
from tacita.modalities.readers.files import TABLE_FILES, nearest, unknown_extension
from tacita.modalities.readers.frames import read_table
from tacita.tasks import TASKS, UNLABELLED, Regression, Segmentation, Task

_MISSING = frozenset({"", "-1", "nan", "none"})
_WHOLE = re.compile(r"(-?\d+)\.0+")
_FEW = 10
"""Distinct fractional labels that may still be classes (0.5, 1.5, ...); more are a measurement."""


def encode_labels(values: Any, task: str | None, count: int, *, source: str) -> tuple[Tensor, Task]:
    """Raw labels (or None) to `(N,)` codes or targets and the task, with the classes sorted.

    >>> y, task = encode_labels(["b", None, "a", ""], None, 4, source="example")
    >>> y.tolist(), task.classes
    ([1, -1, 0, -1], ('a', 'b'))

    Raises `ConfigError` where labels are measurements but classes were asked for.
    """
    kind = task or "classification"
    if kind not in TASKS:
        near = nearest(kind, TASKS)
        raise ConfigError(
            f"task={kind!r} is not a task.",
            remedy=f"Did you mean {near!r}?" if near else f"Tasks: {', '.join(TASKS)}.",
        )
    if kind == Segmentation.name:
        raise ConfigError(
            f"{source}: segmentation needs a label a voxel, and these are labels of whole samples.",
            remedy="Give label volumes.",
        )
    if values is None:
        values = [None] * count
    if kind == Regression.name:
        y = targets(values, source)
        known = y[~y.isnan()].double()
        # Until it is fitted anew on the training part, the scale of all known targets serves.
        std = float(known.std(correction=0)) if len(known) else 1.0
        mean = float(known.mean()) if len(known) else 0.0
        return y, Regression(mean=mean, std=std or 1.0)
    names = class_names(values, source)
    family = TASKS[kind]
    present = sorted(set(names.tolist()) - {None, *family.further})
    numbers = _numbers(present)
    if numbers is not None:
        _check_not_measured(numbers, sum(name is not None for name in names), source)
        present = [name for _, name in sorted(zip(numbers, present, strict=True))]
    resolved = family(tuple(present))
    return _codes(names, resolved.answers), resolved


def encode_like(values: Any, task: Task, source: str, name: Callable[[int], str]) -> Tensor:
    """Raw labels to the codes of a task that stands; an unknown class raises, naming the sample."""
    if isinstance(task, Regression):
        return targets(values, source)
    names = class_names(values, source)
    known = {*task.answers, None}
    for position, label in enumerate(names):
        if label not in known:
            near = nearest(label, task.answers)
            raise DataError(
                f"{source}: {name(position)} is labelled {label!r}, which the model does not know.",
                remedy=f"Did you mean {near!r}?"
                if near
                else f"Classes: {', '.join(task.answers[:10])}. Leave it empty if it has no label.",
            )
    return _codes(names, task.answers)


def targets(values: Any, source: str) -> Tensor:
    """Raw regression labels to `(N,)` float32, NaN where missing."""
    array = as_array(values)
    if array.dtype.kind in "biuf":
        y = array.astype(np.float64)
    else:
        y = np.empty(len(array))
        for position, value in enumerate(array.tolist()):
            y[position] = _target(value, position, source)
    with np.errstate(over="ignore"):
        y32 = y.astype(np.float32)
    if np.isinf(y32).any():
        raise DataError(
            f"{source}: the label of sample {int(np.isinf(y32).argmax())} is infinite or too large.",
            remedy="Give a finite number, or NaN if it is unknown.",
        )
    return torch.from_numpy(y32)


def class_names(values: Any, source: str) -> NDArray[Any]:
    """`(N,)` array of objects: the text of each label, None where missing."""
    array = as_array(values)
    if array.dtype.kind == "f":
        if np.isinf(array).any():
            raise DataError(
                f"{source}: the label of sample {int(np.isinf(array).argmax())} is infinite.",
                remedy="Give a class, or NaN if it is unknown.",
            )
        array = np.where(np.isnan(array), UNLABELLED, array)
    if array.dtype.kind in "biufUS":
        unique, inverse = np.unique(array, return_inverse=True)
        table = np.array([_class_name(value) for value in unique.tolist()], dtype=object)
        return table[inverse]
    return np.array([_class_name(value) for value in array.tolist()] or [None], dtype=object)[
        : len(array)
    ]


def as_array(values: Any) -> NDArray[Any]:
    """Labels in any container as a 1-D array: of numbers, of text, or of objects to be looked at."""
    if isinstance(values, Tensor):
        values = values.detach().cpu().numpy()
    elif isinstance(values, pa.Array | pa.ChunkedArray):
        values = arrow_labels(values)
    elif isinstance(values, list | tuple):
        values = _object_array(values)
    elif hasattr(values, "to_numpy"):
        values = values.to_numpy()
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise DataError("y is not a list of labels.", remedy="Give one label a sample.") from error
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise DataError(
            f"y has shape {array.shape}, but one label a sample is needed.",
            remedy="Give y of shape (N,); turn one-hot rows into codes with y.argmax(1).",
        )
    if array.dtype.kind not in "biufUSO":
        array = array.astype(str).astype(object)
    return array


def arrow_labels(column: pa.Array | pa.ChunkedArray) -> NDArray[Any]:
    """A column of a table as labels: numbers stay numbers, all else is text."""
    if pa.types.is_integer(column.type) and column.null_count:
        return np.array(column.to_pylist(), dtype=object)
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        return np.asarray(column.to_numpy())
    if pa.types.is_boolean(column.type):
        return np.array(column.to_pylist(), dtype=object)
    if pa.types.is_nested(column.type):
        raise DataError(
            "the label column holds lists or structures.", remedy="Give one label a row."
        )
    return np.array(pc.cast(column, pa.string()).to_pylist(), dtype=object)


def group_codes(values: Any, count: int, start: int = 0) -> Tensor:
    """Names of groups to `(N,)` codes; a sample of no known group is a group of its own."""
    names = class_names(values, "groups")
    if len(names) != count:
        raise DataError(
            f"groups has {len(names)} entries but there are {count} samples.",
            remedy="Give one group a sample.",
        )
    known = sorted({name for name in names.tolist() if name is not None})
    codes = _codes(names, known)
    alone = codes == UNLABELLED
    codes[alone] = len(known) + start + torch.arange(count)[alone]
    return codes


@dataclass(frozen=True)
class LabelFile:
    """A label file: the raw label, and the group if one was named, under each id."""

    path: Path
    labels: Mapping[str, str | None]
    groups: Mapping[str, str | None]
    group: str | None = None

    @classmethod
    def read(cls, path: Path, group: str | None = None) -> LabelFile:
        """Columns: id, label (any names), and the group's if one is named."""
        if path.suffix.lower() not in TABLE_FILES:
            raise unknown_extension(path)
        table = read_table(path)
        names = list(table.column_names)
        if group is not None and group in names:
            names.remove(group)
        else:
            group = None
        label = names[1] if len(names) == 2 else "label"
        key = names[0]
        if label not in names or label == key:
            raise DataError(
                f"{path}: {len(names)} columns ({', '.join(names[:5])}), so it is unclear which is"
                " the label.",
                remedy="Keep two columns, the id and the label, or call the second one 'label'.",
            )
        ids = [_text(value) for value in table[key].to_pylist()]
        labels = _per_id(ids, class_names(table[label], str(path)).tolist(), path, "label")
        groups: Mapping[str, str | None] = {}
        if group is not None:
            groups = _per_id(ids, class_names(table[group], str(path)).tolist(), path, "group")
        return cls(path, labels, groups, group)

    def check_inside(self) -> None:
        """Refuses ids that are absolute paths or climb out of the folder."""
        for name in self.labels:
            parts = name.replace("\\", "/").split("/")
            if name.startswith(("/", "\\")) or ".." in parts or ":" in parts[0]:
                raise DataError(
                    f"{self.path}: the id {name!r} leads out of the folder.",
                    remedy="Give file names relative to the data folder.",
                )

    def check_known(self, unknown: Sequence[str], example: str) -> None:
        """Raises for ids that no sample has."""
        if unknown:
            few = ", ".join(repr(name) for name in unknown[:3])
            raise DataError(
                f"{self.path}: {len(unknown)} id{'s' * (len(unknown) > 1)} without a sample: {few}"
                f"{', ...' * (len(unknown) > 3)}.",
                remedy=f"Ids are file names, row numbers from 0 or values of the id column,"
                f" here for example {example!r}.",
            )


def match(
    file: LabelFile, names: Sequence[str], *, files: bool
) -> tuple[NDArray[Any], NDArray[Any], set[str]]:
    """Labels and groups for these samples, and the ids that were used.

    A file is known by its path below the folder, by its name, or by its stem, if only it has that.
    """
    labels = np.full(len(names), None, dtype=object)
    groups = np.full(len(names), None, dtype=object)
    used: set[str] = set()
    owners: dict[str, int] = {}
    full = frozenset(names) if files else frozenset()
    for position, name in enumerate(names):
        for key in _aliases(name) if files else (name,):
            # A whole path means that file, even where it is another's bare name.
            if key not in file.labels or (key != name and key in full):
                continue
            if key in owners:
                raise DataError(
                    f"{file.path}: the id {key!r} fits {names[owners[key]]} and {name}.",
                    remedy="Give the path below the data folder instead of the bare name.",
                )
            owners[key] = position
            used.add(key)
            label = file.labels[key]
            if labels[position] is not None and label is not None and label != labels[position]:
                raise DataError(
                    f"{file.path}: {name} is labelled {labels[position]!r} and {label!r}.",
                    remedy="Keep one line a sample.",
                )
            labels[position] = labels[position] if label is None else label
            groups[position] = file.groups.get(key) or groups[position]
    return labels, groups, used


def match_owners(
    file: LabelFile, owners: Sequence[str], *, files: bool
) -> tuple[NDArray[Any], NDArray[Any], set[str]]:
    """As `match`, for samples that share the label and the group of what they were cut out of."""
    names = list(dict.fromkeys(owners))
    labels, groups, used = match(file, names, files=True)
    position = {name: at for at, name in enumerate(names)}
    each = np.array([position[name] for name in owners], dtype=np.int64)
    return labels[each], groups[each], used


def _aliases(name: str) -> list[str]:
    bare = name.rpartition("/")[2]
    found = [name, name.rpartition(".")[0], bare, bare.rpartition(".")[0]]
    return list(dict.fromkeys(found))


def _per_id(
    ids: list[str], values: list[str | None], path: Path, what: str
) -> dict[str, str | None]:
    kept: dict[str, str | None] = {}
    for name, value in zip(ids, values, strict=True):
        before = kept.get(name)
        if before is not None and value is not None and before != value:
            raise DataError(
                f"{path}: the id {name!r} has the {what} {before!r} and the {what} {value!r}.",
                remedy="Keep one line a sample.",
            )
        kept[name] = before if value is None else value
    return kept


def _object_array(values: Sequence[Any]) -> NDArray[Any]:
    plain = [
        value.item() if isinstance(value, np.generic | Tensor) and np.ndim(value) == 0 else value
        for value in values
    ]
    array = np.empty(len(plain), dtype=object)
    for position, value in enumerate(plain):
        if isinstance(value, list | tuple | np.ndarray | Tensor | dict | set):
            raise DataError(
                f"y: the label of sample {position} is a {type(value).__name__}.",
                remedy="Give one number or one word a sample.",
            )
        array[position] = value
    return array


def _class_name(value: Any) -> str | None:
    """One raw label to its class name, None if it is one of the spellings of "missing"."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = _text(value)
    if text.lower() in _MISSING or text == "<NA>" or text == "NaT":
        return None
    whole = _WHOLE.fullmatch(text)
    name = whole[1] if whole else text
    # "-1.0" is how a float column writes -1.
    return None if name == "-1" else name


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return "" if value is None else str(value).strip()


def _target(value: Any, position: int, source: str) -> float:
    text = _text(value)
    if text.lower() in ("", "nan", "none", "<na>"):
        return math.nan
    try:
        return float(text)
    except ValueError as error:
        raise DataError(
            f"{source}: the label {text!r} of sample {position} is not a number.",
            remedy="Use task='classification' (--task classification) if the labels are classes.",
        ) from error


def _numbers(names: Sequence[str]) -> list[float] | None:
    try:
        numbers = [float(name) for name in names]
    except ValueError:
        return None
    return numbers if all(map(math.isfinite, numbers)) else None


def _check_not_measured(numbers: list[float], labelled: int, source: str) -> None:
    fractional = not all(number.is_integer() for number in numbers)
    if fractional and (len(numbers) > _FEW or 2 * len(numbers) > max(labelled, 2)):
        raise ConfigError(
            f"{source}: {len(numbers)} distinct labels such as {numbers[0]:g} look like"
            " measurements, not like classes.",
            remedy="Pass task='regression' (--task regression), or give the classes names.",
        )


def _codes(names: NDArray[Any], classes: Sequence[str]) -> Tensor:
    code = {name: position for position, name in enumerate(classes)}
    return torch.tensor([code.get(name, UNLABELLED) for name in names.tolist()], dtype=torch.int64)
