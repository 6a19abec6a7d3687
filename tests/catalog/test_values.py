"""What people type is read as they mean it, or refused in words; it never builds an object."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tacita.catalog.durations import parse_duration
from tacita.catalog.values import parse_assignments, read_yaml, write_yaml
from tacita.errors import ConfigError

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**29), 10**29)
    | st.floats(allow_nan=False)
    | st.text(st.characters(blacklist_categories=("Cs", "Cc")), max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc_", min_size=1), inner),
    max_leaves=8,
)


@pytest.mark.parametrize(
    "text, seconds",
    [
        ("90s", 90),
        ("5m", 300),
        ("2h", 7200),
        ("1h30m", 5400),
        (" 1.5H ", 5400),
        ("1d", 86400),
        ("45", 45),
        (0.5, 0.5),
        (3, 3),
    ],
)
def test_durations_are_seconds(text: str | float, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["", "m", "5 m", "5q", "-5m", "0", "0s", "5m!", "1e3", "٣m", "400d", "nan", True, -1, math.nan],
)
def test_what_is_not_a_duration_is_refused(text: str | float) -> None:
    with pytest.raises(ConfigError, match="is not a duration"):
        parse_duration(text)


@given(st.text(max_size=20) | st.floats() | st.integers())
@example("9" * 400 + "s")
@settings(deadline=None)
def test_any_duration_is_positive_and_finite_or_a_config_error(text: str | float) -> None:
    with suppress(ConfigError):
        assert 0 < parse_duration(text) <= 365 * 86400


def test_assignments_are_read_as_yaml() -> None:
    given_arguments = ["steps=100", "projector=[64,64]", "name=a=b", "x=", "t.rate=1e-3", "f=true"]
    assert parse_assignments(given_arguments) == {
        "steps": 100,
        "projector": [64, 64],
        "name": "a=b",
        "x": None,
        "t.rate": 1e-3,
        "f": True,
    }


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["steps"], "'steps' is not of the form key=value"),
        (["=3"], "'=3' is not of the form"),
        (["a b=3"], "is not of the form"),
        (["a..b=3"], "is not of the form"),
        (["a=1", "a=2"], "a is given twice"),
        (["a=[1"], "a=, line 1"),
    ],
)
def test_a_wrong_assignment_is_named(arguments: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_assignments(arguments)


@given(st.lists(st.text(max_size=30), max_size=3))
@example(["a=" + "[" * 3000])
@settings(deadline=None)
def test_any_assignments_give_a_dict_or_a_config_error(arguments: list[str]) -> None:
    with suppress(ConfigError):
        assert len(parse_assignments(arguments)) == len(arguments)


@pytest.mark.parametrize(
    "text, value",
    [
        ("1e-3", 1e-3),
        ("[1, -2, 3.5, .5, 1.]", [1, -2, 3.5, 0.5, 1.0]),
        ("010", 10),
        ("yes", "yes"),
        ("12:30", "12:30"),
        ("2020-01-01", "2020-01-01"),
        ("1_000", "1_000"),
        ("null", None),
        ("", None),
        ("{'<<': {a: 1}}", {"<<": {"a": 1}}),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text: str, value: object) -> None:
    read = read_yaml(text, source="x")
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    "text, message",
    [
        ("a: &x [1]\nb: *x", "x, line 2: aliases are not allowed"),
        ("a: 1\nb: !!python/object/apply:os.system [ls]", "x, line 2: tags are not allowed"),
        ("!!binary aGk=", "x, line 1: tags are not allowed"),
        ("a: 1\n\na: 2", "x, line 3: the key a is given twice"),
        ("1: 2", "x, line 1: a key is not text"),
        ("{[1]: 2}", "x, line 1: a key is not text"),
        ("a: [1, 2\nb: 3", "x, line 2: expected"),
        ("--- a\n--- b", "x, line 2"),
        ("\x00", "x: unacceptable character"),
        ("[" * 5000, "x: it is nested too deeply"),
    ],
)
def test_what_a_recipe_does_not_need_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_yaml(text, source="x")


@given(PLAIN)
@example({"a": "1e-3", "b": "null", "c": "010", "d": ".inf", "e": "*x", "f": "!t"})
@settings(deadline=None)
def test_what_is_written_reads_back_the_same(value: Any) -> None:
    read = read_yaml(write_yaml(value), source="x")
    assert read == value
    assert repr(read) == repr(value)
