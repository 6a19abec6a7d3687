"""Whole series cut into windows: to learn from, to be scored on, and at the end to be asked about."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tacita.data.notes import Note
from tacita.data.reading import Reading, Samples
from tacita.errors import ConfigError, DataError
from tacita.modalities.readers.values import check_size
from tacita.modalities.series.calendar import Calendar
from tacita.modalities.series.gaps import (
    Whole,
    calendar_of,
    check_gaps,
    filled,
    known_steps,
    on_calendar,
    static_columns,
)
from tacita.modalities.series.meta import SeriesMeta
from tacita.windows import Course, Windows, stamps

MOST = 20_000
"""Windows to learn from: of more, those that scores are told on, and a draw of the others."""
LONGEST_CONTEXT = 512
_FEWEST = 2
"""Steps that a history needs, for a change to be seen."""


def windows_of(
    whole: Whole, reading: Reading, known: SeriesMeta | None, ahead: tuple[str, ...]
) -> Samples:
    """Series as windows: at first all that there is to learn from, and for a model the last of each series.

    A window whose future nobody knows yet stands at the end of every series: that is what is asked later.
    """
    calendar = calendar_of(whole, reading, known)
    values, times, lengths, holes = on_calendar(whole, calendar)
    owner = np.repeat(np.arange(len(lengths)), lengths)
    firsts = np.cumsum(lengths) - lengths
    seen = ~np.isnan(values[:, : whole.targets])
    stops = known_steps(seen, owner, lengths, whole)
    check_gaps(whole, calendar, values, times, owner, firsts, stops, holes, reading)
    place = np.arange(len(values)) - firsts[owner]
    static = (
        static_columns(values, owner, place < stops[owner], whole)
        if known is None
        else known.static
    )
    values = filled(values, owner, place, stops, lengths, whole, ahead, static)
    horizon, season = _horizon(reading, known), _season(reading, known, calendar)
    context = _context(reading, known, horizon, season, int(stops.max()))
    # Behind each series lie the rows that are to be forecast.
    row = np.arange(len(values)) + horizon * owner
    size = len(values) + horizon * len(lengths)
    check_size(whole.source, (size, values.shape[1] + 4), 8)
    steps = np.zeros((size, values.shape[1]), values.dtype)
    steps[row] = values
    begins = firsts + horizon * np.arange(len(lengths))
    behind = (begins + lengths)[:, None] + np.arange(horizon)
    measured = np.zeros((size, whole.targets), bool)
    measured[row] = seen & (place < stops[owner])[:, None]
    moments = np.full(size, np.nan)
    moments[row] = times
    moments[behind] = calendar.after(times[firsts + lengths - 1], horizon)
    if whole.times is None:
        # Counted from the end, so that one moment parts all series.
        moments[row] = place - stops[owner]
        moments[behind] = (lengths - stops)[:, None] + np.arange(horizon)
    course = Course(
        torch.from_numpy(steps),
        torch.from_numpy(measured),
        torch.from_numpy(np.repeat(np.arange(len(lengths)), lengths + horizon)),
        torch.from_numpy(moments),
        horizon, context, season, _names(whole),
        len(ahead),
        calendar.dated and whole.times is not None,
    )  # fmt: skip
    which, ends = _places(begins, stops, lengths, course, first=known is None)
    learnt = which[ends < (begins + stops)[which]]
    if not len(ends) or (known is None and not len(learnt)):
        raise _too_short(whole, stops, lengths, course)
    windows = Windows(
        course,
        torch.from_numpy(begins[which]),
        torch.from_numpy(ends),
        torch.from_numpy((begins + stops)[which]),
    )
    facts: dict[str, Any] = {
        "columns": whole.columns, "targets": whole.targets, "horizon": horizon, "season": season,
        "context": context, "known_ahead": ahead, "static": static, "calendar": calendar.kind,
        "step": calendar.step, "last_day": calendar.last_day, "dated": course.dated,
    }  # fmt: skip
    used = learnt if known is None else which
    notes = _notes(whole, holes, used, lengths - stops < course.shown)
    meta = SeriesMeta.of(windows, **facts)
    # Their labels are what came after, which windows know themselves.
    return Samples(
        windows, meta, whole.source, windows, ids=_ids(whole, windows, which), notes=notes
    )


def _horizon(reading: Reading, known: SeriesMeta | None) -> int:
    if known is not None:
        return known.horizon
    assert reading.horizon is not None
    if reading.horizon < 1:
        raise ConfigError(f"horizon={reading.horizon}: it must be 1 or more steps.")
    return reading.horizon


def _season(reading: Reading, known: SeriesMeta | None, calendar: Calendar) -> int:
    if known is not None:
        return known.season
    if reading.season is not None and reading.season < 1:
        raise ConfigError(
            f"season={reading.season}: it must be 1 step or more.", remedy="1 means no season."
        )
    return reading.season or calendar.season


def _context(
    reading: Reading, known: SeriesMeta | None, horizon: int, season: int, longest: int
) -> int:
    """By default two seasons or three horizons, whichever is longer; no more than there is."""
    if known is not None:
        return known.context
    if reading.context is not None:
        if reading.context < _FEWEST:
            raise ConfigError(f"context={reading.context}: it must be {_FEWEST} or more steps.")
        if reading.context > longest - horizon:
            raise ConfigError(
                f"context={reading.context} and horizon={horizon}, but the longest series has"
                f" {longest} steps.",
                remedy=f"Give a context of at most {max(longest - horizon, _FEWEST)}.",
            )
        return reading.context
    usual = min(LONGEST_CONTEXT, max(2 * season, 3 * horizon, 16))
    return max(_FEWEST, min(usual, longest - horizon))


def _places(
    begins: NDArray[np.int64],
    stops: NDArray[np.int64],
    lengths: NDArray[np.int64],
    course: Course,
    *,
    first: bool,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """`(N,)` each: the series of every window, and the row after the last that it knows."""
    horizon = course.horizon
    all_series = np.arange(len(begins))
    # Where something is known ahead, rows to come are needed to ask for them.
    able = (lengths - stops >= course.shown) & (stops >= _FEWEST)
    if not first:
        scored = stops - horizon >= _FEWEST
        which = np.concatenate([all_series[scored], all_series[able]])
        back = np.concatenate([np.full(int(scored.sum()), horizon), np.zeros(int(able.sum()), int)])
        return _in_order(which, (begins + stops)[which] - back)
    least = np.minimum(min(course.context, max(course.season + 1, horizon)), stops - horizon)
    least = np.maximum(least, _FEWEST)
    count = np.maximum(stops - horizon - least + 1, 0)
    which = np.repeat(all_series, count)
    back = np.arange(len(which)) - (np.cumsum(count) - count)[which]  # From the last one.
    if len(which) > MOST:
        scored = back % horizon == 0
        others = np.flatnonzero(~scored)
        drawn = np.random.default_rng(0).permutation(others)[: max(MOST - int(scored.sum()), 0)]
        kept = np.sort(np.concatenate([np.flatnonzero(scored), drawn]))
        which, back = which[kept], back[kept]
    ends = (begins + stops - horizon)[which] - back
    return _in_order(
        np.concatenate([which, all_series[able]]),
        np.concatenate([ends, (begins + stops)[able]]),
    )


def _in_order(
    which: NDArray[np.int64], ends: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    order = np.argsort(ends, kind="stable")
    return which[order], ends[order]


def _too_short(
    whole: Whole, stops: NDArray[np.int64], lengths: NDArray[np.int64], course: Course
) -> DataError:
    longest, horizon = int(stops.max()), course.horizon
    if course.shown and longest >= _FEWEST:
        name = whole.names[0]
        return DataError(
            f"{whole.source}: something is known ahead, but {name!r} has {int(lengths[0] - stops[0])} rows to"
            f" come, and {horizon} are forecast.",
            remedy="Add the rows to come, with an empty target: `tacita future` writes them.",
        )
    return DataError(
        f"{whole.source}: {horizon} steps ahead need a series of {horizon + _FEWEST} or more, and the longest"
        f" has {longest}.",
        remedy=f"Give longer series, or a horizon of at most {max(longest - _FEWEST, 1)}.",
    )


def _ids(whole: Whole, windows: Windows, which: NDArray[np.int64]) -> tuple[str, ...]:
    """A series' name, and of windows whose future is known the moment from which they look ahead."""
    course = windows.course
    moments = course.times[windows.ends].numpy()
    said = stamps(moments, dated=course.dated)
    at_end = (windows.ends == windows.stops).tolist()
    each = zip(which.tolist(), said, at_end, strict=True)
    return tuple(whole.names[i] if last else f"{whole.names[i]} @ {text}" for i, text, last in each)


def _names(whole: Whole) -> tuple[str, ...]:
    return whole.columns[: whole.targets] or tuple(str(i) for i in range(whole.targets))


def _notes(
    whole: Whole, holes: NDArray[np.bool_], used: NDArray[np.int64], ended: NDArray[np.bool_]
) -> tuple[Note, ...]:
    said = []
    if holes.any():
        said.append(
            Note(
                ("time without a row filled in", "times without a row filled in"), int(holes.sum())
            )
        )
    absent = np.setdiff1d(np.arange(len(whole.lengths)), used)
    if len(absent):
        what = "series too short for the horizon, which is not learnt from"
        many = "series too short for the horizon, which are not learnt from"
        said.append(Note((what, many), len(absent), whole.names[absent[0]]))
    if ended.any() and not ended.all():
        name = whole.names[int(ended.argmax())]
        what = "series without the rows to come, and so without a forecast"
        said.append(Note((what, what), int(ended.sum()), name))
    return tuple(said)
