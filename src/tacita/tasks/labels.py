"""Labels as people write them, to names, codes and numbers.

Missing is what says nothing: None, NaN, an empty cell, the text `nan` that writers put for NaN, and
where all labels are whole numbers -1. Every other word is a class, unless its user says otherwise.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from torch import Tensor

from tacita.errors import ConfigError, DataError
from tacita.tasks.declared import DOUBTFUL, Declared
from tacita.tasks.label_types import label_type_of
from tacita.values import LARGEST_NUMBER

UNLABELLED: Final = -1
"""The class code of a sample without a label. A missing number is NaN."""

_NOTHING = frozenset({"NAType", "NaTType"})
"""The types of pandas' missing values; pandas itself need not be there."""
_WHOLE = re.compile(r"(-?\d+)(\.0+)?")
_ROUNDING = 0.02
"""Labels up to 10, scaled into 8 bits, lie up to half of 10 / 255 beside whole numbers."""
_FEW = 10
"""Distinct fractional labels that may still be classes (0.5, 1.5, ...); more are a measurement."""


def class_names(values: Any, source: str, classes: Iterable[str] = ()) -> NDArray[Any]:
    """`(N,)` array of objects: the text of each label, None where missing.

    classes: names that are classes, though else they might mean that there is no label.

    >>> class_names(["1", "-1", "2.0", ""], "example").tolist()
    ['1', None, '2', None]
    >>> class_names(["mild", "none", "-1", "nan"], "example", ["nan"]).tolist()
    ['mild', 'none', '-1', 'nan']
    """
    if isinstance(values, Declared):
        return values.names
    array = as_array(values)
    if array.dtype.kind == "f" and np.isinf(array).any():
        raise DataError(
            f"{source}: the label of sample {int(np.isinf(array).argmax())} is infinite.",
            remedy="Give a class, or NaN if it is unknown.",
        )
    if array.dtype.kind not in "biufUS":
        return _names(array.tolist(), frozenset(classes))
    unique, inverse = np.unique(array, return_inverse=True)
    return _names(unique.tolist(), frozenset(classes))[inverse]


def _names(values: list[Any], classes: frozenset[str]) -> NDArray[Any]:
    """The names of labels, which are looked at together: -1 and 1.0 mean little by themselves."""
    names = [None if is_nothing(value) else label_text(value) for value in values]
    names = [
        None if name == "" or (name and name.lower() == "nan" and name not in classes) else name
        for name in names
    ]
    present = {name for name in names if name is not None}
    if present and finite_numbers([*present]) is not None:
        # A column of whole numbers with a gap is written as 1.0, 2.0.
        whole = {name: _WHOLE.fullmatch(name) for name in present}
        plain = {name: found[1] if found else name for name, found in whole.items()}
        gap = all(whole.values()) and "-1" not in classes
        names = [
            None if name is None or (gap and plain[name] == "-1") else plain[name] for name in names
        ]
    elif "-1" not in classes:
        # Among words, the number -1 is scikit-learn's marker, and the text "-1" is a word.
        names = [
            None if name == "-1" and not isinstance(value, str | bytes) else name
            for name, value in zip(names, values, strict=True)
        ]
    array = np.empty(len(names), dtype=object)
    array[:] = names
    return array


def told(
    labels: Any,
    source: str,
    *,
    unlabelled_as: Sequence[str] = (),
    as_class: Sequence[str] = (),
    order: Sequence[str] = (),
) -> Any:
    """Raw labels as their user has them: words that are no labels, words that are, and their order.

    >>> told(["a", "NA", -1], "example", unlabelled_as=["NA"]).tolist()
    ['a', None, -1]
    >>> told([1, -1], "example", as_class=["-1"]).names.tolist()
    ['1', '-1']
    """
    if labels is None or not (unlabelled_as or as_class or order):
        return labels
    if getattr(labels, "ndim", 1) > 2:
        raise ConfigError(
            f"{source}: a label a voxel is a number, so that no word can be one.",
            remedy="Leave unlabelled_as, as_class and order out; -1 marks an unknown voxel.",
        )
    if isinstance(labels, Declared):
        names = [None if name in unlabelled_as else name for name in labels.names]
        ranks = tuple(order) or tuple(name for name in labels.order if name not in unlabelled_as)
        told_now = bool(order) or labels.told
        return replace(Declared.of(names, ranks), told=told_now, label_type=labels.label_type)
    values = as_array(labels).astype(object)
    for position, value in enumerate(values.tolist()):
        if not is_nothing(value) and label_text(value) in unlabelled_as:
            values[position] = None
    if not (as_class or order):
        return values
    found = class_names(values, source, (*as_class, *order))
    kind = label_type_of(values, found)
    return Declared(found, tuple(order), told=bool(order), label_type=kind)


def sorted_classes(names: NDArray[Any], further: Sequence[str], source: str) -> tuple[str, ...]:
    """The classes among the names of labels, sorted as numbers where all are such, else as words.

    further: names that are no classes. Raises `ConfigError` for names that look like measurements.

    >>> sorted_classes(np.array(["10", None, "9"], object), (), "example")
    ('9', '10')
    """
    present = sorted(set(names.tolist()) - {None, *further})
    measured = finite_numbers([name for name in present if name.lower() not in DOUBTFUL])
    if measured:
        _check_not_measured(sorted(measured), sum(name is not None for name in names), source)
    numbers = finite_numbers(present)
    if numbers is not None:
        present = [name for _, name in sorted(zip(numbers, present, strict=True))]
    return tuple(present)


