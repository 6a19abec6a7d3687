"""Values against the source text of a type annotation, for the types that a recipe can hold.

They are int, float, bool, str, Path, None, `Literal[...]`, tuples of these, mappings of names to
these, and unions of these.
Anything else (an `Encoder`, a function) has no alternatives and fits no value.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from tacita.catalog.plain import plain

_WORDS = {
    "None": "null",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "text",
    "Path": "a path",
}
_PLURALS = {"a whole number": "whole numbers", "a number": "numbers", "text": "texts"}


class MisfitError(Exception):
    """The value is not of the annotated type."""


def convert(annotation: str, value: Any) -> Any:
    """The value as the annotated type: a list becomes a tuple, an int is a float, text is a path.

    Scalars and arrays of NumPy are taken as the plain values that they hold.

    Raises `MisfitError` if it is of another type; a bool is not an int and NaN is not a number.

    >>> convert("tuple[float, ...] | None", [1, 0.5])
    (1.0, 0.5)
    """
    return _convert(_parse(annotation), plain(value))


def alternatives(annotation: str) -> list[str]:
    """What a value may be, each possibility in words; empty where none can be written down.

    >>> alternatives("tuple[int, ...] | Literal['auto'] | Encoder")
    ['a list of whole numbers', "'auto'"]
    """
    return _alternatives(_parse(annotation))


@cache
def _parse(annotation: str) -> ast.expr:
    return ast.parse(annotation, mode="eval").body


def _convert(annotation: ast.expr, value: Any) -> Any:
    if isinstance(annotation, ast.BinOp):
        try:
            return _convert(annotation.left, value)
        except MisfitError:
            return _convert(annotation.right, value)
    match _name(annotation):
        case "None" if value is None:
            return None
        case "int" if type(value) is int:
            return value
        case "float" if type(value) in (int, float) and math.isfinite(value):
            return float(value)
        case "bool" if type(value) is bool:
            return value
        case "str" if type(value) is str:
            return value
        case "Path" if isinstance(value, str | Path):
            return Path(value)
        case "Literal":
            for choice in map(ast.literal_eval, _elements(annotation)):
                if type(value) is type(choice) and value == choice:
                    return value
        case "tuple" if isinstance(value, list | tuple):
            items = _elements(annotation)
            if _is_open(annotation):
                items = items[:1] * len(value)
            if len(items) == len(value):
                return tuple(map(_convert, items, value))
        case "Mapping" if isinstance(value, Mapping):
            name, of_each = _elements(annotation)
            return {_convert(name, key): _convert(of_each, item) for key, item in value.items()}
    raise MisfitError


def _alternatives(annotation: ast.expr) -> list[str]:
    if isinstance(annotation, ast.BinOp):
        return _alternatives(annotation.left) + _alternatives(annotation.right)
    name = _name(annotation)
    if name == "Literal":
        return [ast.unparse(element) for element in _elements(annotation)]
    if name == "tuple":
        items = [" or ".join(_alternatives(item)) for item in _elements(annotation)]
        if _is_open(annotation):
            return [f"a list of {_PLURALS.get(items[0], items[0])}"] if items[0] else []
        return [f"a list of {len(items)}: {', '.join(items)}"] if items and all(items) else []
    if name == "Mapping":
        inside = _alternatives(_elements(annotation)[1])
        return [f"a mapping of names to values ({', '.join(inside)})"] if inside else []
    return [_WORDS[name]] if name in _WORDS else []


def _name(annotation: ast.expr) -> str:
    """The name of a type without its module or its arguments: `typing.Literal['a']` is `Literal`."""
    head = annotation.value if isinstance(annotation, ast.Subscript) else annotation
    is_type = isinstance(head, ast.Name | ast.Attribute | ast.Constant)
    return ast.unparse(head).rpartition(".")[2] if is_type else ""


def _elements(annotation: ast.expr) -> list[ast.expr]:
    """The arguments of a type: `X` and `Y` of `tuple[X, Y]`."""
    if not isinstance(annotation, ast.Subscript):
        return []
    inside = annotation.slice
    return list(inside.elts) if isinstance(inside, ast.Tuple) else [inside]


def _is_open(annotation: ast.expr) -> bool:
    """Whether a tuple is of any length: `tuple[X, ...]`."""
    elements = _elements(annotation)
    return len(elements) == 2 and ast.unparse(elements[1]) == "..."
