"""Windows of longer series, as forecasts are learnt from: what was known at a moment, and what came after.

Steps are kept once, however many windows overlap on them. A window is a place in its series: as a sample
it is the last steps before its moment, and it knows the whole history before these and what came after.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tacita.errors import DataError
from tacita.values import CONSTANT, Ragged, Values, as_tensor, length_mask, lengths_of

DAY = 86_400.0
_BLOCK = 4096


@dataclass(frozen=True)
class Course:
    """What windows are cut from: series end to end, `horizon` rows without values behind each.

    names: of the targets, which are the first channels and are forecast.
    steps: `(S, C)` floats; where a value was never measured
        there is what it was filled in with.
    seen: `(S, targets)` bool, where a target was measured.
    owner: `(S,)` int64, the number of the series that each row belongs to.
    times: `(S,)` float64 of each row, those to come too: seconds since 1970 where `dated`, else in the
        data's own unit; NaN where nobody can say.
    horizon: steps to forecast. context: steps that a window shows at most. season: steps after which the
        series repeats itself; 1: it does not.
    ahead: how many of the last channels are known for the steps to come; if any, windows show those too.
    """

    steps: Tensor
    seen: Tensor
    owner: Tensor
    times: Tensor
    horizon: int
    context: int
    season: int = 1
    names: tuple[str, ...] = ("0",)
    ahead: int = 0
    dated: bool = False

    @property
    def targets(self) -> int:
        """How many channels are forecast."""
        return len(self.names)

    @property
    def form(self) -> tuple[Any, ...]:
        """What windows of one data set have in common."""
        width = self.steps.shape[1]
        return width, self.horizon, self.context, self.season, self.names, self.ahead, self.dated

    @property
    def shown(self) -> int:
        """Steps to come that a window shows."""
        return self.horizon if self.ahead else 0

    @property
    def width(self) -> int:
        """Numbers a step: the channels, and where steps to come are shown, whether it is one of those."""
        return self.steps.shape[1] + bool(self.shown)

    @cached_property
    def changes(self) -> tuple[Tensor, Tensor, Tensor]:
        """Sums of absolute changes, for `Windows.scale`.

        The unit of each row's series `(S, targets)`, and in that unit the sums from the first row on over a
        season and over one step, `(S + 1, targets)` each.
        """
        steps = self.steps[:, : self.targets].double()
        owner = self.owner[:, None].expand_as(steps)
        # In a series' own unit, as the sums of large ones would swallow small ones.
        largest = torch.zeros(int(self.owner.max()) + 1, self.targets, dtype=torch.float64)
        unit = largest.scatter_reduce_(0, owner, steps.abs(), "amax")[self.owner]
        unit = unit.where(unit > 0, 1)
        return unit, _changes(steps / unit, self.season), _changes(steps / unit, 1)


class Windows(Ragged):
    """Places in a course; as samples, the last `context` steps before each place.

    Shapes: `begins`, `ends`, `stops (N,)` int64: the first row of the window's series, the row after the last
    that it knows, and the row after the last that anybody knows. `padded (N, context + shown, width)`.

    >>> course = Course(torch.arange(6.0)[:, None], torch.tensor([[True]] * 4 + [[False]] * 2),
    ...     torch.zeros(6).long(), torch.arange(6).double(), horizon=2, context=3)
    >>> windows = Windows(course, torch.tensor([0]), torch.tensor([2]), torch.tensor([4]))
    >>> windows.padded[0, :, 0].tolist(), windows.future()[0, :, 0].tolist()
    ([0.0, 1.0, 0.0], [2.0, 3.0])
    """

    def __init__(self, course: Course, begins: Tensor, ends: Tensor, stops: Tensor) -> None:
        self.course = course
        self.begins = begins
        self.ends = ends
        self.stops = stops
        self.lengths = (ends - begins).clamp(max=course.context) + course.shown
        self.longest = course.context + course.shown

    @cached_property
    def padded(self) -> Tensor:
        course, lengths = self.course, self.lengths
        place = torch.arange(self.longest)
        valid = length_mask(lengths, self.longest)
        rows = ((self.ends + course.shown - lengths)[:, None] + place).where(valid, 0)
        x = course.steps[rows] * valid[:, :, None]
        if not course.shown:
            return x
        to_come = (rows >= self.ends[:, None]) & valid
        flag = to_come[:, :, None]
        hidden = x.shape[2] - course.ahead
        past = x[:, :, :hidden].masked_fill(flag, 0)
        return torch.cat([past, x[:, :, hidden:], flag.to(x.dtype)], 2)

    @cached_property
    def flat(self) -> Tensor:
        return self.padded[self.mask]

    @property
    def inner(self) -> tuple[int, ...]:
        return (self.course.width,)

    @property
    def dtype(self) -> torch.dtype:
        return self.course.steps.dtype

    @property
    def nbytes(self) -> int:
        """What the steps take."""
        return self.course.steps.nbytes

    def __getitem__(self, positions: Tensor) -> Windows:
        parts = (self.begins[positions], self.ends[positions], self.stops[positions])
        if not len(parts[0]):
            # A model keeps no samples, so it should not keep what they were cut from.
            none = self.course
            rows = (none.steps[:0], none.seen[:0], none.owner[:0], none.times[:0])
            steps, seen, owner, times = rows
            none = replace(none, steps=steps, seen=seen, owner=owner, times=times)
            return Windows(none, *parts)
        return Windows(self.course, *parts)

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Ragged:
        """What the windows show, on another device."""
        return Ragged.of(self.padded, self.lengths).to(device, non_blocking=non_blocking)

    def widened(self, longest: int) -> Ragged:
        return Ragged.of(self.padded, self.lengths).widened(longest)

    # What was known, and what came after

    @property
    def ahead(self) -> Tensor:
        """`(N, horizon)` rows of the steps to come."""
        return self.ends[:, None] + torch.arange(self.course.horizon)

    @property
    def moments(self) -> Tensor:
        """`(N, horizon)` float64: the times of the steps to come."""
        return self.course.times[self.ahead]

    def stamps(self) -> list[list[str]]:
        """The times of the steps to come as text, empty where nobody can say."""
        moments = self.moments
        said = iter(stamps(moments.flatten().numpy(), dated=self.course.dated))
        return [[next(said) for _ in row] for row in moments]

    @property
    def aligned(self) -> Tensor:
        """`(N,)` bool: whole horizons from the end of the series, so that no two of one series overlap."""
        return (self.stops - self.ends) % self.course.horizon == 0

    def future(self) -> Tensor:
        """`(N, horizon, targets)` float64: what came after, NaN where nobody knows."""
        course = self.course
        found = course.steps[self.ahead][:, :, : course.targets].double()
        return found.masked_fill(~course.seen[self.ahead], torch.nan)

    def history(self, position: int) -> Tensor:
        """`(T, targets)`: all that was known of the targets at one window's moment."""
        begin, end = int(self.begins[position]), int(self.ends[position])
        return self.course.steps[begin:end, : self.course.targets].double()

    def naive(self) -> Tensor:
        """`(N, horizon, targets)` float64: the values a season ago; without a season the last value."""
        course = self.course
        seasons = 1 + torch.arange(course.horizon) // course.season
        rows = self.ahead - seasons * course.season
        rows = torch.where(
            (self.ends - self.begins >= course.season)[:, None], rows, self.ends[:, None] - 1
        )
        return course.steps[rows][:, :, : course.targets].double()

    def scale(self) -> Tensor:
        """`(N, targets)` float64: the mean change over a season within the history, as MASE divides by.

        Hyndman and Koehler (2006), equation 4, with the season's lag; of histories that are no longer than a
        season, over one step; NaN where there is one value alone.
        """
        if not len(self):
            return torch.empty(0, self.course.targets, dtype=torch.float64)
        unit, seasonal, single = self.course.changes

        def mean(changes: Tensor, lag: int) -> Tensor:
            count = (self.ends - self.begins - lag).clamp_min(0)[:, None]
            first = (self.begins + lag).minimum(self.ends)
            return (changes[self.ends] - changes[first]) / count

        enough = (self.ends - self.begins > self.course.season)[:, None]
        found = torch.where(enough, mean(seasonal, self.course.season), mean(single, 1))
        return found * unit[self.begins]

    @classmethod
    def end_to_end(cls, parts: Sequence[Windows]) -> Windows:
        """Windows of several courses of one form. Raises `DataError` for courses of other forms."""
        first, sizes = parts[0].course, torch.zeros(len(parts), dtype=torch.int64)
        if any(part.course is not first for part in parts):
            courses = [part.course for part in parts]
            if any(each.form != first.form for each in courses):
                raise DataError(
                    "windows of other lengths or channels cannot stand in one data set.",
                    remedy="Read them with the same options.",
                )
            series = torch.tensor([0, *(int(each.owner[-1]) + 1 for each in courses[:-1])]).cumsum(
                0
            )
            first = replace(
                first,
                steps=torch.cat([each.steps for each in courses]),
                seen=torch.cat([each.seen for each in courses]),
                owner=torch.cat(
                    [each.owner + at for each, at in zip(courses, series, strict=True)]
                ),
                times=torch.cat([each.times for each in courses]),
            )
            sizes = torch.tensor([0, *(len(each.steps) for each in courses[:-1])]).cumsum(0)
        places = [
            torch.cat([getattr(p, name) + at for p, at in zip(parts, sizes, strict=True)])
            for name in ("begins", "ends", "stops")
        ]
        return cls(first, *places)


