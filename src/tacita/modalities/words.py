"""Counts and lists in words."""

from __future__ import annotations

from collections.abc import Sequence

SHOWN = 8


def plural(count: int, word: str) -> str:
    """A count and its word.

    >>> plural(1, "channel"), plural(2, "class")
    ('1 channel', '2 classes')
    """
    ending = "es" if word.endswith("s") else "s"
    return f"{count} {word}{ending * (count != 1)}"


def listed(word: str, names: Sequence[str]) -> str:
    """A word and the first of the names.

    >>> listed("column", ["a", "b"])
    "columns 'a', 'b'"
    """
    shown = ", ".join(repr(name) for name in names[:SHOWN])
    return f"{word}{'s' * (len(names) > 1)} {shown}{', ...' * (len(names) > SHOWN)}"
