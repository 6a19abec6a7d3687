"""The contract of a modality: all that is particular to one kind of samples, in one object.

A modality is a folder in `tacita.modalities` whose `__init__.py` has a class under
`@modality(...)`. Nothing else in the house asks what kind the samples are: it asks the modality.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor, nn

from tacita.catalog import discover
from tacita.catalog.cards import ModalityCard
from tacita.data.batch import Batch, InputSpec
from tacita.data.normalise import Normaliser
from tacita.data.notes import Doubt
from tacita.data.reading import Decimal, Missing, Reading, Samples, Source
from tacita.errors import ConfigError, DataError, TacitaError
from tacita.values import Values, cat, shape_of

if TYPE_CHECKING:
    from tacita.data.dataset import Dataset, Schema

Size = Annotated[int, Field(ge=1, le=2**24)]
Mark = Annotated[str, Field(min_length=1, max_length=3)]
Strength = Literal["weak", "strong"]
Sample = Any
"""A sample as it is drawn: an array, or a mapping from a column to its cell, or text."""
Fact = tuple[str, str]
"""A short key and what is said of it."""


class Meta(BaseModel):
    """A data set's own facts, from the file that it was read from to the model that is saved.

    A modality adds its fields; every one is checked where a file is read, and bounded.

    shape: of one sample; of series and texts with the longest length first.
    wide: whether the values are floats of 64 bits.
    target, group, weight, id_column: the columns that labels, groups, weights and names came from.
    missing: what was done about missing values, and is done again.
    decimal, marks: how a table's numbers are written: the sign before the fraction, where it was told or
        found out, and by column the percent sign or the currency that all of them have.
    unlabelled_as, as_class: words that are no labels, and words that are, as the user said.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    modality: ClassVar[str]
    rank: ClassVar[int]
    """How many axes a sample has."""

    shape: tuple[Size, ...] = Field(min_length=1, max_length=4)
    wide: bool = False
    target: str | None = None
    group: str | None = None
    weight: str | None = None
    id_column: str | None = None
    missing: Missing = "refuse"
    decimal: Decimal | None = None
    marks: dict[str, Mark] = Field(default_factory=dict, max_length=1_000_000)
    unlabelled_as: tuple[str, ...] = ()
    as_class: tuple[str, ...] = ()

    @classmethod
    def of(cls, samples: Values, **facts: Any) -> Self:
        """The facts of these samples, beside those given. Raises `DataError` where they cannot be."""
        try:
            return cls(**{**cls.seen(samples), **facts})
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise DataError(
                f"samples of shape {shape_of(samples)} cannot be {cls.modality}: {where}: {first['msg']}.",
                remedy="Give samples with a value or more, and facts that are theirs.",
            ) from error

    @classmethod
    def seen(cls, samples: Values) -> dict[str, Any]:
        """What can be read off the samples themselves."""
        return {"shape": shape_of(samples), "wide": samples.dtype == torch.float64}

    def like(self, samples: Values) -> Self:
        """The same facts, of other samples."""
        return self.model_copy(update=self.seen(samples))

    @property
    def spec(self) -> InputSpec:
        """What an encoder must know."""
        return InputSpec(self.modality, tuple(self.shape))

    def limits(self, samples: Values) -> tuple[float, float] | None:
        """The least and the largest value that such samples may have; None where any will do."""
        return (0.0, 255.0) if samples.dtype == torch.uint8 else None

    def empty(self) -> Values:
        """No samples of this kind."""
        return torch.zeros(0, *self.shape, dtype=self.floats)

    @property
    def floats(self) -> torch.dtype:
        """The type of samples that are floats."""
        return torch.float64 if self.wide else torch.float32


