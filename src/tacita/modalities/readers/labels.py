"""Label files, the samples that their lines belong to, and the codes of groups."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tacita.errors import DataError
from tacita.files import no_formula
from tacita.modalities.readers.files import is_table, unknown_extension
from tacita.modalities.readers.frames import read_table
from tacita.modalities.readers.packed import packing_of
from tacita.tasks.declared import Declared
from tacita.tasks.labels import (
    UNLABELLED,
    arrow_labels,
    class_names,
    codes_of,
    is_nothing,
    label_text,
)


def group_codes(values: Any, count: int, start: int = 0) -> Tensor:
    """Names of groups to `(N,)` codes; a sample of no known group is a group of its own."""
    names = class_names(values, "groups")
    if len(names) != count:
        raise DataError(
            f"groups has {len(names)} entries but there are {count} samples.",
            remedy="Give one group a sample.",
        )
    known = sorted({name for name in names.tolist() if name is not None})
    codes = codes_of(names, known)
    alone = codes == UNLABELLED
    codes[alone] = len(known) + start + torch.arange(count)[alone]
    return codes


@dataclass(frozen=True)
class LabelFile:
    """A label file: the raw label, and the group and the weight if one was named, under each id."""

    path: Path
    labels: Mapping[str, Any]
    groups: Mapping[str, str | None]
    group: str | None = None
    weights: Mapping[str, Any] = field(default_factory=dict)
    weight: str | None = None
    declared: Declared | None = None
    """The column of labels, where it says what the classes are."""

    @classmethod
    def read(cls, path: Path, group: str | None = None, weight: str | None = None) -> LabelFile:
        """Columns: id, label (any names), and the group's and the weight's if one is named."""
        if not is_table(path):
            raise unknown_extension(path)
        table = read_table(path)
        names = list(table.column_names)
        group, weight = (name if name in names else None for name in (group, weight))
        names = [name for name in names if name not in (group, weight)]
        if not names:
            raise DataError(
                f"{path}: no column is left for the id and the label.",
                remedy="Keep them beside the columns of groups and weights.",
            )
        label = names[1] if len(names) == 2 else "label"
        key = names[0]
        if label not in names or label == key:
            raise DataError(
                f"{path}: {len(names)} columns ({', '.join(names[:5])}), so it is unclear which is"
                " the label.",
                remedy="Keep two columns, the id and the label, or call the second one 'label'.",
            )
        ids = [label_text(value) for value in table[key].to_pylist()]
        raw = arrow_labels(table[label])
        labels = _per_id(ids, [_or_none(value) for value in raw], path, "label")
        groups: Mapping[str, str | None] = {}
        if group is not None:
            groups = _per_id(ids, class_names(table[group], str(path)).tolist(), path, "group")
        weights: Mapping[str, Any] = {}
        if weight is not None:
            raw_weights = [_or_none(value) for value in arrow_labels(table[weight])]
            weights = _per_id(ids, raw_weights, path, "weight")
        declared = raw if isinstance(raw, Declared) else None
        return cls(path, labels, groups, group, weights, weight, declared)

    def as_labels(self, values: NDArray[Any]) -> NDArray[Any] | Declared:
        """Labels of samples in the manner of the column they came from."""
        return values if self.declared is None else replace(self.declared, names=values)

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
                remedy=f"Ids are file names with or without their ending, row numbers from 0 or"
                f" values of the id column, written just so: here for example {example!r}.",
            )


class Matched(NamedTuple):
    """What a label file says of samples, each `(N,)`, and the ids that were used."""

    labels: NDArray[Any] | Declared
    groups: NDArray[Any]
    weights: NDArray[Any]
    used: set[str]


def match(file: LabelFile, names: Sequence[str], *, files: bool) -> Matched:
    """Labels, groups and weights for these samples.

    A file is known by its path below the folder, by its name, or by its stem, if only it has that.
    """
    labels = np.full(len(names), None, dtype=object)
    groups = np.full(len(names), None, dtype=object)
    weights = np.full(len(names), None, dtype=object)
    used: set[str] = set()
    owners: dict[str, int] = {}
    full = frozenset(unicodedata.normalize("NFC", name) for name in names) if files else frozenset()
    for position, name in enumerate(names):
        # Some systems write the accents of file names apart from their letters.
        name = unicodedata.normalize("NFC", name)
        keys = _aliases(name) if files else [name]
        # As `label-next` writes them for a spreadsheet, where that was asked for.
        keys += [key for key in map(no_formula, keys) if key not in keys]
        for key in keys:
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
            if _differ(labels[position], label):
                raise DataError(
                    f"{file.path}: {name} is labelled {labels[position]!r} and {label!r}.",
                    remedy="Keep one line a sample.",
                )
            labels[position] = labels[position] if label is None else label
            groups[position] = file.groups.get(key) or groups[position]
            weight = file.weights.get(key)
            if _differ(weights[position], weight):
                raise DataError(
                    f"{file.path}: {name} has the weights {weights[position]!r} and {weight!r}.",
                    remedy="Keep one line a sample.",
                )
            weights[position] = weights[position] if weight is None else weight
    return Matched(file.as_labels(labels), groups, weights, used)


def match_owners(file: LabelFile, owners: Sequence[str], *, files: bool) -> Matched:
    """As `match`, for samples that share what is said of what they were cut out of."""
    names = list(dict.fromkeys(owners))
    found = match(file, names, files=True)
    position = {name: at for at, name in enumerate(names)}
    each = np.array([position[name] for name in owners], dtype=np.int64)
    return Matched(found.labels[each], found.groups[each], found.weights[each], found.used)


def _aliases(name: str) -> list[str]:
    bare = name.rpartition("/")[2]
    found = [name, name.rpartition(".")[0], bare, bare.rpartition(".")[0]]
    if packing_of(Path(bare)):
        # The stem of what is packed has no ending either.
        found += [each.rpartition(".")[0] for each in (found[1], found[3])]
        found = [each for each in found if each]
    return list(dict.fromkeys(found))


def _or_none(value: Any) -> Any:
    """A raw label, None for an empty cell."""
    return None if is_nothing(value) or label_text(value) == "" else value


def _differ(a: Any, b: Any) -> bool:
    return a is not None and b is not None and label_text(a) != label_text(b)


def _per_id(ids: list[str], values: list[Any], path: Path, what: str) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for name, value in zip(ids, values, strict=True):
        before = kept.get(name)
        if _differ(before, value):
            raise DataError(
                f"{path}: the id {name!r} has the {what} {before!r} and the {what} {value!r}.",
                remedy="Keep one line a sample.",
            )
        kept[name] = before if value is None else value
    return kept
