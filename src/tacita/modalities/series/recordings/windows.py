"""Recordings to windows: series of one row a second, each within one state of the wearer.

Windows overlap, so a split must leave a gap: `time_split` keeps windows that share a second on one
side. Splits by subject are those of any data set with groups.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tacita.data.dataset import Dataset
from tacita.data.reading import Reading, Samples
from tacita.errors import ConfigError, DataError
from tacita.modalities.finish import finish
from tacita.modalities.readers.values import check_size
from tacita.modalities.series.meta import series_samples
from tacita.modalities.series.recordings.recording import Recording, Seconds, seconds_of
from tacita.modalities.series.recordings.states import ASLEEP, UNUSED, runs, states_of

LENGTH = 512
"""Seconds of a window; a new one begins every quarter of it (Corponi et al., 2024)."""
Item = tuple[Recording, Seconds, NDArray[np.int8]]


@dataclass(frozen=True)
class Windows:
    """A data set of windows and where each comes from.

    data: series `(N, length, C)` with `rates`; groups are subjects, ids say recording and second.
    recording: `(N,)` int64, the position of its recording in `recordings`.
    start: `(N,)` int64, the second of the recording at which it begins.
    time: `(N,)` float64, the same in seconds (UTC).
    asleep: `(N,)` bool, whether its state is sleep.
    recordings: names of all recordings; `skipped` of those that gave no window, with the reason.
    """

    data: Dataset
    recording: Tensor
    start: Tensor
    time: Tensor
    asleep: Tensor
    recordings: tuple[str, ...]
    skipped: Mapping[str, str]


def windows(
    recordings: Sequence[Recording],
    *,
    length: int = LENGTH,
    step: int | None = None,
    channels: Sequence[str] | None = None,
    labels: Mapping[str, Any] | None = None,
    task: str | None = None,
) -> Windows:
    """All windows of `length` seconds, `step` seconds apart, that lie within one state.

    step: by default a quarter of the length.
    channels: names of the signals to take, in their order; by default those of the first recording.
    labels: the label of each recording by its name, which all of its windows get; missing is none.
    task: as in `tacita.load`.

    A window never holds a missing sample: gaps are left out. A recording that gives no window is
    skipped and named. Raises `DataError` where none gives any, a channel is missing, or rates differ.

    >>> from tacita.modalities.series.recordings.recording import Signal
    >>> signal = Signal(np.zeros(40, np.float32), rate=4)
    >>> windows([Recording("r", {"eda": signal})], length=4, step=2).data.x.shape
    torch.Size([4, 4, 4])
    """
    if not recordings:
        raise DataError("there are no recordings.", remedy="Give at least one.")
    if channels is None:
        channels = tuple(recordings[0].signals)
    samples, places, skipped = window_samples(recordings, channels, length=length, step=step)
    names = tuple(recording.name for recording in recordings)
    recording, start, time, state = places
    if labels is not None:
        unknown = sorted(set(labels) - set(names))
        if unknown:
            raise DataError(
                f"labels: {unknown[0]!r} is no recording.", remedy=f"There are {names[0]!r}, ..."
            )
        samples = replace(samples, labels=[labels.get(names[i]) for i in recording])
    return Windows(
        finish(samples, Reading(task=task)),
        torch.from_numpy(recording),
        torch.from_numpy(start),
        torch.from_numpy(time),
        torch.from_numpy(state == ASLEEP),
        names,
        skipped,
    )


Places = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.int8]]


def window_samples(
    recordings: Sequence[Recording],
    channels: Sequence[str],
    *,
    length: int = LENGTH,
    step: int | None = None,
    rates: tuple[int, ...] | None = None,
    source: str = "recordings",
    empty: bool = False,
) -> tuple[Samples, Places, dict[str, str]]:
    """The windows as samples, where each comes from, and the recordings without any.

    `rates`: what a model was trained with; by default those of the first recording. Where no
    recording has a window, `empty` gives no samples instead of raising `DataError`.
    """
    step = max(1, length // 4) if step is None else step
    if length < 1 or step < 1:
        raise ConfigError(
            f"length={length} and step={step} must be at least 1 second.",
            remedy=f"The defaults are {LENGTH} and a quarter of the length.",
        )
    found: list[Item] = []
    for recording in recordings:
        seconds = seconds_of(recording, channels)
        rates = rates or seconds.rates
        if seconds.rates != rates:
            raise DataError(
                f"{recording.name}: its rates are {seconds.rates}, not {rates}.",
                remedy="All recordings need the same rates.",
            )
        found.append((recording, seconds, states_of(seconds)))
    starts = [window_starts(state, length, step) for _, _, state in found]
    skipped = {
        item[0].name: _why_none(item[2], length)
        for item, begin in zip(found, starts, strict=True)
        if not len(begin)
    }
    count = sum(map(len, starts))
    if not count and not empty:
        name, why = next(iter(skipped.items()))
        raise DataError(
            f"{source}: no recording gives a window; {name}: {why}.",
            remedy=f"Give longer recordings, or a shorter length than {length} seconds:"
            " tacita.modalities.series.recordings.windows(read_recordings(path), length=60, step=15).",
        )
    width = sum(rates or ())
    check_size(source, (count, length, width))
    x = np.empty((count, length, width), np.float32)
    at = 0
    for (_, seconds, _), begin in zip(found, starts, strict=True):
        if len(begin):
            views = np.lib.stride_tricks.sliding_window_view(seconds.rows, length, 0)
            x[at : at + len(begin)] = views[begin].swapaxes(1, 2)
        at += len(begin)
    owner = np.repeat(np.arange(len(found)), [len(begin) for begin in starts])
    start = np.concatenate([*starts, np.empty(0, np.int64)])
    samples = series_samples(
        torch.from_numpy(x),
        None,
        source,
        groups=[recordings[i].subject or recordings[i].name for i in owner],
        group="subject",
        ids=tuple(f"{recordings[i].name}@{s}" for i, s in zip(owner, start, strict=True)),
        columns=column_names(tuple(channels), rates or ()),
        rates=rates or (),
    )
    time = np.array([found[i][1].start for i in owner], np.float64) + start
    state = np.array([found[i][2][s] for i, s in zip(owner, start, strict=True)], np.int8)
    return samples, (owner, start, time, state), skipped


def window_starts(state: NDArray[np.int8], length: int, step: int) -> NDArray[np.int64]:
    """The seconds at which windows begin: from the start of every stretch of one used state on.

    >>> window_starts(np.array([1, 1, 1, 1, 2, 2, 0, 0, 0], np.int8), 2, 1).tolist()
    [0, 1, 2, 4]
    """
    begin, end = runs(state)
    kept = [
        np.arange(b, e - length + 1, step)
        for b, e in zip(begin, end, strict=True)
        if state[b] != UNUSED
    ]
    return np.concatenate([*kept, np.empty(0, np.int64)]).astype(np.int64)


def time_split(
    windows: Windows, shares: tuple[float, ...] = (0.7, 0.15, 0.15)
) -> tuple[Tensor, ...]:
    """Positions of the windows in the first, second, ... part of every recording's own time.

    A window belongs to a part if it lies wholly within it, so no second is in two parts; those across
    a border are in none. It measures a known person at a later time; for new people keep groups
    apart (`tacita.data.splits.hold_out`).

    Raises `ConfigError` for shares that are not positive or do not sum to 1.
    """
    if min(shares) <= 0 or abs(sum(shares) - 1) > 1e-6:
        raise ConfigError(
            f"shares={shares} are not positive numbers that sum to 1.",
            remedy="(0.7, 0.15, 0.15) is usual.",
        )
    length = windows.data.x.shape[1]
    first, last = windows.start.double(), windows.start.double() + length
    count = len(windows.recordings)
    begin = torch.full((count,), torch.inf, dtype=torch.float64)
    begin = begin.scatter_reduce(0, windows.recording, first, "amin")[windows.recording]
    end = torch.zeros(count, dtype=torch.float64)
    end = end.scatter_reduce(0, windows.recording, last, "amax")[windows.recording]
    borders = torch.tensor([0.0, *np.cumsum(shares)], dtype=torch.float64)
    borders[-1] = 1.0
    # Whole seconds, since both neighbours must see the same border.
    at = (begin[:, None] + borders * (end - begin)[:, None]).round()
    return tuple(
        ((first >= at[:, part]) & (last <= at[:, part + 1])).nonzero().squeeze(1)
        for part in range(len(shares))
    )


def column_names(channels: tuple[str, ...], rates: tuple[int, ...]) -> tuple[str, ...]:
    """A name a column: the channel, and which of its samples in the second.

    >>> column_names(("hr", "eda"), (1, 2))
    ('hr[0]', 'eda[0]', 'eda[1]')
    """
    return tuple(
        f"{channel}[{i}]"
        for channel, rate in zip(channels, rates, strict=True)
        for i in range(rate)
    )


def channel_names(columns: Sequence[str]) -> tuple[str, ...]:
    """The channels of `column_names`, in their order.

    >>> channel_names(("hr[0]", "eda[0]", "eda[1]"))
    ('hr', 'eda')
    """
    return tuple(dict.fromkeys(column.rpartition("[")[0] for column in columns))


def _why_none(state: NDArray[np.int8], length: int) -> str:
    used = state != UNUSED
    begin, end = runs(state)
    kept = (end - begin)[state[begin] != UNUSED]
    longest = int(kept.max()) if len(kept) else 0
    return (
        f"{len(state)} seconds, {int((~used).sum())} of them off the body or with a missing sample;"
        f" the longest stretch of one state has {longest}, a window {length}"
    )