def level_and_spread(x: Tensor, lengths: Tensor, shown: int, targets: int) -> tuple[Tensor, Tensor]:
    """`(N, targets)` float64 each: the mean and the deviation of what a window knows of its targets.

    x: `(N, L, C)` as `Windows.padded`. The spread is 0 where a target is constant there, up to rounding.
    """
    known = length_mask(lengths - shown, x.shape[1])[:, :, None]
    values = x[:, :, :targets].double()
    count = (lengths - shown).clamp_min(1)[:, None]
    level = (values * known).sum(1) / count
    spread = ((values - level[:, None]).square() * known).sum(1).div(count).sqrt()
    # What sums of 64 bits leave of a constant is told by its own size, whatever unit it is in.
    return level, spread.where(spread > CONSTANT * level.abs(), 0)


def levels_and_spreads(windows: Windows) -> tuple[Tensor, Tensor]:
    """The same of many windows, in blocks so that memory stays small."""
    course, found = windows.course, []
    for start in range(0, len(windows), _BLOCK):
        part = windows[torch.arange(start, min(start + _BLOCK, len(windows)))]
        found.append(level_and_spread(part.padded, part.lengths, course.shown, course.targets))
    if not found:
        none = torch.empty(0, course.targets, dtype=torch.float64)
        return none, none
    level, spread = (torch.cat(each) for each in zip(*found, strict=True))
    return level, spread


