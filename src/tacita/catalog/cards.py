"""A method's card: what it is for, the paper it comes from, the data and the labels that it needs.

`@method(...)` stands on the class of every method. Its arguments are literals, so that the catalog
can read a card from the source without importing the module, and torch with it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_args

from tacita.errors import ConfigError

Family = Literal["layer", "encoder", "pretrain", "semisup", "adapt", "baseline", "audit", "app"]
LabelSituation = Literal["none", "few", "many"]
FAMILIES: tuple[str, ...] = get_args(Family)
LABEL_SITUATIONS: tuple[str, ...] = get_args(LabelSituation)
MODALITIES: tuple[str, ...] = (
    "images",
    "volumes",
    "series",
    "tables",
    "skeletons",
    "graphs",
    "audio",
    "text",
    "code",
    "points",
)
TASK_NAMES: tuple[str, ...] = (
    "classification",
    "open-set",
    "ordinal",
    "regression",
    "segmentation",
)
LEARNT_AS = {"open-set": "classification"}
"""A task that whatever learns another one learns too: an open set's known classes are classes."""

ClassT = TypeVar("ClassT", bound=type[Any])


@dataclass(frozen=True)
class Card:
    """What the catalog knows of one method; `target` is where its class is, as `module:Class`.

    Raises `ConfigError` naming the method and the field where a field is not as it should be.

    >>> Card("knn", title="Nearest neighbours", family="adapt", modalities=("images",), summary="?").year
    0
    """

    slug: str
    title: str
    family: Family
    modalities: tuple[str, ...]
    summary: str
    """What it is for, in one sentence."""
    paper: str = ""
    year: int = 0
    labels: LabelSituation = "none"
    """What it is worth using with: no label at all, a few, or many."""
    tasks: tuple[str, ...] = ()
    """The tasks that it can learn; empty means any."""
    reuses: tuple[str, ...] = ()
    """The parts of the house that it is made of."""
    encoder: bool = True
    """Of what learns from labels: whether it does so around an encoder. A baseline never does."""
    claim: str = ""
    """What its claim check shows, in one sentence; empty where there is none."""
    target: str = ""
    doc: str = ""
    path: str = ""

    def __post_init__(self) -> None:
        self._require(
            "slug",
            isinstance(self.slug, str) and re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", self.slug),
            "words in lower case joined by hyphens",
        )
        for name in ("title", "summary"):
            value = getattr(self, name)
            self._require(name, isinstance(value, str) and value.strip(), "one line of text")
        for name in ("modalities", "tasks", "reuses"):
            value = getattr(self, name)
            strings = isinstance(value, tuple) and all(isinstance(item, str) for item in value)
            self._require(name, strings, "a tuple of strings")
        self._require("encoder", isinstance(self.encoder, bool), "true or false")
        self._require("claim", isinstance(self.claim, str), "one sentence, or empty")
        self._require("family", self.family in FAMILIES, f"one of {', '.join(FAMILIES)}")
        self._require(
            "modalities",
            self.modalities and set(self.modalities) <= set(MODALITIES),
            f"some of {', '.join(MODALITIES)}",
        )
        self._require(
            "labels", self.labels in LABEL_SITUATIONS, f"one of {', '.join(LABEL_SITUATIONS)}"
        )
        self._require(
            "tasks", set(self.tasks) <= set(TASK_NAMES), f"some of {', '.join(TASK_NAMES)}"
        )
        self._require(
            "paper",
            isinstance(self.paper, str) and (not self.paper or self.paper.startswith("https://")),
            "an address that starts with https://, or empty",
        )
        self._require(
            "year",
            type(self.year) is int and (self.year == 0 or 1900 <= self.year < 2100),
            "the paper's year, or 0",
        )

    def learns(self, task: str) -> bool:
        """Whether the method can learn a task."""
        return not self.tasks or not {task, LEARNT_AS.get(task)}.isdisjoint(self.tasks)

    @property
    def needs_encoder(self) -> bool:
        """Whether a recipe that learns by it has an encoder."""
        return self.encoder and self.family != "baseline"

    def _require(self, name: str, right: object, expected: str) -> None:
        if not right:
            raise ConfigError(
                f"the card of {self.slug!r} has {name}={getattr(self, name)!r}.",
                remedy=f"Give {expected}, in @method(...) on its class.",
            )


REGISTERED: dict[str, tuple[Card, type[Any]]] = {}
"""The methods whose modules have been imported: where one defined in a notebook is found."""


def method(
    slug: str,
    *,
    title: str,
    family: Family,
    modalities: tuple[str, ...],
    summary: str,
    paper: str = "",
    year: int = 0,
    labels: LabelSituation = "none",
    tasks: tuple[str, ...] = (),
    reuses: tuple[str, ...] = (),
    encoder: bool = True,
    claim: str = "",
) -> Callable[[ClassT], ClassT]:
    """Put a card on a method's class; every argument is a literal. The fields are those of `Card`.

    Raises `ConfigError` where a field is wrong or another class already has the slug.

    >>> @method("twice", title="Twice", family="layer", modalities=("series",), summary="Doubles.")
    ... class Twice: ...
    >>> REGISTERED.pop("twice")[1] is Twice
    True
    """

    def register(cls: ClassT) -> ClassT:
        module = sys.modules.get(cls.__module__)
        card = Card(
            slug,
            title=title,
            family=family,
            modalities=modalities,
            summary=summary,
            paper=paper,
            year=year,
            labels=labels,
            tasks=tasks,
            reuses=reuses,
            encoder=encoder,
            claim=claim,
            target=f"{cls.__module__}:{cls.__qualname__}",
            doc=cls.__doc__ or "",
            path=getattr(module, "__file__", None) or "",
        )
        # The same class defined again is a notebook cell run twice; another one is a mistake.
        known = REGISTERED.get(slug)
        if known is not None and known[0].target != card.target:
            raise clash(card, known[0])
        REGISTERED[slug] = card, cls
        return cls

    return register


def clash(card: Card, known: Card) -> ConfigError:
    """The error for two classes under one slug."""
    return ConfigError(
        f"{card.slug!r} is the name of both {known.target} and {card.target}.",
        remedy="Give one of them another name in @method(...).",
    )
