"""The README's table of what there is, from the cards: `python -m tacita.catalog.tables README.md`."""

from __future__ import annotations

import sys
from pathlib import Path

from tacita.catalog import discover
from tacita.catalog.cards import Card
from tacita.catalog.tasks import task_cards
from tacita.errors import ConfigError

BEGIN, END = "<!-- methods -->", "<!-- /methods -->"
FAMILIES = {
    "encoder": "encoders",
    "layer": "sequence layers",
    "pretrain": "without labels",
    "semisup": "few labels and many samples without",
    "adapt": "labels, on an encoder or alone",
    "baseline": "baselines",
    "audit": "audit",
    "app": "applications and streams",
}
"""The families in the order of the table, and what its rows are called."""


def method_table() -> str:
    """Every modality, task and method by name; what works on one kind of samples only stands behind it."""
    rows = {
        "samples": ", ".join(f"`{name}`" for name in discover.modalities()),
        "tasks": ", ".join(f"`{name}`" for name in task_cards()),
    }
    known = discover.scan(discover.ROOT).values()
    for family, title in FAMILIES.items():
        rows[title] = _named([card for card in known if card.family == family])
    lines = [f"| {title} | {names} |" for title, names in rows.items()]
    return "\n".join(["| | in |", "|---|---|", *lines])


def _named(cards: list[Card]) -> str:
    """Names, those of one modality apart: "`a`, `b`; of volumes `c`"."""
    shared = [f"`{card.slug}`" for card in cards if len(discover.reads(card)) != 1]
    groups = [", ".join(shared)] if shared else []
    for name in discover.modalities():
        own = [f"`{card.slug}`" for card in cards if discover.reads(card) == (name,)]
        if own:
            groups.append(f"of {name} {', '.join(own)}")
    return "; ".join(groups)


def with_table(page: str) -> str:
    """A page with the table between its marks. Raises `ConfigError` for a page without marks.

    >>> with_table("<!-- methods --><!-- /methods -->").splitlines()[3]
    '|---|---|'
    """
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ConfigError(
            f"the page has no {BEGIN} and {END}.", remedy="Put both where it belongs."
        )
    return f"{head}{BEGIN}\n\n{method_table()}\n\n{END}{tail}"


if __name__ == "__main__":
    for name in sys.argv[1:]:
        path = Path(name)
        path.write_text(with_table(path.read_text("utf-8")), "utf-8")
