"""Whether the rows of a table may be time steps, which no split may tear apart.

Rows of one series are nearly the same, so a part that is learnt from and one that is scored on would
share their samples. What is looked for is rare in tables of samples, however they are sorted: ids that
repeat, times that rise within them, and labels that stay for many rows and come again.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tacita.data.notes import Doubt
from tacita.errors import TacitaError
from tacita.modalities.readers.columns import parse_numbers, strings
from tacita.modalities.series.long import parse_times
from tacita.tasks.labels import class_names

ROWS = 100_000
"""Rows that are looked at: the first ones."""
_ENOUGH = 12
_ID = re.compile(
    r"id|ids|series|window|subject|patient|participant|person|user|customer|animal|machine|engine"
    r"|device|sensor|unit|vehicle|session|recording|segment|episode|trial|run|batch|file"
)
_TIME = re.compile(
    r"t|ts|time|times|timestamp|date|datetime|step|frame|tick|second|seconds|sec|ms|us|ns|epoch"
    r"|minute|hour|day|cycle|cycles|index"
)
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")
_SMOOTH = 0.1
"""The mean square of a column's steps, over that of differences of any two rows: of noise it is 1."""


@dataclass(frozen=True)
class _Owner:
    """A column that may say which series a row belongs to."""

    name: str
    codes: NDArray[np.int64]
    named: bool

    @property
    def count(self) -> int:
        return int(self.codes.max()) + 1

    @property
    def together(self) -> bool:
        """Whether the rows of each value follow one another."""
        return int((self.codes[1:] != self.codes[:-1]).sum()) + 1 == self.count


def steps_in(table: pa.Table, labels: Any) -> Doubt | None:
    """The doubt whether rows are time steps, with the columns that say so; None where little does.

    labels: one raw value a row, or None.
    """
    table = table.slice(0, ROWS)
    y = _codes_of_labels(labels, len(table))
    if len(table) < _ENOUGH:
        return None
    times = dict(_times(table))
    owners = [owner for owner in _owners(table) if owner.name not in times]
    for owner in sorted(owners, key=lambda each: (not each.named, not each.together)):
        for name, time in times.items():
            if _rises(owner, time):
                doubt = _series(owner, name, time, y)
                if doubt is not None:
                    return doubt
    for owner in owners:
        if _owns_labels(owner, y):
            return _told_by(owner)
    return _one_recording(table, times, y)


def _owners(table: pa.Table) -> Iterator[_Owner]:
    for name in table.column_names:
        try:
            numbers = parse_numbers(table[name])
            if numbers is not None and not bool((np.round(numbers) == numbers).all()):
                continue
            encoded = strings(table[name]).combine_chunks().dictionary_encode()
        except TacitaError:
            continue
        words = encoded.dictionary.to_pylist()
        if encoded.null_count or "" in words or not 2 <= len(words) <= len(table) // 2:
            continue
        codes = np.asarray(encoded.indices.to_numpy(), np.int64)
        yield _Owner(name, codes, _is_called(name, _ID))


