"""What there is to read, how it is to be read, and what every reader gives."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias, TypedDict

from tacita.catalog.plain import plain
from tacita.data.notes import Note
from tacita.errors import ConfigError

if TYPE_CHECKING:
    from tacita.data.modality import Meta
    from tacita.values import Values

Missing: TypeAlias = Literal["refuse", "impute"]
Decimal: TypeAlias = Literal[".", ","]
Calendar: TypeAlias = Literal["rows"]
PathLike: TypeAlias = str | os.PathLike[str]
Words: TypeAlias = str | Sequence[str]
"""One word or several; in a `Reading` a tuple of them."""


class ReadingOptions(TypedDict, total=False):
    """The options of reading, as all verbs take them; `tacita.load` says what each is."""

    labels: PathLike | None
    unlabelled_as: Words | None
    as_class: Words | None
    order: Words | None
    task: str | None
    group: str | None
    weight: str | None
    missing: Missing
    modality: str | None
    image_size: int | None
    series_id: str | None
    time: str | None
    text: str | None
    tokeniser: str | None
    ignore: Words | None
    categorical: Words | None
    numeric: Words | None
    decimal: Decimal | None
    id_column: str | None
    resample_labels: bool
    horizon: int | None
    season: int | None
    context: int | None
    known_ahead: Words | None
    calendar: Calendar | None


@dataclass(frozen=True)
class Reading:
    """How a source is to be read; the fields are those of `ReadingOptions`.

    What may be one word or several is a tuple here. Raises `ConfigError` for a policy of missing values
    that there is not, and for words that contradict each other.
    """

    labels: PathLike | None = None
    unlabelled_as: Words | None = None
    as_class: Words | None = field(default=None, metadata={"flag": "class"})
    order: Words | None = None
    task: str | None = None
    group: str | None = None
    weight: str | None = None
    missing: Missing = "refuse"
    modality: str | None = None
    image_size: int | None = None
    series_id: str | None = None
    time: str | None = None
    text: str | None = None
    tokeniser: str | None = None
    ignore: Words | None = None
    categorical: Words | None = None
    numeric: Words | None = None
    decimal: Decimal | None = None
    id_column: str | None = None
    resample_labels: bool = False
    horizon: int | None = None
    season: int | None = None
    context: int | None = None
    known_ahead: Words | None = None
    calendar: Calendar | None = None

    def __post_init__(self) -> None:
        for each in fields(self):
            object.__setattr__(self, each.name, plain(getattr(self, each.name)))
        for option in ("ignore", "categorical", "numeric", "known_ahead"):
            object.__setattr__(self, option, _names(getattr(self, option)))
        for name in ("unlabelled_as", "as_class", "order"):
            given = getattr(self, name)
            several = (
                () if given is None else given if isinstance(given, list | tuple) else (given,)
            )
            words = [str(word).strip() for word in several]
            if name == "order" and len(words) == 1:
                # Written in one word, an order is a list; an order of one class would be none.
                words = [word.strip() for word in words[0].split(",")]
            object.__setattr__(self, name, tuple(words))
        self._check_words()
        if self.decimal not in (None, ".", ","):
            raise ConfigError(
                f"decimal={self.decimal!r} is no decimal sign.", remedy="Give '.' or ','."
            )
        if self.calendar not in (None, "rows"):
            raise ConfigError(
                f"calendar={self.calendar!r} is no calendar.",
                remedy="Leave it out, or give 'rows': rows as they follow one another.",
            )
        for option in ("season", "context", "known_ahead", "calendar"):
            if getattr(self, option) is not None and self.horizon is None:
                raise ConfigError(
                    f"{option} is given, which belongs to a forecast, without a horizon.",
                    remedy="Say how many steps are to be forecast: --horizon 24.",
                )
        if self.missing not in ("refuse", "impute"):
            raise ConfigError(
                f"missing={self.missing!r} is not a policy.",
                remedy="Use missing='refuse' (stop at the first) or missing='impute' (fill them in).",
            )

    def _check_words(self) -> None:
        unlabelled, classes, order = (
            tuple(words or ()) for words in (self.unlabelled_as, self.as_class, self.order)
        )
        both = [word for word in unlabelled if word in (*classes, *order)]
        if both:
            raise ConfigError(
                f"unlabelled_as={both[0]!r}, which is named as a class too.",
                remedy="A word either is a class or means that there is no label.",
            )
        if len(order) == 1 or len(set(order)) < len(order) or "" in order:
            raise ConfigError(
                f"order={list(order)!r} is not an order of classes.",
                remedy="Name each class once, from the lowest: --order low,medium,high.",
            )


def _names(columns: Words | None) -> tuple[str, ...] | None:
    """The names of columns; None for none.

    >>> _names("age, height"), _names(["age, in years"]), _names("")
    (('age', 'height'), ('age, in years',), None)
    """
    if isinstance(columns, str):
        columns = [name.strip() for name in columns.split(",")]
    return tuple(name for name in columns or () if name) or None


class Source:
    """Something to read from: a table, arrays, a folder, a file, or samples in memory.

    name: what to call it in messages and reports.
    """

    what: ClassVar[str] = "this"
    """What it is, in messages."""
    name: str

    @property
    def notes(self) -> tuple[Note, ...]:
        """How it was understood, where that is not plain."""
        return ()


@dataclass(frozen=True)
class Samples:
    """What every reader gives: samples, their facts, and labels as they were written.

    labels, groups: one raw value a sample, or None where the source holds none.
    ids: a name for each sample; empty means "its number".
    owners: of samples cut out of something larger, its name, by which label files know them.
    weights: one raw weight a sample, or None where none are told.
    at: of series that were interpolated, the row among those that were read, or between two, of every step.
    starts: `(N,)` when each series begins, where that is known.
    skipped: names of what gave no sample, whose labels are then of no use.
    notes: what was done to the source that its user should know.
    """

    values: Values
    meta: Meta
    source: str
    labels: Any = None
    groups: Any = None
    ids: tuple[str, ...] = ()
    owners: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    notes: tuple[Note, ...] = ()
    weights: Any = None
    at: Any = None
    starts: Any = None

    def __len__(self) -> int:
        return len(self.values)

    def names(self, start: int) -> list[str]:
        """What each sample is called in label files and messages: its id, or its number from `start`."""
        return list(self.ids) or [str(start + i) for i in range(len(self))]
