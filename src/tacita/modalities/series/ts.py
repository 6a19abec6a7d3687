"""`.ts` files, the text format of the UCR and UEA archives as sktime and aeon write it.

Headers `@key value`, then `@data` and a series a line: its channels parted by `:`, their values by
`,`, the label last. The file is read line by line, so that it may be streamed, and every line that
breaks the format is named by its number.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from tacita.data.reading import Missing, Samples
from tacita.errors import DataError
from tacita.modalities.readers.values import LARGEST, damaged
from tacita.modalities.series.read import ragged_series
from tacita.tasks.declared import Declared
from tacita.values import LARGEST_NUMBER

_LINE = 2**27
_TRUTH = {"true": True, "false": False}


@dataclass
class _Header:
    labelled: bool = False
    classes: frozenset[str] = frozenset()
    channels: int | None = None
    length: int | None = None
    equal: bool = False
    numbers: dict[str, int] = field(default_factory=dict)


def stream_ts(path: Path, chunk: int | None, *, missing: Missing) -> Iterator[Samples]:
    """At most `chunk` series at a time; None for all of them.

    Raises `DataError` naming the line for whatever is not the format, and for timestamped values.
    """
    start = 0
    with damaged(path, "a .ts file"), path.open(encoding="utf-8-sig") as file:
        lines = _lines(file, path)
        header = _header(lines, path)
        series = _series(lines, header, path, missing)
        while part := list(islice(series, chunk or LARGEST)):
            arrays = [values for values, _ in part]
            samples = ragged_series(
                np.concatenate(arrays),
                np.array([len(values) for values in arrays]),
                missing=missing,
                source=str(path),
                start=start,
            )
            labels: Any = [label for _, label in part] if header.labelled else None
            if header.classes and labels is not None:
                labels = Declared.of(labels)
            yield replace(samples, labels=labels)
            start += len(part)
    if not start:
        raise DataError(f"{path}: there are no series after @data.", remedy="Give at least one.")


def _lines(file: IO[str], path: Path) -> Iterator[tuple[int, str]]:
    """Numbered lines without blank ones and comments; one without an end is not read to its end."""
    number = 0
    while line := file.readline(_LINE):
        number += 1
        if len(line) == _LINE:
            raise _wrong(path, number, f"longer than {_LINE // 2**20} MiB", "Split the series.")
        line = line.strip()
        if line and not line.startswith("#"):
            yield number, line


def _header(lines: Iterator[tuple[int, str]], path: Path) -> _Header:
    header = _Header()
    for number, line in lines:
        key, *words = line.split()
        key = key.lower()
        if not key.startswith("@"):
            raise _wrong(path, number, "data before @data", "Put @data before the first series.")
        if key == "@data":
            if words:
                raise _wrong(path, number, "@data with a value", "Leave it alone on its line.")
            return header
        if key in ("@timestamps", "@classlabel", "@targetlabel", "@equallength", "@univariate"):
            truth = _TRUTH.get(words[0].lower()) if words else None
            if truth is None:
                raise _wrong(path, number, f"{key} is neither true nor false", "Give one of them.")
            if key == "@timestamps" and truth:
                raise _wrong(
                    path,
                    number,
                    "the values carry timestamps, which are not read from .ts files",
                    "Save a table of one row a time step, and name its series_id and time.",
                )
            if key == "@classlabel" and truth:
                header.classes = frozenset(words[1:])
            if key in ("@classlabel", "@targetlabel"):
                header.labelled |= truth
            elif key == "@equallength":
                header.equal = truth
            elif key == "@univariate" and truth:
                header.channels = 1
        elif key in ("@dimensions", "@dimension", "@serieslength"):
            if len(words) != 1 or not words[0].isascii() or not words[0].isdigit():
                raise _wrong(path, number, f"{key} is not a whole number", "Give one number.")
            header.numbers[key] = int(words[0][:12])
    raise DataError(
        f"{path}: there is no @data line.", remedy="The file is cut short, or of another type."
    )


def _series(
    lines: Iterator[tuple[int, str]], header: _Header, path: Path, missing: Missing
) -> Iterator[tuple[NDArray[np.floating[Any]], str | None]]:
    channels = header.numbers.get("@dimensions", header.numbers.get("@dimension", header.channels))
    length = header.numbers.get("@serieslength") if header.equal else None
    for number, line in lines:
        parts = line.split(":")
        label = parts.pop().strip() if header.labelled else None
        channels = channels or len(parts)
        if not parts or len(parts) != channels:
            raise _wrong(
                path,
                number,
                f"{len(parts)} channels, where there should be {channels or 'some'}"
                + " before the label" * header.labelled,
                "Part the channels by ':', the same number on every line.",
            )
        if header.classes and label != "?" and label not in header.classes:
            raise _wrong(
                path, number, f"the label {label!r} is not in the header", "Add it to @classLabel."
            )
        columns = [_values(part, path, number, missing) for part in parts]
        lengths = {len(column) for column in columns}
        if header.equal:
            length = length or len(columns[0])
            lengths.add(length)
        if len(lengths) > 1:
            raise _wrong(
                path,
                number,
                f"channels of {min(lengths)} and of {max(lengths)} values"
                if not header.equal
                else f"{len(columns[0])} values, where @equalLength promises {length}",
                "Give every channel of a series the same number of values.",
            )
        unknown = label == "?" and label not in header.classes
        yield np.stack(columns, 1), None if unknown else label


def _values(text: str, path: Path, number: int, missing: Missing) -> NDArray[np.floating[Any]]:
    cells = text.split(",")
    try:
        if "_" in text:
            raise ValueError
        values = [math.nan if cell.strip() == "?" else float(cell) for cell in cells]
    except ValueError as error:
        bad = next(cell for cell in cells if cell.strip() != "?" and not _is_number(cell))
        raise _wrong(
            path, number, f"{bad.strip()[:40]!r} is not a number", "Write ? for a missing value."
        ) from error
    array = np.array(values)
    if (np.abs(array) > LARGEST_NUMBER).any():
        raise _wrong(
            path, number, "an infinite value, or one too large", "Write ? if it is unknown."
        )
    if missing == "refuse" and np.isnan(array).any():
        raise _wrong(
            path,
            number,
            f"{int(np.isnan(array).sum())} missing values",
            "Fill them in, or pass missing='impute' (--missing impute).",
        )
    return array


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell


def _wrong(path: Path, number: int, what: str, remedy: str) -> DataError:
    return DataError(f"{path}: line {number}: {what}.", remedy=remedy)