def _times(table: pa.Table) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Columns that are called a time, hold dates, or rise by equal steps again and again."""
    for name in table.column_names:
        column = table[name]
        dated = pa.types.is_temporal(column.type)
        try:
            if parse_numbers(column.slice(0, 20)) is None and not dated:
                parse_times(column.slice(0, 20), name, "")
                dated = True
            values = parse_times(column, name, "")
        except TacitaError:
            continue
        if np.isnan(values).any():
            continue
        if dated or _is_called(name, _TIME) or _restarts(values):
            yield name, values


def _restarts(values: NDArray[np.float64]) -> bool:
    """Whether a column rises by equal steps and falls back now and then."""
    steps = np.diff(values)
    up = steps[steps > 0]
    if len(up) < len(steps) / 2 or len(up) == len(steps):
        return False
    usual = float(np.median(up))
    return bool((np.abs(up - usual) <= 0.01 * usual).mean() >= 0.9)


def _rises(owner: _Owner, time: NDArray[np.float64]) -> bool:
    """Whether times rise within each series; a clock that all rows share says nothing of scattered ids.

    What is not called an id needs more to be one: its rows together, and equal steps of time.
    """
    if len(time) < 3 * owner.count or not (owner.named or owner.together):
        return False
    order = np.lexsort((time, owner.codes))
    steps = np.diff(time[order])[owner.codes[order][1:] == owner.codes[order][:-1]]
    shared = bool((np.diff(time) > 0).all())
    if not bool((steps > 0).all()) or (shared and not owner.together):
        return False
    usual = float(np.median(steps))
    return owner.named or bool((np.abs(steps - usual) <= 0.01 * usual).mean() >= 0.9)


def _series(
    owner: _Owner, name: str, time: NDArray[np.float64], y: NDArray[np.int64] | None
) -> Doubt | None:
    what = f"{owner.name!r} repeats and {name!r} rises within it"
    if y is None or _constant(owner.codes, y):
        return _doubt(what, _series_id(owner.name, name), owner.name)
    if _stay(y[np.lexsort((time, owner.codes))], 2):
        return _doubt(f"{what}, where labels stay the same for many rows", "", owner.name)
    return None


def _told_by(owner: _Owner) -> Doubt:
    what = f"rows with the same {owner.name!r} always have the same label"
    return _doubt(what, _series_id(owner.name) if owner.together else "", owner.name)


def _one_recording(
    table: pa.Table, times: dict[str, NDArray[np.float64]], y: NDArray[np.int64] | None
) -> Doubt | None:
    """Labels in stretches that come again, in rows that follow a clock or are like their neighbours."""
    if y is None or not _stay(y, 3):
        return None
    clock = next((name for name, time in times.items() if (np.diff(time) > 0).all()), None)
    if clock is not None:
        what = f"labels stay the same for many rows while {clock!r} rises"
    elif _smooth(table):
        what = "labels stay the same for many rows, and each row is much like the one before it"
    else:
        return None
    return _doubt(what, "", None)


def _doubt(what: str, series: str, group: str | None) -> Doubt:
    group = "COLUMN" if group is None else shlex.quote(group)
    keep = f"--group {group} if what is predicted is of each row"
    rows = "--modality tables if every row is a sample of its own"
    remedy = f"{series}, or {keep}, or {rows}" if series else f"{keep}, or {rows}"
    return Doubt(f"these look like series, a row a time step: {what}", remedy)


def _series_id(owner: str, time: str | None = None) -> str:
    return f"--series-id {shlex.quote(owner)}" + (f" --time {shlex.quote(time)}" if time else "")


def _owns_labels(owner: _Owner, y: NDArray[np.int64] | None) -> bool:
    """Whether many ids have one label each, which is no accident."""
    if y is None or not owner.named:
        return False
    classes = len(np.unique(y[y >= 0]))
    many = owner.count >= max(5, 3 * classes) or (classes > 10 and len(y) >= 3 * owner.count)
    return classes > 1 and many and _constant(owner.codes, y)


def _constant(codes: NDArray[np.int64], y: NDArray[np.int64]) -> bool:
    known = y >= 0
    if not known.any():
        return False
    pairs = np.unique(np.stack([codes[known], y[known]]), axis=1)
    return len(np.unique(pairs[0])) == pairs.shape[1]


def _stay(y: NDArray[np.int64], fewer: int) -> bool:
    """Whether labels lie in so many times fewer stretches than by chance, and classes come again."""
    y = y[y >= 0]
    counts = np.bincount(y) if len(y) else np.empty(0)
    stretches = int((y[1:] != y[:-1]).sum()) + 1
    classes = int((counts > 0).sum())
    if classes < 2 or len(y) < _ENOUGH:
        return False
    by_chance = len(y) - float((counts.astype(float) ** 2).sum()) / len(y) + 1
    return classes < stretches <= min(by_chance / fewer, len(y) / 4)


def _smooth(table: pa.Table) -> bool:
    """Whether nearly all numbers change little from row to row, though no row is in their order."""
    ratios = []
    for name in table.column_names:
        numbers = parse_numbers(table[name])
        if numbers is None or np.isnan(numbers).any():
            continue
        steps = np.diff(numbers)
        spread = 2 * float(np.var(numbers))
        if spread > 0 and not ((steps >= 0).all() or (steps <= 0).all()):
            ratios.append(float(np.mean(steps**2)) / spread)
    return len(ratios) >= 3 and float(np.mean(np.array(ratios) < _SMOOTH)) >= 0.8


def _codes_of_labels(labels: Any, count: int) -> NDArray[np.int64] | None:
    """Numbers for the labels, -1 for none; None where no row has one."""
    if labels is None:
        return None
    try:
        names = class_names(labels, "")[:count]
    except TacitaError:
        return None
    encoded = pa.array(names.tolist(), pa.string()).dictionary_encode()
    codes = np.asarray(pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False), np.int64)
    return codes if (codes >= 0).any() else None


def _is_called(name: str, what: re.Pattern[str]) -> bool:
    """Whether one of the words of a name, however they are joined, is such a word.

    >>> [_is_called(name, _ID) for name in ("window_id", "windowId", "PatientID", "humidity")]
    [True, True, True, False]
    """
    return any(what.fullmatch(word.lower()) for word in _WORD.findall(name))
