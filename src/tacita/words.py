"""Counts and lists in words, and the word that was meant."""

from __future__ import annotations

import difflib
import html
import re
from collections.abc import Iterable, Sequence
from typing import IO

SHOWN = 8
_UNPRINTABLE = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""What moves the cursor, colours or turns the text of a terminal, and halves of characters."""


def printable(text: str) -> str:
    """Text that a stranger may have written, as it can be shown: control characters as their escapes.

    >>> print(printable("a\\x1b[2Jb"))
    a\\x1b[2Jb
    """
    return _UNPRINTABLE.sub(lambda found: ascii(found[0])[1:-1], text)


class Shown:
    """A stream for what may be the text of strangers: escapes on a terminal, and exact anywhere else.

    >>> import io
    >>> stream = io.StringIO()
    >>> _ = Shown(stream).write("a\\x1b[2Jb")
    >>> stream.getvalue() == "a\\x1b[2Jb"  # No terminal, so that what reads it gets it as it is.
    True
    """

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write a text; a terminal gets its lines, but no control characters."""
        if self._stream.isatty():
            text = printable(text.replace("\r\n", "\n"))
        return self._stream.write(text)


def plural(count: int, word: str) -> str:
    """A count and its word.

    >>> plural(1, "channel"), plural(2, "class")
    ('1 channel', '2 classes')
    """
    ending = "es" if word.endswith("s") else "s"
    return f"{count} {word}{ending * (count != 1)}"


def seconds_in_words(seconds: float) -> str:
    """A duration as one would say it.

    >>> seconds_in_words(8.4), seconds_in_words(150), seconds_in_words(7200)
    ('8 s', '2.5 min', '2 h')
    """
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= 1.5 * length:
            return f"{seconds / length:.2g} {unit}"
    return f"{seconds:.0f} s"


def listed(word: str, names: Sequence[str]) -> str:
    """A word and the first of the names.

    >>> listed("column", ["a", "b"])
    "columns 'a', 'b'"
    """
    shown = ", ".join(repr(name) for name in names[:SHOWN])
    return f"{word}{'s' * (len(names) > 1)} {shown}{', ...' * (len(names) > SHOWN)}"


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word closest to a misspelt one, if any is close.

    >>> nearest("regresion", ["classification", "regression"])
    'regression'
    """
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return close[0] if close else None


def html_table(title: str, rows: Iterable[tuple[str, str]], most: int = 12) -> str:
    """A short table for a notebook, a key and a text a row; everything is escaped and bounded.

    >>> html_table("Model <a>", [("task", "x & y")])
    '<table><caption>Model &lt;a&gt;</caption><tr><th>task</th><td>x &amp; y</td></tr></table>'
    """

    def cell(text: str) -> str:
        whole = text if len(text) <= 200 else text[:199] + "\N{HORIZONTAL ELLIPSIS}"
        return html.escape(whole.encode("utf-8", "replace").decode())

    shown = list(rows)
    lines = [f"<tr><th>{cell(key)}</th><td>{cell(text)}</td></tr>" for key, text in shown[:most]]
    if len(shown) > most:
        lines.append(f"<tr><th></th><td>and {len(shown) - most} more</td></tr>")
    return f"<table><caption>{cell(title)}</caption>{''.join(lines)}</table>"
