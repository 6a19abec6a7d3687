"""The arrays that a fitted estimator is made of, read from a file that nobody vouches for.

Each array is asked for by name, with the shape and the range that the estimator needs, before any
compiled code sees it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tacita.errors import CheckpointError

REMEDY = "The folder is damaged or not from tacita; use it as it was saved."
Array = NDArray[Any]


class Arrays:
    """Arrays by name; every error is a `CheckpointError` that names the file and the array.

    classes: how many the task has: codes are below it.

    >>> found = Arrays(Path("a.safetensors"), {"coef": np.zeros((1, 3))})
    >>> found.numbers("coef", 1, 3).shape
    (1, 3)
    """

    def __init__(
        self, path: Path, found: Mapping[str, Array], classes: int = 0, prefix: str = ""
    ) -> None:
        self.path = path
        self.found = found
        self.of_task = classes
        self.prefix = prefix
        self.taken: set[str] = set()

    def under(self, prefix: str) -> Arrays:
        """Those whose names begin so, by the rest of their names."""
        below = Arrays(self.path, self.found, self.of_task, f"{self.prefix}{prefix}/")
        below.taken = self.taken
        return below

    def numbers(
        self, name: str, *shape: int | None, nan: bool = False, infinite: bool = False
    ) -> Array:
        """Floats of a shape, in which None is any size; they are finite unless it is said otherwise."""
        array = self._of_shape(name, shape)
        if array.dtype not in (np.float32, np.float64):
            raise self.wrong(name, f"is of {array.dtype}, not of floats")
        if not nan and np.isnan(array).any():
            raise self.wrong(name, "holds NaN")
        if not infinite and np.isinf(array).any():
            raise self.wrong(name, "holds infinite values")
        return array

    def whole(self, name: str, *shape: int | None, least: int = 0, below: int = 2**31) -> Array:
        """int64 of a shape, each `least` or more and less than `below`."""
        array = self._of_shape(name, shape)
        if array.dtype != np.int64:
            raise self.wrong(name, f"is of {array.dtype}, not of int64")
        if array.size and not least <= array.min() <= array.max() < below:
            raise self.wrong(name, f"holds values outside of {least} to {below - 1}")
        return array

    def flags(self, name: str, *shape: int | None) -> Array:
        """Zeros and ones of a shape, as uint8."""
        return self.whole(name, *shape, below=2).astype(np.uint8)

    def classes(self, fewest: int = 1) -> Array:
        """`(k,)` codes of the classes that the estimator has seen, in rising order."""
        codes = self.whole("classes", None, below=max(1, self.of_task))
        if len(codes) < fewest or (np.diff(codes) <= 0).any():
            raise self.wrong("classes", "are not the codes of classes in rising order")
        return codes

    def all_taken(self) -> None:
        """Raise where there is an array that nothing has asked for."""
        unknown = sorted(self.found.keys() - self.taken)
        if unknown:
            raise CheckpointError(f"{self.path}: has unknown {unknown[:3]}.", remedy=REMEDY)

    def wrong(self, name: str, what: str) -> CheckpointError:
        """The error for an array that cannot be."""
        return CheckpointError(f"{self.path}: {self.prefix}{name} {what}.", remedy=REMEDY)

    def _of_shape(self, name: str, shape: tuple[int | None, ...]) -> Array:
        whole = self.prefix + name
        if whole not in self.found:
            raise CheckpointError(f"{self.path}: lacks {whole}.", remedy=REMEDY)
        self.taken.add(whole)
        array = self.found[whole]
        fits = array.ndim == len(shape) and all(
            wanted in (None, size) for wanted, size in zip(shape, array.shape, strict=True)
        )
        if not fits:
            wanted = ", ".join("any" if size is None else str(size) for size in shape)
            raise self.wrong(name, f"is of shape {array.shape}, not ({wanted})")
        return array
