"""Raw labels of time steps: in whatever form they come, one after the other, and where each belongs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tacita.errors import ConfigError, DataError
from tacita.tasks.declared import Declared
from tacita.tasks.labels import is_nothing
from tacita.values import Values, lengths_of, shape_of

_FORMS = (
    "Give (N, L) as the series are, a list of one array a series, or a long table with --labels."
)


@dataclass(frozen=True)
class StepLabels:
    """The raw labels of several series, a row a time step, end to end.

    rows: `(R,)` raw labels or `Declared`, or `(R, T)` of several columns. lengths: `(N,)` steps of each
    series. at: `(sum of lengths,)` the row, between two rows too, that each step lies at, where series were
    interpolated; None where each step has a row. columns: what the columns are called, if they have names.

    >>> labels = StepLabels(np.array(["a", "b", "c"]), np.array([2, 1]))
    >>> len(labels), labels[1:].rows.tolist()
    (2, ['c'])
    """

    rows: Any
    lengths: NDArray[np.int64]
    at: NDArray[np.float64] | None = None
    columns: tuple[str, ...] = ()

    @classmethod
    def of(cls, raw: Any, lengths: NDArray[np.int64], longest: int, source: str) -> StepLabels:
        """From an array `(N, L)`, `(N, L, T)` or end to end, or a list of an array or None a series.

        Raises `DataError` where they are not as many as the steps.
        """
        count, total = len(lengths), int(lengths.sum())
        valid = np.arange(longest) < lengths[:, None]
        if isinstance(raw, Declared):
            raw = raw.names
        if isinstance(raw, list | tuple):
            raw = _padded(raw, lengths, longest, source)
        array = raw.detach().cpu().numpy() if isinstance(raw, Tensor) else np.asarray(raw)
        if array.ndim in (2, 3) and array.shape[:2] == (count, longest):
            return cls(array[valid], lengths)
        if array.ndim in (1, 2) and len(array) == total and (array.ndim == 1 or count != total):
            return cls(array, lengths)
        raise DataError(
            f"{source}: labels of shape {array.shape} for {count} series of {total} steps, the longest"
            f" of {longest}.",
            remedy=f"{_FORMS} -1, NaN or None mark steps without a label.",
        )

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, part: slice) -> StepLabels:
        ends = np.concatenate([[0], np.cumsum(self.lengths)])
        first, last, _ = part.indices(len(self))
        steps = slice(int(ends[first]), int(ends[max(first, last)]))
        kept = replace(self, lengths=self.lengths[part])
        if self.at is None:
            return replace(kept, rows=self.rows[steps])
        return replace(kept, at=self.at[steps])

    def moved(self, lengths: NDArray[np.int64], at: NDArray[np.float64]) -> StepLabels:
        """The same rows, of series that were interpolated."""
        return replace(self, lengths=lengths, at=at)

    def placed(self, values: Tensor, longest: int, how: Literal["nearest", "linear"]) -> Tensor:
        """`(R, ...)` encoded rows to `(N, longest, ...)`; padding is `UNLABELLED`, of floats NaN.

        A step between two rows has the label of the nearest, or lies on the line between both and is missing
        unless both are known.
        """
        if self.at is not None:
            if how == "nearest":
                values = values[torch.from_numpy(np.rint(self.at).astype(np.int64))]
            else:
                low, high = (
                    torch.from_numpy(edge(self.at).astype(np.int64)) for edge in (np.floor, np.ceil)
                )
                share = torch.from_numpy(self.at) - low
                share = share.view(-1, *(1,) * (values.ndim - 1))
                between = values[low] + share * (values[high] - values[low])
                values = torch.where(share == 0, values[low], between)
        fill = torch.nan if values.is_floating_point() else -1
        padded = values.new_full((len(self), longest, *values.shape[1:]), fill)
        valid = torch.from_numpy(np.arange(longest) < self.lengths[:, None])
        padded[valid] = values
        return padded

    def name(self, row: int) -> str:
        """What to call a row in messages."""
        if self.at is not None:
            return f"row {row} of the labels"
        ends = np.cumsum(self.lengths)
        series = int(np.searchsorted(ends, row, side="right"))
        return f"step {row - int(ends[series] - self.lengths[series])} of series {series}"


def step_labels(raw: Any, samples: Values, source: str, task: str) -> StepLabels:
    """Raw labels in any form as those of the steps of these samples.

    Raises `ConfigError` for samples that are no series, `DataError` for labels that do not fit them.
    """
    lengths, longest = steps_of(samples, source, task)
    if not isinstance(raw, StepLabels):
        return StepLabels.of(raw, lengths, longest, source)
    if not np.array_equal(raw.lengths, lengths):
        raise DataError(
            f"{source}: labels for {int(raw.lengths.sum())} steps of {len(raw)} series, but there are"
            f" {int(lengths.sum())} steps of {len(lengths)}.",
            remedy=_FORMS,
        )
    return raw


def steps_of(samples: Values, source: str, task: str) -> tuple[NDArray[np.int64], int]:
    """`(N,)` lengths of series, and the longest. Raises `ConfigError` for samples that are none."""
    shape = shape_of(samples)
    if len(shape) != 2:
        raise ConfigError(
            f"{source}: {task} needs series with a label a time step.",
            remedy="Give a long table with --series-id, or x (N, L, C) with y (N, L).",
        )
    lengths = lengths_of(samples)
    if lengths is None:
        return np.full(len(samples), shape[0], np.int64), shape[0]
    return lengths.numpy(), shape[0]


def _padded(
    raw: Sequence[Any], lengths: NDArray[np.int64], longest: int, source: str
) -> NDArray[Any]:
    """A list of one array a series, or None, as `(N, longest)` or `(N, longest, T)` objects."""
    if len(raw) != len(lengths):
        raise DataError(
            f"{source}: labels of {len(raw)} series, but there are {len(lengths)}.",
            remedy="Give one array of labels a series, None where there are none.",
        )
    arrays = [None if one is None else _array(one) for one in raw]
    inner = next((one.shape[1:] for one in arrays if one is not None), ())
    out = np.full((len(raw), longest, *inner), None, dtype=object)
    for place, (one, length) in enumerate(zip(arrays, lengths.tolist(), strict=True)):
        if one is None:
            continue
        # What was padded comes back padded: beyond the series there must be nothing.
        rest = one[length:].reshape(-1).tolist()
        beyond = len(one) <= longest and all(is_nothing(value) or value == -1 for value in rest)
        if len(one) < length or not beyond or one.shape[1:] != inner:
            raise DataError(
                f"{source}: series {place} has {length} steps, and labels of shape {one.shape}.",
                remedy="Give every step a label, -1, NaN or None where it is unknown.",
            )
        out[place, :length] = one[:length]
    return out


def _array(labels: Any) -> NDArray[Any]:
    array = labels.detach().cpu().numpy() if isinstance(labels, Tensor) else np.asarray(labels)
    return np.atleast_1d(array)
