"""Irregular sampling: series with a time for each value, brought onto one regular grid."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tacita.errors import DataError
from tacita.modalities.readers.values import check_size

_LONG_GAP = 10
_CLOSE = 1e-6
_LATEST = 1e19  # Nanoseconds since 1970 are 2e18 by now.
_GROWTH = 1000
"""How many values interpolation may make of one, on the average; more are made by a clock that failed."""
_SMALL = 2**20


@dataclass(frozen=True)
class Grid:
    """Series laid end to end on the grid of one step, and what was done to bring them there.

    Shapes: `values (sum of lengths, C)`, `lengths (N,)`; `at (sum of lengths,)`, the row that was read, or
    between two, of each value, None where nothing was moved.
    """

    values: NDArray[np.floating[Any]]
    lengths: NDArray[np.int64]
    step: float | None
    """None where no series has two values."""
    resampled: int = 0
    """How many series were not regular."""
    gaps: int = 0
    """How many gaps are longer than ten steps."""
    at: NDArray[np.float64] | None = None


def on_grid(
    values: NDArray[np.floating[Any]],
    lengths: NDArray[np.int64],
    times: NDArray[np.float64],
    *,
    step: float | None = None,
    source: str,
    place: Callable[[int], str],
) -> Grid:
    """Series end to end, `values (T, C)` at `times (T,)`, linearly interpolated at every `step`.

    `step`: by default the median of all steps. A grid starts at a series' first time and ends at or
    before its last, so nothing is invented beyond them; regular series stay bit for bit. Missing
    values (NaN) do not count as knots; before a channel's first and after its last, that is held.

    Raises `DataError` for times that are missing or do not rise, at the words of `place`.
    """
    series = np.repeat(np.arange(len(lengths)), lengths)
    first = np.cumsum(lengths) - lengths
    check_times(times, series, source, place)
    steps = np.diff(times)
    within = series[1:] == series[:-1]
    if step is None:
        step = float(np.median(steps[within])) if within.any() else None
    if step is None:
        return Grid(values, lengths, None)
    # A clock of 1e9 seconds resolves only 1e-7 of them.
    resolution = 4 * float(np.finfo(np.float64).eps) * float(np.max(np.abs(times)))
    close: float = min(0.01, _CLOSE + resolution / step)
    uneven = within & (np.abs(steps - step) > close * step)
    gaps = int((within & (steps > _LONG_GAP * step)).sum())
    irregular = np.zeros(len(lengths), bool)
    irregular[series[1:][uneven]] = True
    if not irregular.any():
        return Grid(values, lengths, step, 0, gaps)
    # Times as positions on the grid; those that hit it are made to hit it exactly.
    at = (times - times[first][series]) / step
    whole = np.rint(at)
    at = np.where(np.abs(at - whole) <= close, whole, at)
    at = np.where(irregular[series], at, np.arange(len(times)) - first[series])
    ends = np.floor(at[first + lengths - 1])
    _check_growth(
        float(ends.sum()) + len(ends), times, within, step, values.shape[1], source, place
    )
    new = ends.astype(np.int64) + 1
    out = np.empty((int(new.sum()), values.shape[1]), values.dtype)
    for channel in range(values.shape[1]):
        out[:, channel] = _interpolated(values[:, channel], at, series, new, str(channel), source)
    rows = _interpolated(np.arange(len(times), dtype=np.float64), at, series, new, "0", source)
    return Grid(out, new, step, int(irregular.sum()), gaps, rows.astype(np.float64))


def _check_growth(
    count: float,
    times: NDArray[np.float64],
    within: NDArray[np.bool_],
    step: float,
    channels: int,
    source: str,
    place: Callable[[int], str],
) -> None:
    """Refuses a grid of `count` values out of all proportion to what it is interpolated from."""
    if count > max(_SMALL, _GROWTH * len(times)):
        gaps = np.where(within, np.diff(times), 0)
        worst = int(gaps.argmax())
        raise DataError(
            f"{source}: the time {times[worst + 1]:.15g} at {place(worst + 1)} is {gaps[worst] / step:.3g}"
            f" steps of {step:g} behind the one before it, so that {len(times)} values would be"
            f" interpolated to {count:.3g}.",
            remedy="Correct the time, leave the row out, or make each stretch a series of its own.",
        )
    # Beside the values of a channel there are several numbers a position while it is interpolated.
    check_size(source, (int(count), channels + 16))


def _interpolated(
    values: NDArray[np.floating[Any]],
    at: NDArray[np.float64],
    series: NDArray[np.int64],
    new: NDArray[np.int64],
    channel: str,
    source: str,
) -> NDArray[np.floating[Any]]:
    """One channel of all series at positions 0, 1, 2, ... of each, `new (N,)` of them, along straight lines.

    Raises `DataError` for a series in which the channel has no value.
    """
    filled = ~np.isnan(values)
    values, at, series = values[filled], at[filled], series[filled]
    count = np.bincount(series, minlength=len(new))
    if not count.all():
        raise DataError(
            f"{source}: channel {channel} of sample {int(count.argmin())} has no value at all, so"
            " nothing can be interpolated.",
            remedy="Leave the sample out, or fill the channel in.",
        )
    begin = np.cumsum(new) - new
    owner = np.repeat(np.arange(len(new)), new)
    # A knot is passed at the first grid point not before it; a running count gives the last passed.
    passed = begin[series] + np.minimum(np.ceil(at).astype(np.int64), new[series])
    left = np.cumsum(np.bincount(passed, minlength=len(owner) + 1))[: len(owner)] - 1
    last = np.cumsum(count) - 1
    left = np.clip(left, (last - count + 1)[owner], last[owner])
    right = np.minimum(left + 1, last[owner])
    position = np.arange(len(owner)) - begin[owner]
    width = np.where(right > left, at[right] - at[left], 1.0)
    share = np.clip((position - at[left]) / width, 0, 1)
    low, high = values[left].astype(np.float64), values[right].astype(np.float64)
    return np.where(share == 0, values[left], low + share * (high - low)).astype(values.dtype)


def check_times(
    times: NDArray[np.float64], series: NDArray[np.int64], source: str, place: Callable[[int], str]
) -> None:
    unknown = ~(np.abs(times) < _LATEST)
    if unknown.any():
        raise DataError(
            f"{source}: the time at {place(int(unknown.argmax()))} is missing, or beyond {_LATEST:g}.",
            remedy="Give every row its time, or leave the row out.",
        )
    wrong = (series[1:] == series[:-1]) & (times[1:] <= times[:-1])
    if wrong.any():
        bad = int(wrong.argmax()) + 1
        what = "is there twice" if times[bad] == times[bad - 1] else "is before the one before it"
        raise DataError(
            f"{source}: the time {times[bad]:.15g} at {place(bad)} {what} within its series.",
            remedy="Give every value of a series a later time; merge or drop what is doubled.",
        )
