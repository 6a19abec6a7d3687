"""A recipe: which encoder, which pretraining and which learner, and the arguments that differ.

It is the whole configuration of one model, as YAML. A section names a method and overrides
arguments of its constructor; `train` in it overrides arguments of `tacita.engine.train.train`.
What is left out keeps the default that stands in the signature.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_serializer,
    model_validator,
)

from tacita.catalog import discover, values
from tacita.catalog.cards import Card
from tacita.catalog.plain import plain
from tacita.catalog.signature import (
    Parameter,
    check_arguments,
    function_parameters,
    parameters,
    shortened,
)
from tacita.errors import ConfigError

LARGEST_FILE = 1_000_000
MOST_MEMBERS = 100
TRAIN = "tacita.engine.train:train"
WATCH = "tacita.adapt.watching:watch"
FAMILIES = {
    "encoder": ("encoder",),
    "pretrain": ("pretrain",),
    "learn": ("adapt", "semisup", "baseline"),
}


def _plain(value: Any) -> Any:
    if isinstance(value, dict | list):
        items = list(value.values()) if isinstance(value, dict) else value
        kind = "mapping" if isinstance(value, dict) else "list"
        if len(items) > 1000 or any(isinstance(item, dict | list) for item in items):
            raise ValueError(f"it is not a plain {kind} of at most 1000 values")
        for item in items:
            _plain(item)
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError("it is not a finite number")
    elif value is not None and not isinstance(value, str | int | float):
        raise ValueError(
            "it is not a number, text, true, false, null or a list or mapping of these"
        )
    return value


# What belongs to one run and not to the model: where it runs, and where it keeps its state.
OF_THE_RUN = {
    "checkpoint",
    "checkpoint_every",
    "device",
    "keep",
    "log_every",
    "precision",
    "replay",
    "resume",
    "seed",
    "start",
}

Name = Annotated[str, Field(min_length=1, max_length=200)]
Value = Annotated[Any, AfterValidator(_plain)]
Arguments = Annotated[dict[Name, Value], Field(max_length=100)]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _of_python(cls, given: Any) -> Any:
        return plain(given)


class Section(_Strict):
    """One method with the arguments that differ from its defaults; flat when written down.

    >>> Section.model_validate({"method": "mae", "depth": 2}).options
    {'depth': 2}
    """

    method: Name
    options: Arguments = {}
    train: Arguments = {}

    @model_validator(mode="before")
    @classmethod
    def _unflatten(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        kept = {key: given[key] for key in ("method", "train") if key in given}
        return kept | {"options": {key: v for key, v in given.items() if key not in kept}}

    @model_serializer
    def _flatten(self) -> dict[str, Any]:
        return {
            "method": self.method,
            **self.options,
            **({"train": self.train} if self.train else {}),
        }


class Recipe(_Strict):
    """The recipe of one model. Without an encoder, the modality's default is taken.

    >>> recipe = Recipe.model_validate({"name": "probe", "learn": {"method": "linear-probe"}})
    >>> print(dump_recipe(recipe), end="")
    format: 1
    name: probe
    seed: 0
    learn:
      method: linear-probe
    """

    format: Literal[1] = 1
    name: Name
    seed: int = Field(default=0, ge=0, lt=2**32)
    encoder: Section | None = None
    pretrain: Section | None = None
    learn: Section | None = None
    members: Annotated[list[Member], Field(min_length=1, max_length=MOST_MEMBERS)] | None = None
    """Of an ensemble, which has no section of its own."""

    @property
    def sections(self) -> dict[str, Section]:
        """The sections that are there, by their key."""
        found = {key: getattr(self, key) for key in FAMILIES}
        return {key: section for key, section in found.items() if section is not None}

    def check(self, modality: str | None = None) -> None:
        """Whether every method and argument exists and fits, without importing any of them.

        Raises `ConfigError` with the whole key, such as `learn.train.stepz`.
        """
        if self.members is not None:
            self._check_members(modality)
            return
        cards = {key: _check_section(key, section) for key, section in self.sections.items()}
        if not {"pretrain", "learn"} & set(cards):
            raise ConfigError(
                f"the recipe {self.name!r} has neither a pretrain nor a learn section.",
                remedy="Name a method in one of them.",
            )
        if "learn" in cards and not cards["learn"].needs_encoder:
            for key in ("encoder", "pretrain"):
                if key in cards:
                    raise ConfigError(
                        f"{key}: {cards['learn'].slug} uses none.",
                        remedy=f"Leave the {key} section out.",
                    )
        _check_modalities(cards, modality)

    def _check_members(self, modality: str | None) -> None:
        if self.sections or any(each.recipe.members for each in self.members or ()):
            raise ConfigError(
                f"members: the ensemble {self.name!r} has sections of its own, or ensembles in it.",
                remedy="Give recipes with their own sections as members, and nothing beside them.",
            )
        for number, each in enumerate(self.members or ()):
            try:
                each.recipe.check(modality)
            except ConfigError as error:
                raise ConfigError(
                    f"members.{number}.recipe: {error.message}", remedy=error.remedy
                ) from None

    def arguments(self, key: str) -> dict[str, Any]:
        """The constructor's arguments of one section, in the types that it is annotated with."""
        section = self.sections[key]
        return check_arguments(key, parameters(section.method), section.options)

    def training(self, key: str) -> dict[str, Any]:
        """The arguments of `train` that one section overrides."""
        train = self.sections[key].train
        return check_arguments(f"{key}.train", training_parameters(key), train) if train else {}


