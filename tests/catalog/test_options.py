"""Options of a group reach a function's signature whole, and a name that is none is told the nearest."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any, TypedDict, Unpack

import pytest

from tacita.catalog.options import refuse, taken, taking
from tacita.errors import ConfigError


class PaperOptions(TypedDict, total=False):
    width: int
    grey: bool


@dataclass(frozen=True)
class Paper:
    width: int = 210
    grey: bool = False


@dataclass(frozen=True)
class Ink:
    colour: str | None = None


@taking(Paper, Ink)
def draw(what: str, *, scale: float = 1.0, **options: Any) -> None:
    """Draw it."""


@taking(Paper)
def fold(times: int = 1, **options: Unpack[PaperOptions]) -> None:
    """Fold it."""


def test_a_signature_has_the_groups_in_their_order_behind_its_own_options() -> None:
    assert list(inspect.signature(draw).parameters) == [
        "what",
        "scale",
        "width",
        "grey",
        "colour",
        "options",
    ]
    colour = inspect.signature(draw).parameters["colour"]
    assert (colour.annotation, colour.default) == (str | None, None)
    assert draw.__doc__ == "Draw it."


def test_options_that_can_hold_no_others_are_not_shown() -> None:
    assert list(inspect.signature(fold).parameters) == ["times", "width", "grey"]


def test_a_group_is_taken_out_of_the_options() -> None:
    paper, others = taken(Paper, {"grey": True, "colour": "red"})
    assert paper == Paper(grey=True)
    assert others == {"colour": "red"}


def test_a_name_that_is_none_is_told_the_nearest() -> None:
    with pytest.raises(
        ConfigError, match="fold has no option 'widht'; did you mean width"
    ) as error:
        refuse(fold, ["widht"])
    assert error.value.remedy == "Known: times, width, grey."
    refuse(fold, [])
