"""Labels as people write them, to names, codes and numbers: missing is -1, NaN, None or an empty cell."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from torch import Tensor

from tacita.errors import ConfigError, DataError
from tacita.values import LARGEST_NUMBER

UNLABELLED: Final = -1
"""The class code of a sample without a label. A missing number is NaN."""

_MISSING = frozenset({"", "-1", "nan", "none"})
_WHOLE = re.compile(r"(-?\d+)\.0+")
_FEW = 10
"""Distinct fractional labels that may still be classes (0.5, 1.5, ...); more are a measurement."""


def class_names(values: Any, source: str) -> NDArray[Any]:
    """`(N,)` array of objects: the text of each label, None where missing."""
    array = as_array(values)
    if array.dtype.kind == "f":
        if np.isinf(array).any():
            raise DataError(
                f"{source}: the label of sample {int(np.isinf(array).argmax())} is infinite.",
                remedy="Give a class, or NaN if it is unknown.",
            )
        array = np.where(np.isnan(array), UNLABELLED, array)
    if array.dtype.kind in "biufUS":
        unique, inverse = np.unique(array, return_inverse=True)
        table = np.array([_class_name(value) for value in unique.tolist()], dtype=object)
        return table[inverse]
    return np.array([_class_name(value) for value in array.tolist()] or [None], dtype=object)[
        : len(array)
    ]


def sorted_classes(names: NDArray[Any], further: Sequence[str], source: str) -> tuple[str, ...]:
    """The classes among the names of labels, sorted as numbers where all are such, else as words.

    further: names that are no classes. Raises `ConfigError` for names that look like measurements.

    >>> sorted_classes(np.array(["10", None, "9"], object), (), "example")
    ('9', '10')
    """
    present = sorted(set(names.tolist()) - {None, *further})
    numbers = finite_numbers(present)
    if numbers is not None:
        _check_not_measured(numbers, sum(name is not None for name in names), source)
        present = [name for _, name in sorted(zip(numbers, present, strict=True))]
    return tuple(present)


def codes_of(names: NDArray[Any], classes: Sequence[str]) -> Tensor:
    """`(N,)` places of names among the classes, `UNLABELLED` for what is none of them."""
    code = {name: position for position, name in enumerate(classes)}
    return torch.tensor([code.get(name, UNLABELLED) for name in names.tolist()], dtype=torch.int64)


def numbers_of(values: Any, source: str) -> Tensor:
    """Raw labels to `(N,)` float64, NaN where missing."""
    array = as_array(values)
    if array.dtype.kind in "biuf":
        y = array.astype(np.float64)
    else:
        y = np.empty(len(array))
        for position, value in enumerate(array.tolist()):
            y[position] = _target(value, position, source)
    large = np.abs(y) > LARGEST_NUMBER
    if large.any():
        raise DataError(
            f"{source}: the label of sample {int(large.argmax())} is infinite or too large.",
            remedy=f"Give a number below {LARGEST_NUMBER:g}, or NaN if it is unknown.",
        )
    return torch.from_numpy(y)


def as_array(values: Any) -> NDArray[Any]:
    """Labels in any container as a 1-D array: of numbers, of text, or of objects to be looked at."""
    if isinstance(values, Tensor):
        values = values.detach().cpu().numpy()
    elif isinstance(values, pa.Array | pa.ChunkedArray):
        values = arrow_labels(values)
    elif isinstance(values, list | tuple):
        values = _object_array(values)
    elif hasattr(values, "to_numpy"):
        values = values.to_numpy()
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise DataError("y is not a list of labels.", remedy="Give one label a sample.") from error
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise DataError(
            f"y has shape {array.shape}, but one label a sample is needed.",
            remedy="Give y of shape (N,); turn one-hot rows into codes with y.argmax(1).",
        )
    if array.dtype.kind not in "biufUSO":
        array = array.astype(str).astype(object)
    return array


def arrow_labels(column: pa.Array | pa.ChunkedArray) -> NDArray[Any]:
    """A column of a table as labels: numbers stay numbers, all else is text."""
    if pa.types.is_integer(column.type) and column.null_count:
        return np.array(column.to_pylist(), dtype=object)
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        return np.asarray(column.to_numpy())
    if pa.types.is_boolean(column.type):
        return np.array(column.to_pylist(), dtype=object)
    if pa.types.is_nested(column.type):
        raise DataError(
            "the label column holds lists or structures.", remedy="Give one label a row."
        )
    return np.array(pc.cast(column, pa.string()).to_pylist(), dtype=object)


def finite_numbers(names: Sequence[str]) -> list[float] | None:
    """The numbers that names stand for; None unless all are finite ones."""
    try:
        numbers = [float(name) for name in names]
    except ValueError:
        return None
    return numbers if all(map(math.isfinite, numbers)) else None


def _object_array(values: Sequence[Any]) -> NDArray[Any]:
    plain = [
        value.item() if isinstance(value, np.generic | Tensor) and np.ndim(value) == 0 else value
        for value in values
    ]
    array = np.empty(len(plain), dtype=object)
    for position, value in enumerate(plain):
        if isinstance(value, list | tuple | np.ndarray | Tensor | dict | set):
            raise DataError(
                f"y: the label of sample {position} is a {type(value).__name__}.",
                remedy="Give one number or one word a sample.",
            )
        array[position] = value
    return array


def _class_name(value: Any) -> str | None:
    """One raw label to its class name, None if it is one of the spellings of "missing"."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = text_of(value)
    if text.lower() in _MISSING or text == "<NA>" or text == "NaT":
        return None
    whole = _WHOLE.fullmatch(text)
    name = whole[1] if whole else text
    # "-1.0" is how a float column writes -1.
    return None if name == "-1" else name


def text_of(value: Any) -> str:
    """One raw value as text, without space around it; nothing for None."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return "" if value is None else str(value).strip()


def _target(value: Any, position: int, source: str) -> float:
    text = text_of(value)
    if text.lower() in ("", "nan", "none", "<na>"):
        return math.nan
    try:
        return float(text)
    except ValueError as error:
        raise DataError(
            f"{source}: the label {text!r} of sample {position} is not a number.",
            remedy="Use task='classification' (--task classification) if the labels are classes.",
        ) from error


def _check_not_measured(numbers: list[float], labelled: int, source: str) -> None:
    fractional = not all(number.is_integer() for number in numbers)
    if fractional and (len(numbers) > _FEW or 2 * len(numbers) > max(labelled, 2)):
        raise ConfigError(
            f"{source}: {len(numbers)} distinct labels such as {numbers[0]:g} look like"
            " measurements, not like classes.",
            remedy="Pass task='regression' (--task regression), or give the classes names.",
        )