class Member(_Strict):
    """One model of an ensemble.

    weight: how much its answers count in the mean of all, beside the other members' weights.
    temperature: what its logits are divided by before.
    """

    weight: float = Field(gt=0, le=1)
    temperature: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    recipe: Recipe


def training_parameters(key: str = "learn") -> dict[str, Parameter]:
    """The arguments of `tacita.train` that a section can override; what learns can stop early, too."""
    known = function_parameters(TRAIN)
    further = function_parameters(WATCH) if key == "learn" else {}
    return {name: known[name] for name in known if name not in OF_THE_RUN} | further


def recipe_from_options(key: str, method: str, options: Mapping[str, Any], seed: int = 0) -> Recipe:
    """The recipe of one verb, from flat options such as those of a command line.

    `encoder` names the encoder, `encoder.x` and `train.x` are arguments of the encoder and of the
    training; any other is the method's own if it has one of that name, or else the training's.
    Raises `ConfigError` as `Recipe.check` does.
    """
    own, training = parameters(method), training_parameters(key)
    encoder: dict[str, Any] = {}
    section: dict[str, Any] = {"method": method, "train": {}}
    for name, value in options.items():
        part, _, rest = name.rpartition(".")
        if name in ("method", "train"):
            raise ConfigError(f"{name}={shortened(value)}: {name} is not an option.")
        if name in ("encoder", "encoder.method"):
            encoder["method"] = value
        elif part == "encoder":
            encoder[rest] = value
        elif part == "train" or (name in training and name not in own):
            section["train"][rest] = value
        else:
            section[name] = value
    if encoder and "method" not in encoder:
        raise ConfigError(
            f"encoder.{min(encoder)} is given but no encoder is named.",
            remedy="Write encoder=NAME too; `tacita methods --family encoder` lists them.",
        )
    sections = {"encoder": encoder or None, key: section}
    recipe = _validated({"name": method, "seed": seed, **sections}, source="the arguments")
    recipe.check()
    return recipe


