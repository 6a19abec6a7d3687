"""Which methods there are: read from the sources of the rooms, without importing any of them.

To add a method is to add one file with a class under `@method(...)`; nothing is listed twice.
"""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from difflib import get_close_matches
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from tacita.catalog.cards import REGISTERED, Card, clash
from tacita.errors import ConfigError, MissingExtraError

ROOT = Path(__file__).parents[1]
ROOMS = ("layers", "encoders", "pretrain", "semisup", "adapt", "baselines", "audit", "apps")


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
            remedy="Run `tacita methods` to see all of them.",
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
    """
    words = re.findall(r"[\w.]+", query.lower())
    ranked = []
    for card in cards().values():
        fits = (
            family in (None, card.family)
            and (modality is None or modality in card.modalities)
            and labels in (None, card.labels)
            and (task is None or card.learns(task))
        )
        weights = [_weight(word, card) for word in words]
        if fits and all(weights):
            ranked.append((-sum(weights), card))
    return [card for _, card in sorted(ranked, key=lambda pair: pair[0])]


@cache
def scan(root: Path) -> Mapping[str, Card]:
    """The cards in the rooms under `root`, the folder of a package of the same name.

    Raises `ConfigError` naming file and line where a card cannot be read.
    """
    found: dict[str, Card] = {}
    for room in ROOMS:
        files = sorted([*(root / room).glob("*.py"), *(root / room).glob("*/__init__.py")])
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
    text = path.read_text(encoding="utf-8")
    if "@method(" not in text:  # parsing is most of the time that a search takes
        return
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        raise ConfigError(f"{path}, line {error.lineno}: {error.msg}.") from error
    for node in tree.body:
        if not isinstance(node, ast.ClassDef):
            continue
        for call in node.decorator_list:
            if isinstance(call, ast.Call) and ast.unparse(call.func) == "method":
                yield _read_card(call, node, path, module)


def _read_card(call: ast.Call, node: ast.ClassDef, path: Path, module: str) -> Card:
    try:
        arguments = [ast.literal_eval(value) for value in call.args]
        fields = {str(item.arg): ast.literal_eval(item.value) for item in call.keywords}
        card = Card(*arguments, **fields)
    except (ValueError, TypeError) as error:  # not literals; not the fields of a card
        raise ConfigError(
            f"{path}, line {call.lineno}: the card of {node.name} cannot be read ({error}).",
            remedy="Give @method(...) a name and the fields of tacita.catalog.Card, as literals.",
        ) from error
    doc = ast.get_docstring(node) or ""
    return replace(card, target=f"{module}:{node.name}", doc=doc, path=str(path))


def _weight(word: str, card: Card) -> int:
    if word in card.slug or word in card.title.lower():
        return 9
    if word in card.summary.lower():
        return 3
    rest = (card.family, *card.modalities, *card.tasks, *card.reuses, card.claim, card.doc)
    return int(word in " ".join((*rest, card.labels, str(card.year), card.paper)).lower())


def _extra_of(package: str) -> str | None:
    """The extra of this distribution that brings a package, from the package's own metadata."""
    wanted = package.lower().replace("_", "-")
    for requirement in metadata.requires("tacita") or []:
        name = re.split(r"[^\w.-]", requirement, maxsplit=1)[0].lower().replace("_", "-")
        extra = re.search(r"extra\s*==\s*['\"]([\w-]+)['\"]", requirement)
        if name == wanted and extra and extra[1] != "dev":
            return extra[1]
    return None
