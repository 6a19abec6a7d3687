"""Which methods there are: read from the sources of the rooms, without importing any of them.

To add a method is to add one file with a class under `@method(...)`; nothing is listed twice.
"""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

from tacita.catalog.cards import MODALITIES, REGISTERED, Card, ModalityCard, clash
from tacita.catalog.sources import decorated, read_card
from tacita.errors import ConfigError, MissingExtraError

ROOT = HOUSE = Path(__file__).parents[1]
"""Where methods are looked for, and where modalities are: the package itself."""
ROOMS = (
    "layers",
    "encoders",
    "pretrain",
    "semisup",
    "adapt",
    "baselines",
    "audit",
    "stream",
    "apps",
)


def cards() -> dict[str, Card]:
    """Every card by its slug: those of the house, then those of classes that a user has defined.

    Raises `ConfigError` where a card is malformed or two classes have one name.
    """
    found = dict(scan(ROOT))
    for slug, (card, _) in REGISTERED.items():
        known = found.setdefault(slug, card)
        if known.target != card.target:
            raise clash(card, known)
    return found


def get(slug: str) -> Card:
    """The card of one method. Raises `ConfigError` with the nearest name if there is none."""
    found = cards()
    if slug not in found:
        raise ConfigError(
            f"there is no method {slug!r}{did_you_mean(slug, found)}",
            remedy="Run `tacita methods` to see all of them; a module of your own is first given its name by"
            " tacita.encoders.wrap.",
        )
    return found[slug]


def load_class(slug: str) -> type[Any]:
    """The class of one method, imported now.

    Raises `MissingExtraError` where an optional package is not installed that it needs.
    """
    card = get(slug)
    if slug in REGISTERED:
        return REGISTERED[slug][1]
    module, _, name = card.target.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        extra = _extra_of(package)
        if extra is None:
            raise
        raise MissingExtraError(package, extra) from error


def modalities() -> dict[str, ModalityCard]:
    """Every modality's card by its name: those of the house, then those that a user has defined."""
    return {**scan_modalities(HOUSE), **{name: card for name, (card, _) in MODALITIES.items()}}


def modality(name: str) -> ModalityCard:
    """The card of one modality. Raises `ConfigError` with the nearest name if there is none."""
    found = modalities()
    if name not in found:
        near = get_close_matches(name, list(found), n=1, cutoff=0.5)
        raise ConfigError(
            f"modality={name!r} is not one.",
            remedy=f"Did you mean {near[0]!r}?" if near else f"Modalities: {', '.join(found)}.",
        )
    return found[name]


def load_modality(name: str) -> type[Any]:
    """The class of one modality, imported now."""
    card = modality(name)
    if name in MODALITIES:
        return MODALITIES[name][1]
    module, _, attribute = card.target.partition(":")
    return getattr(importlib.import_module(module), attribute)


def reads(card: Card) -> tuple[str, ...]:
    """The modalities that a method works on: those it names, or all that give what it needs."""
    known = modalities()
    if card.modalities:
        return tuple(name for name in known if name in card.modalities)
    return tuple(name for name, each in known.items() if set(card.needs) <= set(each.gives))


def search(
    query: str = "",
    *,
    family: str | None = None,
    modality: str | None = None,
    labels: str | None = None,
    task: str | None = None,
) -> list[Card]:
    """The cards in which every word of the query is found, the best match first.

    A word counts most in a name or title, then in the summary, then anywhere else; a query
    without words gives every card in the order of the rooms.

    >>> [card.slug for card in search("vicreg", family="pretrain")][0]
    'vicreg'
    """
    words = re.findall(r"[\w.]+", query.lower())
    ranked = []
    for card in cards().values():
        fits = (
            family in (None, card.family)
            and (modality is None or modality in reads(card))
            and labels in (None, card.labels)
            and (task is None or card.learns(task))
        )
        weights = [_weight(word, card) for word in words]
        if fits and all(weights):
            ranked.append((-sum(weights), card))
    return [card for _, card in sorted(ranked, key=lambda pair: pair[0])]


@cache
def scan_modalities(root: Path) -> Mapping[str, ModalityCard]:
    """The modalities' cards in their folders under `root`, the folder of a package of the same name."""
    found = {}
    for path in sorted((root / "modalities").glob("*/__init__.py")):
        module = ".".join((root.name, *path.relative_to(root).parts[:-1]))
        for node, call in decorated(path, "modality"):
            card = read_card(ModalityCard, call, node, path, **_place(node, path, module))
            found[card.name] = card
    return found


@cache
def scan(root: Path) -> Mapping[str, Card]:
    """The cards in the rooms under `root`, the folder of a package of the same name.

    Raises `ConfigError` naming file and line where a card cannot be read.
    """
    found: dict[str, Card] = {}
    for room in ROOMS:
        files = sorted((root / room).rglob("*.py"))
        for path in files:
            module = ".".join((root.name, *path.relative_to(root).with_suffix("").parts))
            for card in _cards_in(path, module.removesuffix(".__init__")):
                if card.slug in found:
                    raise clash(card, found[card.slug])
                found[card.slug] = card
    return found


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of a sentence that says a name is unknown: the nearest known one, if one is near.

    >>> did_you_mean("stepz", ["steps", "seed"]), did_you_mean("x", ["steps"])
    ('; did you mean steps?', '.')
    """
    near = get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {near[0]}?" if near else "."


def _cards_in(path: Path, module: str) -> Iterator[Card]:
    for node, call in decorated(path, "method"):
        yield read_card(Card, call, node, path, **_place(node, path, module))


def _place(node: ast.ClassDef, path: Path, module: str) -> dict[str, str]:
    """What a card has besides its literals: where its class is, and what it says of itself."""
    doc = ast.get_docstring(node) or ""
    return {"target": f"{module}:{node.name}", "doc": doc, "path": str(path)}


def _weight(word: str, card: Card) -> int:
    if word in card.slug or word in card.title.lower():
        return 9
    if word in card.summary.lower():
        return 3
    rest = (card.family, *reads(card), *card.needs, *card.tasks, *card.reuses, card.claim, card.doc)
    return int(word in " ".join((*rest, card.labels, str(card.year), card.paper)).lower())


def _extra_of(package: str) -> str | None:
    """The extra of this distribution that brings a package, from the package's own metadata."""
    from importlib import metadata  # Half the time that help would take.

    wanted = package.lower().replace("_", "-")
    for requirement in metadata.requires("tacita") or []:
        name = re.split(r"[^\w.-]", requirement, maxsplit=1)[0].lower().replace("_", "-")
        extra = re.search(r"extra\s*==\s*['\"]([\w-]+)['\"]", requirement)
        if name == wanted and extra and extra[1] != "dev":
            return extra[1]
    return None
