"""Counts and lists in words, and the word that was meant."""

from __future__ import annotations

import difflib
import html
from collections.abc import Iterable, Sequence

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
