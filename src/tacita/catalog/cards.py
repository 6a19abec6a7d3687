"""A method's card: what it is for, the paper it comes from, the data and the labels that it needs.

`@method(...)` stands on the class of every method. Its arguments are literals, so that the catalog
can read a card from the source without importing the module, and torch with it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar, get_args

from tacita.catalog.tasks import task_cards
from tacita.errors import ConfigError

Family = Literal["layer", "encoder", "pretrain", "semisup", "adapt", "baseline", "audit", "app"]
LabelSituation = Literal["none", "few", "many"]
FAMILIES: tuple[str, ...] = get_args(Family)
LEARN = ("semisup", "adapt", "baseline")
"""The families whose methods predict."""
LABEL_SITUATIONS: tuple[str, ...] = get_args(LabelSituation)

ClassT = TypeVar("ClassT", bound=type[Any])


@dataclass(frozen=True)
class Card:
    """What the catalog knows of one method; `target` is where its class is, as `module:Class`.

    Raises `ConfigError` naming the method and the field where a field is not as it should be.

    >>> Card("knn", title="Nearest neighbours", family="adapt", summary="?").year
    0
    """

    slug: str
    title: str
    family: Family
    summary: str
    """What it is for, in one sentence."""
    modalities: tuple[str, ...] = ()
    """The kinds of samples that it reads by name, as an encoder does; else it reads what gives its needs."""
    needs: tuple[str, ...] = ()
    """What a modality must give for the method to work on it, such as "views"; see `ModalityCard.gives`."""
    paper: str = ""
    year: int = 0
    labels: LabelSituation = "none"
    """What it is worth using with: no label at all, a few, or many."""
    tasks: tuple[str, ...] = ()
    """The tasks that it can learn; empty means any, but for those apart."""
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
        for name in ("modalities", "needs", "tasks", "reuses"):
            value = getattr(self, name)
            strings = isinstance(value, tuple) and all(isinstance(item, str) for item in value)
            self._require(name, strings, "a tuple of strings")
        self._require("encoder", isinstance(self.encoder, bool), "true or false")
        self._require("claim", isinstance(self.claim, str), "one sentence, or empty")
        self._require("family", self.family in FAMILIES, f"one of {', '.join(FAMILIES)}")
        self._require(
            "labels", self.labels in LABEL_SITUATIONS, f"one of {', '.join(LABEL_SITUATIONS)}"
        )
        known = set(task_cards()) if self.tasks else set()
        self._require("tasks", set(self.tasks) <= known, f"some of {', '.join(sorted(known))}")
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
        if task in self.tasks:
            return True
        card = task_cards().get(task)
        if not self.tasks:
            # What features are made by has no task.
            return card is None or not card.apart or self.family not in LEARN
        return card is not None and card.learnt_as in self.tasks

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


@dataclass(frozen=True)
class ModalityCard:
    """What the catalog knows of one kind of samples; its class, a `Modality`, does the rest.

    >>> ModalityCard("images", title="Images", encoder="residual-cnn", gives=("views",)).extra
    ''
    """

    name: str
    title: str
    encoder: str
    """The encoder to take where none is named."""
    gives: tuple[str, ...] = ()
    """What methods can ask of it:

    `views` weak and strong views; `crops` parts of a sample; `halves` which half of it is the first;
    `rows` flat rows of numbers; `numbers` samples of which two can be averaged; `patches` an encoder of
    patches that can be hidden; `neighbours` patches that lie beside each other; `steps` an order in
    time, `tokens` words of a vocabulary, `dropout` an encoder that reads a sample otherwise each time in
    training; `pixels`, `slices`, `columns` and `sensors` as their names say.
    """
    encoders: Mapping[str, str] = field(default_factory=dict)
    """By need, the encoder that serves it where the usual one does not."""
    usual: tuple[str, ...] = ()
    """The recipes that `fit` compares, beside the baselines."""
    hidden_share: float = 0.5
    """How much of a sample masked reconstruction hides by default."""
    extra: str = ""
    """The extra that it needs to be installed, if any."""
    target: str = ""
    doc: str = ""
    path: str = ""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", self.name):
            raise ConfigError(
                f"the modality {self.name!r} has no proper name.",
                remedy="Give words in lower case joined by hyphens, in @modality(...).",
            )


MODALITIES: dict[str, tuple[ModalityCard, type[Any]]] = {}
"""The modalities whose modules have been imported: where one defined in a notebook is found."""


def modality(
    name: str,
    *,
    title: str,
    encoder: str,
    gives: tuple[str, ...] = (),
    encoders: Mapping[str, str] | None = None,
    usual: tuple[str, ...] = (),
    hidden_share: float = 0.5,
    extra: str = "",
) -> Callable[[ClassT], ClassT]:
    """Put a card on a modality's class; its literals are the fields of `ModalityCard`."""

    def register(cls: ClassT) -> ClassT:
        module = sys.modules.get(cls.__module__)
        card = ModalityCard(
            name,
            title=title,
            encoder=encoder,
            gives=gives,
            encoders=encoders or {},
            usual=usual,
            hidden_share=hidden_share,
            extra=extra,
            target=f"{cls.__module__}:{cls.__qualname__}",
            doc=cls.__doc__ or "",
            path=getattr(module, "__file__", None) or "",
        )
        MODALITIES[name] = card, cls
        return cls

    return register


REGISTERED: dict[str, tuple[Card, type[Any]]] = {}
"""The methods whose modules have been imported: where one defined in a notebook is found."""


def method(
    slug: str,
    *,
    title: str,
    family: Family,
    summary: str,
    modalities: tuple[str, ...] = (),
    needs: tuple[str, ...] = (),
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

    >>> @method("twice", title="Twice", family="layer", summary="Doubles.")
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
            summary=summary,
            modalities=modalities,
            needs=needs,
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


def slug_of(cls: type[Any]) -> str:
    """The name by which users know a method's class; its own where it has no card."""
    return next((slug for slug, (_, known) in REGISTERED.items() if known is cls), cls.__name__)


def clash(card: Card, known: Card) -> ConfigError:
    """The error for two classes under one slug."""
    return ConfigError(
        f"{card.slug!r} is the name of both {known.target} and {card.target}.",
        remedy="Give one of them another name in @method(...).",
    )
