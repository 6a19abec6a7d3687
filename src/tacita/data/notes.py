"""What a reader did with a source that its user should know, said once and counted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from tacita.words import printable


class ReadingWarning(UserWarning):
    """A model's further samples were not quite as it knows them; the text counts and names them."""

    def __init__(self, text: str) -> None:
        super().__init__(printable(text))


class LearntWarning(UserWarning):
    """A model was scored on samples that it had learnt from; the text counts them."""


@dataclass(frozen=True)
class Note:
    """One kind of thing that was done to what was read.

    what: the thing, for one and for many: `("cell of column 'x' is no number", "cells of ...")`, or
        one sentence where nothing is counted.
    count: how often; first: where it was first done.

    >>> str(Note(("file was passed over", "files were passed over"), 2, "notes.txt"))
    '2 files were passed over, the first: notes.txt'
    >>> str(Note("the decimal sign is a comma"))
    'the decimal sign is a comma'
    """

    what: str | tuple[str, str]
    count: int = 1
    first: str = ""

    def __str__(self) -> str:
        if isinstance(self.what, str):
            return self.what
        said = f"{self.count} {self.what[self.count != 1]}"
        if not self.first:
            return said
        return f"{said}{', the first' * (self.count > 1)}: {self.first}"


@dataclass(frozen=True)
class Doubt:
    """What samples may be in truth, so that they are not split over parts until their user has said.

    what: what they look like, and why; remedy: the options that say it either way.

    >>> str(Doubt("these look like series", "--series-id window"))
    'these look like series: --series-id window'
    """

    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.what}: {self.remedy}"


def merged(notes: Iterable[Note]) -> tuple[Note, ...]:
    """Notes of one kind as one, with the sum of their counts and the first place, in order.

    >>> first, then = Note(("blank", "blanks"), 1, "row 2"), Note(("blank", "blanks"), 2, "row 9")
    >>> str(merged([first, then])[0])
    '3 blanks, the first: row 2'
    """
    found: dict[str | tuple[str, str], Note] = {}
    for note in notes:
        before = found.get(note.what)
        if before is not None:
            note = replace(before, count=before.count + note.count)
        found[note.what] = note
    return tuple(found.values())
