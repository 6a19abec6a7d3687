"""What there is to read, how it is to be read, and what every reader gives."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias, TypedDict

from tacita.data.notes import Note
from tacita.errors import ConfigError

if TYPE_CHECKING:
    from tacita.data.modality import Meta
    from tacita.values import Values

Missing: TypeAlias = Literal["refuse", "impute"]
PathLike: TypeAlias = str | os.PathLike[str]


class ReadingOptions(TypedDict, total=False):
    """The options of reading, as all verbs take them; `tacita.load` says what each is."""

    labels: PathLike | None
    task: str | None
    group: str | None
    missing: Missing
    modality: str | None
    image_size: int | None
    series_id: str | None
    time: str | None
    text: str | None
    tokeniser: str | None


@dataclass(frozen=True)
class Reading:
    """How a source is to be read; the fields are those of `ReadingOptions`.

    Raises `ConfigError` for a policy of missing values that there is not.
    """

    labels: PathLike | None = None
    task: str | None = None
    group: str | None = None
    missing: Missing = "refuse"
    modality: str | None = None
    image_size: int | None = None
    series_id: str | None = None
    time: str | None = None
    text: str | None = None
    tokeniser: str | None = None

    def __post_init__(self) -> None:
        if self.missing not in ("refuse", "impute"):
            raise ConfigError(
                f"missing={self.missing!r} is not a policy.",
                remedy="Use missing='refuse' (stop at the first) or missing='impute' (fill them in).",
            )


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

    def __len__(self) -> int:
        return len(self.values)

    def names(self, start: int) -> list[str]:
        """What each sample is called in label files and messages: its id, or its number from `start`."""
        return list(self.ids) or [str(start + i) for i in range(len(self))]