class Modality(ABC):
    """One kind of samples: how they are read, normalised, seen, said, drawn and written.

    A subclass names its `meta`, and overrides what its `gives` promises; the rest has defaults.
    """

    card: ModalityCard
    """Filled in by `find`."""
    meta: ClassVar[type[Meta]]
    formats: ClassVar[tuple[str, ...]] = ()
    """Endings of files that it reads by itself, beside tables, arrays and folders."""
    alone: ClassVar[tuple[str, ...]] = ()
    """Endings of files that are one sample each."""
    wants: ClassVar[str] = ""
    """What its samples come in, for errors."""
    options: ClassVar[tuple[str, ...]] = ()
    """The options of reading that it alone takes."""
    dense_labels: ClassVar[bool] = False
    """Whether labels may be a folder of files as the samples are, a class for each value."""

    # Reading

    @abstractmethod
    def claims(self, source: Source, reading: Reading) -> int:
        """How surely a source holds such samples where nobody says so: 0 is no, more wins."""

    @abstractmethod
    def read(
        self, source: Source, reading: Reading, like: Schema | None, chunk: int | None
    ) -> Iterator[Samples]:
        """The samples of a source: of any form at first, and later such as those of `like`.

        chunk: how many to hold at once; None for all of them. Raises `DataError` for what cannot be
        learnt from, naming the place.
        """

    def as_read(self, data: Dataset, reading: Reading) -> Dataset:
        """A data set that comes ready, as the options of a reading have it."""
        return data

    def conform(self, samples: Samples, like: Schema) -> Samples:
        """Samples checked against what a model learnt from, and brought into its shape.

        Raises `DataError` for another shape.
        """
        if tuple(samples.meta.shape) != tuple(like.meta.shape):
            raise DataError(
                f"{samples.source}: samples of shape {tuple(samples.meta.shape)}, but the model was"
                f" trained with {tuple(like.meta.shape)}.",
                remedy="Give samples of the same shape.",
            )
        return samples

    def divided(self, data: Dataset) -> Dataset:
        """Samples that are too few to learn from some and be scored on others, as several parts of them."""
        return data

    def doubt(self, source: Source, samples: Samples, reading: Reading) -> Doubt | None:
        """What the samples of a source, read for the first time, may be instead; None where all is clear."""
        return None

    @abstractmethod
    def example(self) -> Dataset:
        """A tiny real data set of two classes or more, for the suites."""

    # Learning

    def normaliser(self, spec: InputSpec) -> Normaliser:
        """The normaliser of such samples, not yet fitted."""
        return Normaliser(spec)

    def views(self, spec: InputSpec, strength: Strength) -> nn.Module:
        """A view maker, from a batch to a batch with the labels kept."""
        raise self.lacks("views")

    def crops(self, spec: InputSpec, *, scale: tuple[float, float], size: float = 1.0) -> nn.Module:
        """A maker of random parts of each sample, of a share of it within `scale`.

        size: sides of what it gives as a share of the sample's; at 1 the part is magnified.
        """
        raise self.lacks("crops")

    def sides(self, spec: InputSpec) -> tuple[int, ...]:
        """The sides of a sample that a crop may shorten; none where nothing can be cut off."""
        return ()

    def first_half(self, batch: Batch, spec: InputSpec, other: Tensor) -> Tensor:
        """What is one half of each sample, as a mask that broadcasts to `batch.x`.

        other: `(B, 1, ...)` bool, where the cut is to be made the other way, if there are two.
        """
        raise self.lacks("halves")

    def rows(self, batch: Batch, spec: InputSpec) -> Tensor:
        """`(B, R)`: each normalised sample as one row of numbers, for what knows nothing of its kind."""
        return batch.x.flatten(1)

    def at_once(self, spec: InputSpec, size: int) -> int:
        """How many samples a forward pass takes where `size` of the usual ones fit into memory."""
        return size

    def join(self, parts: Sequence[Values], source: str) -> Values:
        """Samples of several pieces end to end. Raises `DataError` where they do not fit together."""
        return cat(parts)

    def check_alike(self, data: Dataset, other: Dataset) -> None:
        """Raise `DataError` where samples are of another shape or type than those before."""
        a, b = data.spec, other.spec
        if (a.shape, a.cardinalities, a.rates, data.samples.dtype.is_floating_point) != (
            b.shape, b.cardinalities, b.rates, other.samples.dtype.is_floating_point,
        ):  # fmt: skip
            raise unlike(data, other)

    def check_terms(self, data: Dataset, like: Schema) -> None:  # noqa: B027 (most have no terms)
        """Raise `DataError` where what stands in the samples means something else than to a model."""

    # Words

    @abstractmethod
    def words(self, data: Dataset) -> str:
        """The data set in a phrase: "1797 images, 8 x 8, grey"."""

    def facts(self, data: Dataset) -> list[Fact]:
        """What else there is to be said of it, a key and a phrase each."""
        return []

    def suspicions(self, data: Dataset) -> list[str]:
        """What looks wrong in the samples, each in a phrase."""
        return []

    def coarse(self, data: Dataset) -> tuple[Tensor, Tensor] | None:
        """Cheap features to tell two sets of samples apart: `(N, V)` coarse values, `(N, K)` of texture.

        None where there are none.
        """
        return None

    def features(self, data: Dataset) -> tuple[str, ...]:
        """What each sample tells in the same place, by name, such as columns; of most, nothing."""
        return ()

    def shuffled(self, data: Dataset, feature: int, order: Tensor) -> Dataset:
        """The samples where each has one of its `features` from another: from that at `order (N,)`."""
        raise self.lacks("features")

    def marks(self, data: Dataset) -> dict[str, list[str]]:
        """What the labelled samples of each class have oftener than the others, in words; none to say."""
        return {}

    # Showing and writing

    @abstractmethod
    def show(self, data: Dataset, position: int) -> Sample:
        """A sample as it came, to be drawn: `(C, H, W)`, `(L, C)`, a mapping of cells, or text."""

    def times(self, data: Dataset) -> list[list[str]] | None:
        """When the steps of each sample are; None where that is not known."""
        return None

    def write(
        self, parts: Iterable[tuple[Sequence[str], Sequence[Any]]], source: Path, out: Path | None
    ) -> int:
        """Write predictions that are as large as the samples of a source; gives how many there are.

        parts: what samples are called, and what was predicted for each. Raises `ConfigError`, before
        the first part is asked for, where they cannot be written so.
        """
        raise ConfigError(
            f"Predictions for every part of {self.card.name} are not written into files.",
            remedy="Use predict in Python.",
        )

    def to_come(self, source: Source, like: Schema) -> tuple[list[str], list[list[Any]]]:
        """The columns and rows that a source lacks for a model that forecasts, as far as they are known.

        Raises `ConfigError` where nothing is forecast.
        """
        raise ConfigError(
            f"{source.name}: there are no rows to come, as the model forecasts nothing.",
            remedy="Run fit with --horizon for a forecast.",
        )

    def example_inputs(self, normaliser: Normaliser, meta: Meta, size: int) -> Values:
        """Random raw samples such as a program would give an exported model."""
        generator = torch.Generator().manual_seed(size)
        return torch.rand(size, *meta.shape, generator=generator, dtype=meta.floats)

    def cannot(self, source: Source, like: Schema | None) -> TacitaError:
        """The error for a source that holds no such samples."""
        if like is not None:
            return DataError(
                f"{source.name}: this is {source.what}, but the model was trained on {self.card.name}.",
                remedy="Give the same kind of data.",
            )
        return ConfigError(
            f"{source.name}: {source.what} cannot be read as {self.card.name}.", remedy=self.wants
        )

    def lacks(self, need: str) -> ConfigError:
        """The error for what this modality does not give."""
        able = [name for name, card in discover.modalities().items() if need in card.gives]
        return ConfigError(
            f"There are no {need} of {self.card.name}.", remedy=f"Known: {', '.join(able)}."
        )


@cache
def find(name: str) -> Modality:
    """The modality of a name. Raises `ConfigError` with the nearest one for a name that there is not."""
    made: Modality = discover.load_modality(name)()
    made.card = discover.modality(name)
    return made


def unlike(data: Dataset, other: Dataset) -> DataError:
    """The error for samples that do not go with those before."""
    a, b = data.spec, other.spec
    return DataError(
        f"{other.source}: has {b.modality} of shape {b.shape} ({other.samples.dtype}), but "
        f"{data.source} has {a.modality} of shape {a.shape} ({data.samples.dtype}).",
        remedy="Give samples like the new ones; images can be resized with image_size.",
    )


def default_views(spec: InputSpec, strength: Strength) -> nn.Module:
    """The view maker for samples where a recipe names none.

    >>> type(default_views(InputSpec("series", (100, 3)), "weak")).__name__
    'SeriesViews'
    """
    return find(spec.modality).views(spec, strength)