def codes_of(names: NDArray[Any], classes: Sequence[str]) -> Tensor:
    """`(N,)` places of names among the classes, `UNLABELLED` for what is none of them."""
    code = {name: position for position, name in enumerate(classes)}
    return torch.tensor([code.get(name, UNLABELLED) for name in names.tolist()], dtype=torch.int64)


def numbers_of(values: Any, source: str) -> Tensor:
    """Raw labels to `(N,)` float64, NaN where missing."""
    array = as_array(values.names if isinstance(values, Declared) else values)
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


def whole_numbers(values: NDArray[Any]) -> NDArray[Any] | None:
    """Numbers rounded, where all are whole but for what scaling headers and 8 bits leave of them.

    >>> whole_numbers(np.array([0.0, 2.9999999993, 7.01])), whole_numbers(np.array([0.5]))
    (array([0., 3., 7.]), None)
    """
    rounded = np.rint(values)
    near = np.isfinite(values).all() and bool((np.abs(values - rounded) <= _ROUNDING).all())
    return rounded if near else None


def as_array(values: Any) -> NDArray[Any]:
    """Labels in any container as a 1-D array: of numbers, of text, or of objects to be looked at."""
    if isinstance(values, Tensor):
        values = values.detach().cpu().numpy()
    elif isinstance(values, pa.Array | pa.ChunkedArray):
        found = arrow_labels(values)
        values = found.names if isinstance(found, Declared) else found
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
            remedy="Give y of shape (N,); turn one-hot rows into codes with y.argmax(1). Of series with a"
            " label a time step name the task: task='sequence-labels', or 'sequence-regression'.",
        )
    if array.dtype.kind not in "biufUSO":
        empty = np.isnat(array) if array.dtype.kind in "mM" else np.zeros(len(array), bool)
        array = array.astype(str).astype(object)
        array[empty] = None
    return array


def arrow_labels(column: pa.Array | pa.ChunkedArray) -> NDArray[Any] | Declared:
    """A column of a table as labels: numbers stay numbers, categories are declared, all else is text."""
    if pa.types.is_dictionary(column.type):
        return _categories(column)
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


def _categories(column: pa.Array | pa.ChunkedArray) -> Declared:
    """Categories, in their order where they have one."""
    whole = column if isinstance(column, pa.ChunkedArray) else pa.chunked_array([column])
    chunks = whole.unify_dictionaries().chunks
    raw = np.array([*(chunks[0].dictionary.to_pylist() if chunks else []), None], dtype=object)
    words = [label_text(value) for value in raw[:-1]]
    table = np.array([*words, None], dtype=object)
    kind = label_type_of(raw, table)
    codes = [pc.fill_null(chunk.indices.cast(pa.int64()), -1).to_numpy() for chunk in chunks]
    names = table[np.concatenate(codes)] if codes else table[:0]
    return Declared(names, tuple(words) if column.type.ordered else (), label_type=kind)


def of_categories(values: Any) -> Any:
    """Categories of pandas and of Arrow as declared labels; all else as it is."""
    if isinstance(values, pa.Array | pa.ChunkedArray) and pa.types.is_dictionary(values.type):
        return _categories(values)
    if hasattr(getattr(values, "dtype", None), "categories"):
        return arrow_labels(pa.array(values))
    return values


def is_nothing(value: Any) -> bool:
    """Whether a raw value is one of the objects for "missing": None, NaN, pandas' NA and NaT."""
    return (
        value is None
        or (isinstance(value, float) and math.isnan(value))
        or type(value).__name__ in _NOTHING
    )


def label_text(value: Any) -> str:
    """One raw label as text: a whole float as an integer, accents composed as most systems write them.

    >>> label_text(2.0), label_text(" ok ")
    ('2', 'ok')
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return unicodedata.normalize("NFC", text_of(value))


def text_of(value: Any) -> str:
    """One raw value as text, without space around it; nothing for None."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return "" if value is None else str(value).strip()


def _target(value: Any, position: int, source: str) -> float:
    text = "" if is_nothing(value) else text_of(value)
    if text.lower() in ("", "nan"):
        return math.nan
    try:
        return float(text)
    except ValueError as error:
        raise DataError(
            f"{source}: the label {text!r} of sample {position} is not a number.",
            remedy="Use task='classification' (--task classification) if the labels are classes, or"
            " unlabelled_as (--unlabelled-as) if it means that there is none.",
        ) from error


def _check_not_measured(numbers: list[float], labelled: int, source: str) -> None:
    fractional = not all(number.is_integer() for number in numbers)
    if fractional and (len(numbers) > _FEW or 2 * len(numbers) > max(labelled, 2)):
        raise ConfigError(
            f"{source}: {len(numbers)} distinct labels such as {numbers[0]:g} look like"
            " measurements, not like classes.",
            remedy="Pass task='regression' (--task regression), or give the classes names.",
        )