def stamps(times: NDArray[np.float64], *, dated: bool) -> list[str]:
    """Moments as text: dates as ISO 8601 has them, without a time of day where all are at midnight.

    >>> stamps(np.array([0.0, 86400.0]), dated=True), stamps(np.array([1.0, np.nan]), dated=False)
    (['1970-01-01', '1970-01-02'], ['1', ''])
    """
    if not dated:
        return ["" if np.isnan(time) else f"{time:.15g}" for time in times]
    known = times[~np.isnan(times)]
    unit: Any = "D" if (known % DAY == 0).all() else "s" if (known % 1 == 0).all() else "ms"
    factor = {"D": 1 / DAY, "s": 1.0, "ms": 1000.0}[unit]
    whole = np.rint(np.nan_to_num(times) * factor).astype(np.int64).astype(f"M8[{unit}]")
    texts = np.datetime_as_string(whole)
    return [
        "" if np.isnan(time) else str(text).replace("T", " ")
        for time, text in zip(times, texts, strict=True)
    ]


def at_the_end(samples: Values) -> Tensor:
    """`(B, L, C)`: windows, normalised or not, with their last step at the end and zeros before their first.

    So a step stands at the same place in every window, however short its past is.
    """
    x, lengths = as_tensor(samples), lengths_of(samples)
    if lengths is None:
        return x
    place = torch.arange(x.shape[1], device=x.device) - (x.shape[1] - lengths)[:, None]
    found = x.gather(1, place.clamp_min(0)[:, :, None].expand_as(x))
    return found * (place >= 0)[:, :, None]


def _changes(steps: Tensor, lag: int) -> Tensor:
    """`(S + 1, targets)`: sums of the absolute changes over `lag` rows, from the first row on."""
    changes = torch.zeros(len(steps) + 1, steps.shape[1], dtype=torch.float64)
    changes[lag + 1 :] = (steps[lag:] - steps[: max(len(steps) - lag, 0)]).abs()
    return changes.cumsum(0)
