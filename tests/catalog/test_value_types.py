"""A value fits an annotation exactly when Python's own types say so."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tacita.catalog.value_types import MisfitError, alternatives, convert

FITS = [
    ("int", 3, 3),
    ("float", 3, 3.0),
    ("float", 0.5, 0.5),
    ("bool", True, True),
    ("str", "a", "a"),
    ("Path", "a/b", Path("a/b")),
    ("pathlib.Path", "a", Path("a")),
    ("int | None", None, None),
    ("int | str", "auto", "auto"),
    ("Literal['a', 'b']", "b", "b"),
    ("typing.Literal['a', 2]", 2, 2),
    ("tuple[int, ...]", [], ()),
    ("tuple[float, ...]", [1, 2.5], (1.0, 2.5)),
    ("tuple[str, int]", ["a", 1], ("a", 1)),
    ("tuple[int, ...] | None", (1,), (1,)),
    ("Encoder | int", 1, 1),
    ("Mapping[str, int]", {"a": 1}, {"a": 1}),
    ("Mapping[str, float] | None", {"a": 1}, {"a": 1.0}),
    ("collections.abc.Mapping[str, int | bool]", {}, {}),
]
MISFITS = [
    ("int", True),
    ("int", 1.0),
    ("int", "1"),
    ("float", False),
    ("float", float("inf")),
    ("bool", 1),
    ("str", None),
    ("Path", 3),
    ("Literal[1]", True),
    ("Literal['a']", "A"),
    ("tuple[int, ...]", 1),
    ("tuple[int, ...]", [1, None]),
    ("tuple[int, int]", [1]),
    ("Encoder", "vit"),
    ("list[int]", [1]),
    ("Callable[[int], None]", 1),
    ("Mapping[str, int]", {"a": 1.5}),
    ("Mapping[str, int]", {1: 1}),
    ("Mapping[str, int]", ["a"]),
    ("Mapping[str, Any]", {"a": 1}),
]


@pytest.mark.parametrize("annotation, value, expected", FITS)
def test_a_value_that_fits_is_converted(annotation: str, value: object, expected: object) -> None:
    converted = convert(annotation, value)
    assert converted == expected
    assert type(converted) is type(expected)


@pytest.mark.parametrize("annotation, value", MISFITS)
def test_a_value_that_does_not_fit_is_refused(annotation: str, value: object) -> None:
    with pytest.raises(MisfitError):
        convert(annotation, value)


@pytest.mark.parametrize(
    "annotation, words",
    [
        ("int | None", ["a whole number", "null"]),
        ("Literal['a', 'b']", ["'a'", "'b'"]),
        ("tuple[float, ...]", ["a list of numbers"]),
        ("tuple[int, str]", ["a list of 2: a whole number, text"]),
        ("Mapping[str, int | str]", ["a mapping of names to values (a whole number, text)"]),
        ("Mapping[str, Any] | None", ["null"]),
        ("tuple[Encoder, ...]", []),
        ("tuple[Encoder, int]", []),
        ("Encoder", []),
        ("Sequence[Callable[[int], None]]", []),
    ],
)
def test_alternatives_are_in_words(annotation: str, words: list[str]) -> None:
    assert alternatives(annotation) == words


@given(st.one_of(st.integers(), st.floats(), st.text(), st.booleans(), st.none()))
@settings(deadline=None)
def test_the_types_divide_the_plain_values_among_them(value: object) -> None:
    fitting = set()
    for annotation in ("int", "float", "bool", "str", "None"):
        try:
            convert(annotation, value)
            fitting.add(annotation)
        except MisfitError:
            pass
    finite = not isinstance(value, float) or abs(value) < float("inf")
    expected = {"NoneType": {"None"}, "int": {"int", "float"}}.get(
        type(value).__name__, {type(value).__name__} if finite else set()
    )
    assert fitting == expected