def load_recipe(path: str | Path) -> Recipe:
    """Read a recipe from a YAML file; its methods are looked at by `Recipe.check`, not here.

    Raises `ConfigError` naming the file and the line or the key.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            raw = file.read(LARGEST_FILE + 1)
        text = raw.decode("utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not text in UTF-8 (byte {error.start}).") from error
    if len(raw) > LARGEST_FILE:
        raise ConfigError(f"{path}: is larger than {LARGEST_FILE} bytes; no recipe is.")
    return _validated(values.read_yaml(text, source=str(path)), source=str(path))


def dump_recipe(recipe: Recipe) -> str:
    """The recipe as YAML that `load_recipe` reads back to an equal one."""
    return values.write_yaml(recipe.model_dump(exclude_none=True))


def built_in_recipes() -> dict[str, Path]:
    """The recipes that come with tacita, by name."""
    return {path.stem: path for path in sorted(Path(__file__).with_name("recipes").glob("*.yaml"))}


def find_recipe(name: str | Path) -> Recipe:
    """A recipe that comes with tacita, a method as a recipe of its own, or a file.

    Raises `ConfigError` with the nearest name if it is none of them.
    """
    name, built_in = str(name), built_in_recipes()
    if name in built_in:
        return load_recipe(built_in[name])
    if Path(name).suffix in (".yaml", ".yml"):
        return load_recipe(name)
    cards = discover.cards().values()
    methods = {
        card.slug: key
        for key in ("learn", "pretrain")
        for card in cards
        if card.family in FAMILIES[key]
    }
    if name not in methods:
        raise ConfigError(
            f"there is no recipe {name!r}{discover.did_you_mean(name, [*built_in, *methods])}",
            remedy=f"Known: auto, {', '.join({**built_in, **dict.fromkeys(methods)})}; "
            "or give a file that ends in .yaml.",
        )
    return _validated({"name": name, methods[name]: {"method": name}}, source=name)


def _validated(given: Any, *, source: str) -> Recipe:
    if not isinstance(given, dict):
        raise ConfigError(
            f"{source}: a recipe is a mapping, not {shortened(given)}.",
            remedy="Start it with format: 1, name: ... and learn: {method: ...}.",
        )
    try:
        return Recipe.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = _key_path(first["loc"], given)
        if first["type"] == "extra_forbidden":
            near = discover.did_you_mean(key, list(Recipe.model_fields))
            known = ", ".join(Recipe.model_fields)
            raise ConfigError(
                f"{source}: {key}: unknown{near}", remedy=f"Known: {known}."
            ) from None
        reason = first["msg"].removeprefix("Value error, ")
        shown = "" if first["type"] == "missing" else f"{shortened(first['input'])}: "
        raise ConfigError(f"{source}: {key}: {shown}{reason}.") from None


def _key_path(location: tuple[int | str, ...], given: Any) -> str:
    """Where an error is, in the keys that stand in the file: `options` is of the model's making."""
    keys: list[str] = []
    for part in location:
        if part == "options" and not (isinstance(given, dict) and part in given):
            continue
        if part == "[key]":
            break
        keys.append(str(part))
        given = given.get(part) if isinstance(given, dict) else None
    return ".".join(keys)


def _check_section(key: str, section: Section) -> Card:
    """The card of a section's method, whose arguments are known and of the right type."""
    try:
        card = discover.get(section.method)
    except ConfigError as error:
        raise ConfigError(f"{key}.method: {error.message}", remedy=error.remedy) from None
    if card.family not in FAMILIES[key]:
        raise ConfigError(
            f"{key}.method: {card.slug} is of the family {card.family}.",
            remedy=f"Name one of the family {', '.join(FAMILIES[key])} here.",
        )
    known = parameters(card.slug)
    trains = key != "encoder" and card.needs_encoder
    if section.train and not trains:
        raise ConfigError(
            f"{key}.train: {card.slug} is not trained by steps.", remedy="Leave train out."
        )
    training = training_parameters(key) if trains else {}
    for name in set(section.options) - set(known):
        near = get_close_matches(name, [*known, *training], n=1, cutoff=0.5)
        if near and near[0] not in known:
            raise ConfigError(f"{key}.{name}: unknown; did you mean {key}.train.{near[0]}?")
    check_arguments(key, known, section.options)
    check_arguments(f"{key}.train", training, section.train)
    return card


def _check_modalities(cards: Mapping[str, Card], modality: str | None) -> None:
    """Whether there is a modality that all of the methods read: the given one, if one is."""
    shared = {modality} if modality else set(discover.modalities())
    readers = ["the data are"] if modality else []
    for key, card in cards.items():
        fits = set(discover.reads(card))
        if not shared & fits:
            raise ConfigError(
                f"{key}.method: {card.slug} reads {', '.join(sorted(fits))}, "
                f"but {' and '.join(readers)} {', '.join(sorted(shared))}.",
                remedy=f"Run `tacita methods --modality {min(shared)}` to see what does.",
            )
        shared &= fits
        readers.append(f"{card.slug} reads")
