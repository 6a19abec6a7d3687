"""A data set in memory: samples of one modality, a target or none for each, and what they are called.

Readers and converters (`tacita.load`, `as_dataset`) make these; everything later only reads them.
Samples are kept as they came (images as uint8, so that they take a quarter of the memory) and are
turned into normalised batches by `take`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from tacita.data.batch import Batch, InputSpec
from tacita.data.modality import Meta, Modality, find, unlike
from tacita.data.normalise import Normaliser
from tacita.data.notes import Doubt, Note, merged
from tacita.data.weights import checked_weights, even_weights, joined_weights
from tacita.errors import DataError
from tacita.tasks import Classification, Task
from tacita.values import Values, as_tensor, lengths_of, shape_of, with_tensor
from tacita.words import html_table


@dataclass(frozen=True)
class Schema:
    """What further samples must look like to be read for a model: saved with it, checked on reading."""

    meta: Meta
    task: Task

    @property
    def spec(self) -> InputSpec:
        """What an encoder must know of them."""
        return self.meta.spec

    @property
    def kind(self) -> Modality:
        """The modality itself."""
        return find(self.meta.modality)


@dataclass(frozen=True, repr=False)
class Dataset:
    """Samples, targets and names. Immutable: every change gives a new data set over shared storage.

    samples: images `(N, C, H, W)` uint8 or floats, volumes `(N, C, D, H, W)` likewise, series
        `(N, L, C)` floats, `Ragged` where lengths differ, tables `(N, F)` floats with category codes in
        categorical columns (NaN where a cell is missing), texts as ragged token numbers. Floats have the
        width that they came with, until they are normalised.
    targets: as the task has them; `(N,)` int64 codes or float64 numbers, or more a sample.
    meta: the facts that belong to the modality, such as names of columns.
    index: `(N,)` int64, the sample's stable number in the data set that was read.
    weights: `(N,)` float64 above 0, how much each sample's label counts in learning, by their ratios; None
        where all count the same. `weighted` takes them. Scores count every sample the same.
    groups: `(N,)` int64; ids: a name for each sample, such as a file; empty means "its number".
    starts: `(N,)` float64, of series when each begins, where that is known.
    source: where it was read from, for messages and reports.
    notes: what was done when it was read that its user should know.
    doubt: what its samples may be instead; while there is one they are not split over parts.

    `x` and `y` are samples and targets as plain tensors, padded where lengths differ.

    >>> y = torch.tensor([0, 1, -1])
    >>> data = Dataset.of("tables", torch.zeros(3, 2), y, Classification(("a", "b")))
    >>> len(data), data.labelled.tolist()
    (3, [True, True, False])
    """

    samples: Values
    targets: Values
    meta: Meta
    task: Task = field(default_factory=Classification)
    index: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))
    weights: Tensor | None = None
    groups: Tensor | None = None
    ids: tuple[str, ...] = ()
    starts: Tensor | None = None
    source: str = "array"
    normaliser: Normaliser | None = None
    notes: tuple[Note, ...] = ()
    doubt: Doubt | None = None

    def __post_init__(self) -> None:
        count = len(self.samples)
        if not len(self.index):
            object.__setattr__(self, "index", torch.arange(count))
        for name in ("targets", "index", "weights", "groups", "ids", "starts"):
            value = getattr(self, name)
            if value is not None and len(value) not in ((count, 0) if name == "ids" else (count,)):
                raise DataError(
                    f"{self.source}: {name} has {len(value)} entries but there are {count} samples.",
                    remedy=f"Give one entry of {name} a sample.",
                )
        if shape_of(self.samples) != tuple(self.meta.shape):
            raise DataError(
                f"{self.source}: samples of shape {shape_of(self.samples)}, but their facts say"
                f" {tuple(self.meta.shape)}.",
                remedy="Make it with Dataset.of, or give other samples by with_samples.",
            )

    @classmethod
    def of(
        cls,
        modality: str,
        samples: Values,
        targets: Values,
        task: Task | None = None,
        *,
        index: Tensor | None = None,
        groups: Tensor | None = None,
        ids: tuple[str, ...] = (),
        source: str = "array",
        **facts: Any,
    ) -> Dataset:
        """A data set over samples that are in their final form; `as_dataset` takes and checks any other.

        `facts`: those of the modality, such as `columns` or `rates`.
        """
        return cls(
            samples,
            targets,
            find(modality).meta.of(samples, **facts),
            task or Classification(),
            torch.arange(len(samples)) if index is None else index,
            groups=groups,
            ids=ids,
            source=source,
        )

    def __len__(self) -> int:
        return len(self.samples)

    def __repr__(self) -> str:
        return f"Dataset({', '.join(self._said())})"

    def _repr_html_(self) -> str:
        """What a notebook shows in its place."""
        rows = [("source", self.source), ("samples", self.kind.words(self))]
        rows += [("labels", ", ".join(self._said()[1:]))]
        rows += self.task.facts(self.targets[self.labelled]) + self.kind.facts(self)
        rows += [("note", str(note)) for note in self.notes]
        return html_table("Dataset", rows)

    def _said(self) -> list[str]:
        known = self.targets[self.labelled]
        said = [self.kind.words(self), f"{len(known)} labelled", self.task.name]
        return [*said, *filter(None, [self.task.summary(known)])]

    @property
    def modality(self) -> str:
        """What the samples are, by name."""
        return self.meta.modality

    @property
    def kind(self) -> Modality:
        """The modality itself: how such samples are read, normalised, said and drawn."""
        return find(self.meta.modality)

    @property
    def x(self) -> Tensor:
        """The samples as one tensor, padded with zeros where lengths differ.

        Raises `DataError` where that would be padding for the most part, and take too much memory.
        """
        try:
            return as_tensor(self.samples)
        except DataError as error:
            raise DataError(f"{self.source}: {error.message}", remedy=error.remedy) from error

    @property
    def y(self) -> Tensor:
        """The targets as one tensor."""
        return as_tensor(self.targets)

    @property
    def lengths(self) -> Tensor | None:
        """`(N,)` int64; None where all samples are of one length."""
        return lengths_of(self.samples)

    @property
    def spec(self) -> InputSpec:
        """What an encoder must know of these samples."""
        return self.meta.spec

    @property
    def schema(self) -> Schema:
        """What further samples must look like to be read like these."""
        return Schema(self.meta, self.task)

    @property
    def labelled(self) -> Tensor:
        """`(N,)` bool: which samples have a label."""
        return self.task.known(self.targets)

    def name_of(self, position: int) -> str:
        """What to call the sample at a position in messages and in the report."""
        return self.ids[position] if self.ids else f"#{int(self.index[position])}"

    def subset(self, positions: Tensor) -> Dataset:
        """The samples at these positions (int64 or bool), with their stable index kept."""
        if positions.dtype == torch.bool:
            positions = positions.nonzero().squeeze(1)
        return replace(
            self,
            samples=self.samples[positions],
            targets=self.targets[positions],
            index=self.index[positions],
            weights=None if self.weights is None else self.weights[positions],
            groups=None if self.groups is None else self.groups[positions],
            ids=tuple(self.ids[int(i)] for i in positions) if self.ids else (),
            starts=None if self.starts is None else self.starts[positions],
        )

    def with_samples(self, samples: Values) -> Dataset:
        """Other samples of the same kind in the place of these."""
        return replace(self, samples=samples, meta=self.meta.like(samples))

    def with_labels(self, y: Values, task: Task | None = None) -> Dataset:
        """The same samples under other labels."""
        return replace(self, targets=y, task=task or self.task)

    def hide_labels(self, keep: Tensor) -> Dataset:
        """The same samples where only those at the positions `keep` have their label."""
        return self.with_labels(self.task.hide(self.targets, keep))

    def weighted(self, weights: Any) -> Dataset:
        """The samples whose weight `(N,)` is not 0, where the labels of each count by it in learning.

        Raises `DataError` for weights that are not one finite number of 0 or more a sample, or all 0.
        """
        found = checked_weights(weights, self.labelled, self.source)
        absent = int((found == 0).sum())
        data = replace(self, weights=found)
        if not absent:
            return data
        said = Note(("sample of weight 0 left out", "samples of weight 0 left out"), absent)
        return replace(data.subset(found > 0), notes=(*self.notes, said))

    def evened(self) -> Dataset:
        """With weights whose mean over the labelled samples is 1; without, where these are all alike."""
        return replace(self, weights=even_weights(self.weights, self.labelled))

    def learnable(self) -> Dataset:
        """The same samples without the labels that are only to be scored on."""
        return self.with_labels(self.task.learnable(self.targets))

    def recoded(self, task: Task) -> Dataset:
        """Labels as targets of another task, by what they say.

        Raises `DataError` for a label that the task does not know.
        """
        return self.with_labels(
            task.recode(self.targets, self.task, self.samples, self.source), task
        )

    def normalised(self, by: Normaliser | None = None) -> Dataset:
        """With batches normalised: by this data set's own statistics, or by another's."""
        fitted = by or self.kind.normaliser(self.spec).fit(self.samples)
        return replace(self, normaliser=fitted)

    def take(self, positions: Tensor) -> Batch:
        """The samples at these positions as one batch of normalised samples."""
        samples = self.samples[positions]
        if self.normaliser is not None:
            samples = self.normaliser(samples)
        elif samples.dtype == torch.uint8:
            samples = cast(Tensor, samples).float() / 255
        elif samples.dtype == torch.float64:
            samples = with_tensor(samples, as_tensor(samples).float())
        weights = None if self.weights is None else self.weights[positions].float()
        return Batch(samples, self.targets[positions], self.index[positions], weights)

    def arrays(self) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Every sample as one row of normalised numbers, and the labels: for scikit-learn."""
        batch = self.take(torch.arange(len(self)))
        return self.kind.rows(batch, self.spec).numpy(), batch.y.numpy()


def joined(parts: Sequence[Dataset]) -> Dataset:
    """Data sets of one schema end to end; where only some have weights, samples of the others weigh 1.

    Raises `DataError` where samples do not fit into one data set, as volumes of several sizes do not.
    """
    first = parts[0]
    samples = first.kind.join([part.samples for part in parts], first.source)
    return replace(
        first,
        samples=samples,
        meta=first.meta.like(samples),
        targets=first.task.stacked([part.targets for part in parts]),
        index=torch.cat([part.index for part in parts]),
        weights=joined_weights([(part.weights, len(part)) for part in parts]),
        groups=None,
        starts=_all([part.starts for part in parts]),
        ids=tuple(name for part in parts for name in part.ids),
        notes=merged(note for part in parts for note in part.notes),
    )


def _all(parts: Sequence[Tensor | None]) -> Tensor | None:
    """What is known of all parts, end to end."""
    known = [part for part in parts if part is not None]
    return torch.cat(known) if len(known) == len(parts) else None


def check_alike(data: Dataset, other: Dataset) -> None:
    """Raise `DataError` where samples have another kind, shape, type of number or other categories."""
    if data.modality != other.modality:
        raise unlike(data, other)
    data.kind.check_alike(data, other)
