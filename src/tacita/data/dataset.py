"""A data set in memory: samples of one modality, a label or none for each, and what they are called.

Readers and converters (`tacita.load`, `as_dataset`) make these; everything later only reads them.
Samples are kept as they came (images as uint8, so that they take a quarter of the memory) and are
turned into normalised float32 batches by `take`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from tacita.data.batch import UNLABELLED, Batch, InputSpec, Missing, Modality
from tacita.data.normalise import Normaliser
from tacita.errors import DataError
from tacita.tasks import Classification, Task


@dataclass(frozen=True)
class Schema:
    """What further samples must look like to be read for a model: saved with it, checked on reading.

    `columns` and `categories` as in `Dataset`; `target` names the label column to be left out, and
    `group` the group column, where the samples came from a table that had them.
    """

    spec: InputSpec
    task: Task
    columns: tuple[str, ...] = ()
    categories: tuple[tuple[str, ...], ...] = ()
    target: str | None = None
    group: str | None = None
    id_column: str | None = None
    missing: Missing = "refuse"
    """What was done about missing values, and is done again."""
    bytes: bool = False
    """Whether images are uint8, 0 to 255, so that floats must be 0 to 1."""
    series_id: str | None = None
    time: str | None = None
    step: float | None = None
    """`series_id`, `time` and `step` as in `Dataset`: later series come onto the same step."""
    spacing: tuple[float, float, float] | None = None
    """As in `Dataset`: later volumes are brought to it."""


@dataclass(frozen=True)
class Dataset:
    """Samples, labels and names. Immutable: every change gives a new data set over shared storage.

    Shapes: `x` images `(N, C, H, W)` uint8 or float32, volumes `(N, C, D, H, W)` likewise, series
    `(N, L, C)` float32 padded with zeros beyond `lengths (N,)`, tables `(N, F)` float32 with category
    codes in categorical columns (NaN where a cell is missing); `y (N,)` int64 codes or float32
    targets, or `(N, D, H, W)` int64 codes a voxel; `index (N,)` int64, the sample's stable number in
    the data set that was read; `groups (N,)` int64.

    >>> data = Dataset("tables", torch.zeros(3, 2), torch.tensor([0, 1, -1]), Classification(("a", "b")))
    >>> len(data), data.labelled.tolist()
    (3, [True, True, False])
    """

    modality: Modality
    x: Tensor
    y: Tensor
    task: Task = field(default_factory=Classification)
    index: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))
    lengths: Tensor | None = None
    groups: Tensor | None = None
    ids: tuple[str, ...] = ()
    """A name for each sample: a file, or a row number. Empty means "its number"."""
    columns: tuple[str, ...] = ()
    """The names of a table's columns or of a series' channels, where they have names."""
    categories: tuple[tuple[str, ...], ...] = ()
    """For tables: each column's category names, empty for a number."""
    target: str | None = None
    """The column that the labels came from, where they came from one."""
    group: str | None = None
    """The column that the groups came from."""
    source: str = "array"
    """Where it was read from, for messages and reports."""
    normaliser: Normaliser | None = None
    id_column: str | None = None
    """The column that the ids came from."""
    missing: Missing = "refuse"
    """What was done about missing values when it was read."""
    series_id: str | None = None
    """The column of a long table that says which series a row belongs to."""
    time: str | None = None
    """The column or array with the time of each value."""
    step: float | None = None
    """The time from one value to the next, where times are known; dates are in seconds."""
    spacing: tuple[float, float, float] | None = None
    """For volumes from files: millimetres from slice to slice, row to row and voxel to voxel."""
    resampled: int = 0
    """How many series were irregular and were interpolated at every step."""
    gaps: int = 0
    """How many gaps of more than ten steps were bridged by that."""
    rates: tuple[int, ...] = ()
    """For series with channels of different rates: as in `InputSpec`."""

    def __post_init__(self) -> None:
        count = len(self.x)
        if not len(self.index):
            object.__setattr__(self, "index", torch.arange(count))
        for name in ("y", "index", "lengths", "groups", "ids"):
            value = getattr(self, name)
            if value is not None and len(value) not in ((count, 0) if name == "ids" else (count,)):
                raise DataError(
                    f"{self.source}: {name} has {len(value)} entries but there are {count} samples.",
                    remedy=f"Give one entry of {name} a sample.",
                )

    def __len__(self) -> int:
        return len(self.x)

    @property
    def spec(self) -> InputSpec:
        """What an encoder must know of these samples."""
        cardinalities = tuple(len(names) for names in self.categories)
        if self.modality == "tables" and not cardinalities:
            cardinalities = (0,) * self.x.shape[1]
        return InputSpec(self.modality, tuple(self.x.shape[1:]), cardinalities, self.rates)

    @property
    def schema(self) -> Schema:
        """What further samples must look like to be read like these."""
        return Schema(
            self.spec,
            self.task,
            self.columns,
            self.categories,
            self.target,
            self.group,
            self.id_column,
            self.missing,
            self.x.dtype == torch.uint8,
            self.series_id,
            self.time,
            self.step,
            self.spacing,
        )

    @property
    def labelled(self) -> Tensor:
        """`(N,)` bool: which samples have a label."""
        return self.task.known(self.y)

    def name_of(self, position: int) -> str:
        """What to call the sample at a position in messages and in the report."""
        return self.ids[position] if self.ids else f"#{int(self.index[position])}"

    def subset(self, positions: Tensor) -> Dataset:
        """The samples at these positions (int64 or bool), with their stable index kept."""
        if positions.dtype == torch.bool:
            positions = positions.nonzero().squeeze(1)
        return replace(
            self,
            x=self.x[positions],
            y=self.y[positions],
            index=self.index[positions],
            lengths=None if self.lengths is None else self.lengths[positions],
            groups=None if self.groups is None else self.groups[positions],
            ids=tuple(self.ids[int(i)] for i in positions) if self.ids else (),
        )

    def with_labels(self, y: Tensor, task: Task | None = None) -> Dataset:
        """The same samples under other labels."""
        return replace(self, y=y, task=task or self.task)

    def hide_labels(self, keep: Tensor) -> Dataset:
        """The same samples where only those at the positions `keep` have their label."""
        missing = UNLABELLED if self.task.coded else torch.nan
        y = torch.full_like(self.y, missing)
        y[keep] = self.y[keep]
        return self.with_labels(y)

    def learnable(self) -> Dataset:
        """The same samples without the labels that are only to be scored on."""
        return self.with_labels(self.task.learnable(self.y))

    def recoded(self, task: Task) -> Dataset:
        """Labels as codes of another task's classes, by their names.

        Raises `DataError` naming a class that the task does not know.
        """
        if not task.coded or not self.task.coded or self.task.answers == task.answers:
            return self.with_labels(self.y, task)
        unknown = sorted(set(self.task.answers) - set(task.answers))
        if unknown:
            raise DataError(
                f"{self.source}: the class {unknown[0]!r} was not among those to learn.",
                remedy=f"Known are {', '.join(task.answers[:10])}.",
            )
        codes = torch.tensor(
            [*(task.answers.index(name) for name in self.task.answers), UNLABELLED]
        )
        # The code -1 reads the last entry, which keeps it -1.
        return self.with_labels(codes[self.y], task)

    def normalised(self, by: Normaliser | None = None) -> Dataset:
        """With batches normalised: by this data set's own statistics, or by another's."""
        return replace(self, normaliser=by or Normaliser.fit(self.spec, self.x, self.lengths))

    def take(self, positions: Tensor) -> Batch:
        """The samples at these positions as one batch of normalised float32."""
        x = self.x[positions]
        lengths = None if self.lengths is None else self.lengths[positions]
        if self.normaliser is not None:
            x = self.normaliser(x, lengths)
        elif x.dtype == torch.uint8:
            x = x.float() / 255
        return Batch(x, self.y[positions], self.index[positions], lengths)

    def arrays(self) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Every sample as one flat row of normalised numbers, and the labels: for scikit-learn."""
        batch = self.take(torch.arange(len(self)))
        return batch.x.flatten(1).numpy(), batch.y.numpy()


def joined(parts: Sequence[Dataset]) -> Dataset:
    """Data sets of one schema end to end; series are padded to the longest."""
    first = parts[0]
    lengths = [part.lengths for part in parts]
    x = [part.x for part in parts]
    if first.modality == "volumes" and len({part.x.shape[2:] for part in parts}) > 1:
        raise DataError(
            f"{first.source}: volumes of different sizes cannot stand in one array.",
            remedy="Write predictions of files with predict_file (tacita predict).",
        )
    if first.modality == "series":
        longest = max(part.x.shape[1] for part in parts)
        x = [functional.pad(part.x, (0, 0, 0, longest - part.x.shape[1])) for part in parts]
        if any(length is not None for length in lengths) or len({p.x.shape[1] for p in parts}) > 1:
            lengths = [
                torch.full((len(part),), part.x.shape[1]) if part.lengths is None else part.lengths
                for part in parts
            ]
    return replace(
        first,
        x=torch.cat(x),
        y=torch.cat([part.y for part in parts]),
        index=torch.cat([part.index for part in parts]),
        lengths=None
        if lengths[0] is None
        else torch.cat([part for part in lengths if part is not None]),
        groups=None,
        ids=tuple(name for part in parts for name in part.ids),
    )


def check_alike(data: Dataset, other: Dataset) -> None:
    """Raise `DataError` where samples have another kind, shape, type of number or other categories.

    Series may be of other lengths: the shorter are padded.
    """
    a, b = data.spec, other.spec
    same_shape = a.channels == b.channels if a.modality == "series" else a.shape == b.shape
    same_kind = (a.modality, a.cardinalities, a.rates) == (b.modality, b.cardinalities, b.rates)
    if not same_kind or not same_shape or data.x.dtype != other.x.dtype:
        raise DataError(
            f"{other.source}: has {b.modality} of shape {b.shape} ({other.x.dtype}), but "
            f"{data.source} has {a.modality} of shape {a.shape} ({data.x.dtype}).",
            remedy="Give samples like the new ones; images can be resized with image_size.",
        )
    if any(a.cardinalities) and data.categories != other.categories:
        raise DataError(
            f"{other.source}: its columns have other categories than those of {data.source}.",
            remedy="Read both in one file, so that a category has one code.",
        )
