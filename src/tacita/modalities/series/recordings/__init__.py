"""Recordings of sensors with rates of their own: cut into windows that every series tool can read.

`windows` gives a data set of series with one row a second; `on_body` and `asleep` say what the wearer
did; `time_split` keeps overlapping windows on one side of a split; `Limits` clips rare extremes. The
device's own files are read by `tacita.load`, or by `read_recordings` for more say in it.
"""

from __future__ import annotations

from tacita.modalities.series.recordings.device import read_recordings
from tacita.modalities.series.recordings.limits import Limits
from tacita.modalities.series.recordings.recording import Recording, Seconds, Signal, seconds_of
from tacita.modalities.series.recordings.states import (
    ASLEEP,
    AWAKE,
    UNUSED,
    asleep,
    on_body,
    states_of,
    without_short_runs,
)
from tacita.modalities.series.recordings.windows import Windows, time_split, window_starts, windows

__all__ = [
    "ASLEEP",
    "AWAKE",
    "UNUSED",
    "Limits",
    "Recording",
    "Seconds",
    "Signal",
    "Windows",
    "asleep",
    "on_body",
    "read_recordings",
    "seconds_of",
    "states_of",
    "time_split",
    "window_starts",
    "windows",
    "without_short_runs",
]
