"""Cards as text: the list that `tacita methods` prints, and the page that `tacita show` prints."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from tacita.catalog import discover
from tacita.catalog.cards import FAMILIES, Card
from tacita.catalog.claims import measured
from tacita.catalog.signature import Parameter, parameters

_TRY = {
    "pretrain": "tacita pretrain {slug} DATA",
    "adapt": "tacita adapt {slug} DATA --from runs/NAME",
    "semisup": "tacita adapt {slug} DATA",
    "baseline": "tacita compare DATA --methods {slug}",
    "encoder": "tacita pretrain barlow-twins DATA encoder={slug}",
}


def method_list(cards: Sequence[Card], width: int | None = None) -> str:
    """One line a method under the name of its family, cut to a width if one is given."""
    names = max((len(card.slug) for card in cards), default=0)
    reads = max((len(_reads(card)) for card in cards), default=0)
    lines = []
    by_family = sorted(cards, key=lambda card: FAMILIES.index(card.family))
    for family, group in groupby(by_family, key=lambda card: card.family):
        lines.append(family)
        for card in group:
            modalities = _reads(card)
            line = f"  {card.slug:{names}}  {modalities:{reads}}  {card.summary}"
            lines.append(_cut(line, width))
    return "\n".join(lines)


def facts(card: Card) -> dict[str, str]:
    """What is known of one method beside its options, in words: what it is for, its paper, its figures."""
    usage = _TRY.get(card.family, "") if card.encoder else "tacita adapt {slug} DATA"
    rows = {
        "for": card.summary,
        "paper": f"{card.paper} ({card.year})" if card.paper else "",
        "data": _reads(card),
        "needs": ", ".join(card.needs),
        "labels": card.labels,
        "tasks": ", ".join(card.tasks) or "any",
        "reuses": ", ".join(card.reuses),
        "claim": card.claim,
        "measured": _figures(measured(card.slug)),
        "class": card.target.replace(":", "."),
        "try": usage.format(slug=card.slug),
    }
    return {key: text for key, text in rows.items() if text}


def method_page(slug: str, width: int = 100) -> str:
    """All that is known of one method. Raises `ConfigError` if there is no such method."""
    card = discover.get(slug)
    rows = [_row(f"{key:8}", text, width) for key, text in facts(card).items()]
    title = f"{card.slug}: {card.title} ({card.family})"
    known = parameters(slug)
    options = [_option(parameter, width) for parameter in known.values()]
    # The options follow below, and the examples are for readers of the source.
    prose = [
        paragraph
        for paragraph in card.doc.split("\n\n")
        if paragraph.partition(":")[0] not in known and not paragraph.startswith(">>>")
    ]
    parts = ["\n".join([title, *rows]), *prose]
    if options:
        parts.append("\n".join(["options, as key=value:", *options]))
    return "\n\n".join(part for part in parts if part)


def _reads(card: Card) -> str:
    return ", ".join(discover.reads(card))


def _option(parameter: Parameter, width: int) -> str:
    default = "required" if parameter.default is None else parameter.default
    text = f"{parameter.expected}; {parameter.doc}" if parameter.doc else parameter.expected
    return _row(f"  {parameter.name}={default}", text, width, indent=6)


def _figures(record: Mapping[str, Any]) -> str:
    """What a claim check recorded: whether the claim holds, and the means over the seeds."""
    if not record:
        return ""
    mean = record.get("mean")
    figures = mean.items() if isinstance(mean, dict) else ()
    shown = [f"{name} {value:.3f}" for name, value in figures if isinstance(value, int | float)]
    seeds = record.get("seeds")
    count = f" (mean of {len(seeds)} seeds)" if isinstance(seeds, list) else ""
    verdict = "the claim holds here" if record.get("holds") else "the claim does NOT hold here"
    return f"{verdict}: {', '.join(shown)}{count}"


def _row(head: str, text: str, width: int, indent: int = 10) -> str:
    return textwrap.fill(
        f"{head}  {text}",
        width,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _cut(line: str, width: int | None) -> str:
    return line if width is None or len(line) <= width else f"{line[: width - 1].rstrip()}…"
