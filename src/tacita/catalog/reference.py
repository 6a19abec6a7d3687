"""The reference's pages of methods, one a family: `python -m tacita.catalog.reference FOLDER`.

A method's facts, its options and their defaults come from here; what its module holds is put below them
when the pages are built.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from tacita.catalog import discover
from tacita.catalog.cards import Card
from tacita.catalog.pages import facts
from tacita.catalog.signature import Parameter, parameters
from tacita.catalog.tables import FAMILIES

INTRODUCTION = (
    "Written by `make tables` from the cards and the recorded figures: what is wrong here is mended there.\n"
    "`tacita show NAME` prints the same, `tacita methods` searches."
)


def reference_pages() -> dict[str, str]:
    """The text of every page by its file's name.

    >>> "## byol" in reference_pages()["pretrain.md"]
    True
    """
    known = discover.scan(discover.ROOT).values()
    return {
        f"{family}.md": _page(title, [card for card in known if card.family == family])
        for family, title in FAMILIES.items()
    }


def _page(title: str, cards: Sequence[Card]) -> str:
    head = f"# Methods: {title}\n\n{INTRODUCTION}\n"
    return "\n".join([head, *map(_section, cards)])


def _section(card: Card) -> str:
    known = facts(card)
    if card.paper:
        known["paper"] = f"<{card.paper}> ({card.year})"
    rows = [f"| {key} | {_cell(text)} |" for key, text in known.items()]
    parts = [f"## {card.slug}", f"{card.title}.", "\n".join(["| | |", "|---|---|", *rows])]
    options = [_option(parameter) for parameter in parameters(card.slug).values()]
    if options:
        parts.append("\n".join(["| option | default | what it is |", "|---|---|---|", *options]))
    parts.append(f"::: {card.target.partition(':')[0]}\n")
    return "\n\n".join(parts)


def _option(parameter: Parameter) -> str:
    default = "required" if parameter.default is None else f"`{_cell(parameter.default)}`"
    text = f"{parameter.expected}; {parameter.doc}" if parameter.doc else parameter.expected
    return f"| `{parameter.name}` | {default} | {_cell(text)} |"


def _cell(text: str) -> str:
    """As it can stand in a cell: what would end the cell is escaped."""
    return text.replace("|", "\\|")


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    for name, page in reference_pages().items():
        (folder / name).write_text(page, "utf-8")
