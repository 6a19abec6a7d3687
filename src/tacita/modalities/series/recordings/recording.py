"""A recording: signals of one session, each at its own rate, and the seconds that all of them have.

Axis alphabet: `S` seconds, `C` the samples of all channels in one second.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tacita.errors import DataError


@dataclass(frozen=True)
class Signal:
    """`values (T,)` float32, `rate` of them a second, the first at `start` (seconds, UTC).

    NaN is a missing sample. Raises `DataError` for a rate that is not a whole number above 0.
    """

    values: NDArray[np.float32]
    rate: int
    start: float = 0.0

    def __post_init__(self) -> None:
        if self.values.ndim != 1:
            raise DataError(
                f"a signal of shape {self.values.shape}; (samples,) is needed.",
                remedy="Give one signal an axis: acc_x, acc_y, acc_z.",
            )
        if self.rate != int(self.rate) or self.rate < 1:
            raise DataError(
                f"a rate of {self.rate} samples a second is not a whole number above 0.",
                remedy="Resample the signal to one, or choose another unit of time than a second.",
            )


@dataclass(frozen=True)
class Recording:
    """One session: its signals by name, who wore the device, and times at which something happened.

    `events` holds times in seconds (UTC), for example `tags (n,)`; for `ibi (n, 2)` beside each heart
    beat's time the interval before it.
    """

    name: str
    signals: Mapping[str, Signal]
    subject: str = ""
    events: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)


@dataclass(frozen=True)
class Seconds:
    """The part of a recording in which all channels have samples: `rows (S, C)` float32.

    A row holds the samples of one second, channel after channel: `rates` of them each.
    """

    rows: NDArray[np.float32]
    start: float
    """The time of the first row."""
    channels: tuple[str, ...]
    rates: tuple[int, ...]

    def of(self, channel: str) -> NDArray[np.float32]:
        """`(S, rate)`: the samples of one channel."""
        position = self.channels.index(channel)
        begin = sum(self.rates[:position])
        return self.rows[:, begin : begin + self.rates[position]]


def seconds_of(recording: Recording, channels: Sequence[str] | None = None) -> Seconds:
    """Cut every signal to the seconds that all have, from the latest start to the earliest end.

    A signal that begins late (a heart rate, after ten seconds) costs the others their beginning.
    `channels` names those to take and their order; by default all. Raises `DataError` for a channel
    that is not there, and where the signals have no second in common.

    >>> late = Signal(np.arange(4, dtype=np.float32), rate=1, start=2.0)
    >>> fast = Signal(np.arange(11, dtype=np.float32), rate=2, start=0.0)
    >>> seconds_of(Recording("r", {"fast": fast, "late": late})).rows.tolist()
    [[4.0, 5.0, 0.0], [6.0, 7.0, 1.0], [8.0, 9.0, 2.0]]
    """
    names = tuple(recording.signals) if channels is None else tuple(channels)
    for name in names:
        if name not in recording.signals:
            raise DataError(
                f"{recording.name}: there is no channel {name!r}.",
                remedy=f"It has {', '.join(recording.signals) or 'none'}: leave the recording out, or"
                " choose channels that all recordings have.",
            )
    if not names:
        raise DataError(f"{recording.name}: there is no signal.", remedy="Leave it out.")
    signals = [recording.signals[name] for name in names]
    start = max(signal.start for signal in signals)
    skipped = [round((start - signal.start) * signal.rate) for signal in signals]
    left = [len(s.values) - skip for s, skip in zip(signals, skipped, strict=True)]
    count = min(n // signal.rate for n, signal in zip(left, signals, strict=True))
    if count < 1:
        raise DataError(
            f"{recording.name}: its signals have no second in common.",
            remedy="Check the start times and rates that its files begin with.",
        )
    rows = [
        s.values[skip : skip + count * s.rate].reshape(count, s.rate)
        for s, skip in zip(signals, skipped, strict=True)
    ]
    return Seconds(
        np.concatenate(rows, 1).astype(np.float32, copy=False),
        start,
        names,
        tuple(int(signal.rate) for signal in signals),
    )
