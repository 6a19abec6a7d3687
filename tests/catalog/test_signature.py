"""The source's signature is the only declaration of an option, so it must be read as Python would."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from tacita.catalog import discover
from tacita.catalog.cards import Card
from tacita.catalog.signature import (
    Parameter,
    check_arguments,
    function_parameters,
    parameters,
)
from tacita.errors import ConfigError


@pytest.mark.usefixtures("house")
def test_keyword_only_arguments_are_read_with_type_default_and_doc() -> None:
    found = parameters("tiny-probe")
    assert list(found) == ["width", "rate", "pool", "sizes", "views", "folder"]
    assert found["width"] == Parameter("width", "int", "8", "how wide it is, in features.")
    assert found["rate"].default == "0.001"
    assert found["pool"].annotation == "Literal['mean', 'max'] | None"
    assert found["views"].default is None
    assert [p.name for p in found.values() if not p.settable] == ["views"]


@pytest.mark.usefixtures("house")
def test_an_inherited_constructor_is_followed_into_another_module() -> None:
    assert list(parameters("tiny-mae")) == ["depth", "train"]
    assert parameters("tiny-cnn") == {}


@pytest.mark.usefixtures("house")
def test_a_class_from_elsewhere_is_inspected(monkeypatch: pytest.MonkeyPatch) -> None:
    class Mine:
        """Mine.

        count: how many.
        """

        def __init__(self, encoder: Any, *, count: int | None = 3, must: str) -> None: ...

    card = Card(
        "mine",
        title="Mine",
        family="adapt",
        modalities=("tables",),
        summary="Mine.",
        target="__main__:Mine",
    )
    monkeypatch.setattr(discover, "REGISTERED", {"mine": (card, Mine)})
    assert parameters("mine") == {
        "count": Parameter("count", "int | None", "3", "how many."),
        "must": Parameter("must", "str"),
    }


@pytest.mark.usefixtures("house")
def test_a_function_is_read_and_a_missing_one_is_an_error() -> None:
    found = function_parameters("tacita.engine.train:train")
    assert found["steps"] == Parameter("steps", "int", "1000", "optimiser steps.")
    for target in ("tacita.engine.train:fly", "tacita.nowhere:train", "os.path:join"):
        with pytest.raises(ConfigError, match=target):
            function_parameters(target)


def test_what_is_read_of_every_method_is_what_python_sees() -> None:
    for slug in discover.cards():
        seen = inspect.signature(discover.load_class(slug)).parameters.values()
        named = [item for item in seen if item.kind is item.KEYWORD_ONLY]
        found = parameters(slug)
        assert list(found) == [item.name for item in named], slug
        for item in named:
            required = item.default is item.empty
            assert (found[item.name].default is None) == required, (slug, item.name)


KNOWN = {
    "steps": Parameter("steps", "int", "100"),
    "rate": Parameter("rate", "float", "0.1"),
    "sizes": Parameter("sizes", "tuple[int, ...]", "()"),
    "encoder": Parameter("encoder", "Encoder"),
}


def test_values_come_back_in_the_annotated_types() -> None:
    checked = check_arguments("learn", KNOWN, {"rate": 1, "sizes": [64, 64]})
    assert checked == {"rate": 1.0, "sizes": (64, 64)}
    assert type(checked["rate"]) is float


@pytest.mark.parametrize(
    "given, message",
    [
        ({"stepz": 1}, r"learn\.stepz: unknown; did you mean steps\?\n.*steps, rate, sizes\."),
        ({"zzz": 1}, r"learn\.zzz: unknown\.\n"),
        ({"steps": 1.5}, r"learn\.steps: 1\.5 is not a whole number\.\n.*default is 100"),
        ({"steps": True}, r"learn\.steps: True is not a whole number"),
        ({"rate": "1e-3"}, r"learn\.rate: '1e-3' is not a number"),
        ({"rate": float("nan")}, r"learn\.rate: nan is not a number"),
        ({"sizes": [1, "a"]}, r"learn\.sizes: \[1, 'a'\] is not a list of whole numbers"),
        ({"encoder": "vit"}, r"learn\.encoder: a Encoder cannot be written down in a recipe"),
    ],
)
def test_a_wrong_argument_is_named_with_its_value_and_type(
    given: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        check_arguments("learn", KNOWN, given)
