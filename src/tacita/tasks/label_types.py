"""The type that labels of classes were given in, so that predictions come out in it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

LabelType = Literal["words", "integer", "boolean", "number"]

_BOOLEANS = {"False": False, "True": True}


def label_type_of(values: NDArray[Any], names: NDArray[Any]) -> LabelType:
    """The type of those labels `(N,)` that have a name; text where they are of several types.

    Whole numbers beside fractions are numbers.

    >>> values = np.array([True, None, False], object)
    >>> label_type_of(values, np.array(["True", None, "False"], object))
    'boolean'
    """
    kinds: dict[str, LabelType] = {"b": "boolean", "i": "integer", "u": "integer", "f": "number"}
    if values.dtype.kind in kinds:
        return kinds[values.dtype.kind]
    if values.dtype != object:
        return "words"
    known = [value for value, name in zip(values, names, strict=True) if name is not None]
    found = {_type_of(value) for value in known}
    if len(found) == 1:
        return found.pop()
    return "number" if found == {"integer", "number"} else "words"


def typed(names: Sequence[str], kind: LabelType) -> list[Any]:
    """Names of classes as labels of a type. Raises `ValueError` for a name that is none of it.

    >>> typed(["1", "2"], "integer"), typed(["1", "2"], "number"), typed(["01"], "words")
    ([1, 2], [1.0, 2.0], ['01'])
    """
    return [_typed(name, kind) for name in names]


def _type_of(value: Any) -> LabelType:
    if isinstance(value, bool | np.bool_):
        return "boolean"
    if isinstance(value, int | np.integer):
        return "integer"
    return "number" if isinstance(value, float | np.floating) else "words"


def _typed(name: str, kind: LabelType) -> Any:
    if kind == "words":
        return name
    if kind == "boolean" and name in _BOOLEANS:
        return _BOOLEANS[name]
    try:
        # Python reads 1_0 and digits of all scripts as numbers too, which no label becomes.
        if kind == "integer" and str(int(name)) == name:
            return int(name)
        if kind == "number" and math.isfinite(float(name)):
            return float(name)
    except ValueError:
        pass
    raise ValueError(f"{name!r} is not of the type {kind}")
