"""Numbers that can be learnt from: floats, finite, and a message with the place where they are not."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tacita.data.reading import Missing
from tacita.errors import ConfigError, DataError, TacitaError
from tacita.values import LARGEST_NUMBER

Place = Callable[[tuple[int, ...]], str]
"""An index into an array to words a user can follow: "row 3, column 'age'"."""

LARGEST = 16 * 2**30
"""Bytes that one array may take: what is declared beyond it is a mistake or an attack."""

_BOMB = 2**30
_RATIO = 200
_BLOCK = 2**22


def check_missing(missing: str) -> Missing:
    """The policy for missing values, or a `ConfigError` that names the two there are."""
    if missing == "refuse":
        return "refuse"
    if missing == "impute":
        return "impute"
    raise ConfigError(
        f"missing={missing!r} is not a policy.",
        remedy="Use missing='refuse' (stop at the first) or missing='impute' (fill them in).",
    )


@contextmanager
def damaged(source: str | os.PathLike[str], kind: str) -> Iterator[None]:
    """Turns whatever a decoder raises on broken input into one `DataError` that names the file.

    Decoders of other people's formats fail in every way there is (`struct.error`, `KeyError`,
    `zlib.error`, ...), so all exceptions are caught; our own pass through.
    """
    try:
        yield
    except TacitaError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"{source}: there is no such file.", remedy="Check the path.") from error
    except PermissionError as error:
        raise DataError(
            f"{source}: may not be read.", remedy="Check the permissions of the file."
        ) from error
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(
            f"{source}: cannot be read as {kind} ({reason}).",
            remedy="The file is damaged, cut short or of another type: write it again, or leave it out.",
        ) from error


def check_size(source: str, shape: tuple[int, ...], itemsize: int = 4) -> None:
    """Refuses an array that would not fit into any sensible memory, before it is made."""
    size = itemsize
    for width in shape:
        size *= width
    if size > LARGEST:
        raise DataError(
            f"{source}: an array of shape {shape} would take {size / 2**30:.0f} GiB;"
            f" the bound is {LARGEST // 2**30} GiB.",
            remedy="Read fewer samples, or shorter or smaller ones.",
        )


def check_unpacked(source: str, size: int, packed: int) -> None:
    """Refuses what would unpack to more than any sensible memory, or from little to very much.

    size, packed: bytes in memory, and those of the file that they come from.
    """
    if size > LARGEST or (size > _BOMB and size > _RATIO * packed):
        raise DataError(
            f"{source}: would unpack from {packed / 2**20:.1f} MiB to {size / 2**30:.1f} GiB or more;"
            f" the bound is {LARGEST // 2**30} GiB, and {_RATIO} times what a file holds.",
            remedy="The file is damaged or an attack, or it is to be split, or saved without compression.",
        )


def to_tensor(array: NDArray[Any]) -> Tensor:
    """A tensor over the same memory where torch can share it, else over a copy; never written to."""
    array = np.ascontiguousarray(array)
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def to_floats(array: NDArray[Any], source: str, place: Place) -> NDArray[np.floating[Any]]:
    """Any real numbers as the floats that hold them: told by their type, so by no value among them.

    64-bit floats and whole numbers of 32 bits or more become or stay float64, all else float32: what
    lies far from zero and close together, such as a clock, is told apart until it is normalised. Those too
    large for their squares to be summed are refused, with their place.
    """
    if array.dtype not in (np.float32, np.float64):
        wide = array.dtype.kind in "iuf" and array.dtype.itemsize >= 4
        array = array.astype(np.float64 if wide else np.float32)
    if array.dtype == np.float64:
        _, first = _find(array, _too_large)
        if first is not None:
            raise DataError(
                f"{source}: the number {array[first]:g} at {place(first)} is too large.",
                remedy=f"Rescale the values to less than {LARGEST_NUMBER:g}.",
            )
    return array


def _too_large(array: NDArray[Any]) -> NDArray[np.bool_]:
    return np.isfinite(array) & (np.abs(array) > LARGEST_NUMBER)


def check_finite(
    array: NDArray[np.floating[Any]],
    source: str,
    place: Place,
    *,
    missing: Missing,
    fillable: bool = True,
) -> bool:
    """Refuses infinite values always and missing ones by policy; True if missing ones remain."""
    count, first = _find(array, np.isinf)
    if first is not None:
        raise DataError(
            f"{source}: {count} infinite value{'s' * (count > 1)}, the first at {place(first)}.",
            remedy="Replace them by numbers, or by an empty cell (NaN) if they are unknown.",
        )
    count, first = _find(array, np.isnan)
    if first is None:
        return False
    if missing == "refuse" or not fillable:
        remedy = "Fill them in, or pass missing='impute' (--missing impute)."
        raise DataError(
            f"{source}: {count} missing value{'s' * (count > 1)} (NaN or empty),"
            f" the first at {place(first)}.",
            remedy=remedy if fillable else "Fill them in: missing pixels are never imputed.",
        )
    return True


def _find(
    array: NDArray[Any], test: Callable[[NDArray[Any]], NDArray[np.bool_]]
) -> tuple[int, tuple[int, ...] | None]:
    """How many values pass a test, and where the first is; in blocks, so that memory stays small."""
    count, first = 0, None
    rows = max(1, _BLOCK // max(1, array[:1].size))
    for start in range(0, len(array), rows):
        hits = test(array[start : start + rows])
        found = int(np.count_nonzero(hits))
        if found and first is None:
            row, *rest = (int(i) for i in np.unravel_index(int(hits.argmax()), hits.shape))
            first = (start + row, *rest)
        count += found
    return count, first
