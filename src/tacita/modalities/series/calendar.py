"""Which moments follow one another in a table: so many seconds, months, weekdays, or row after row."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tacita.errors import DataError
from tacita.windows import DAY, stamps

Kind = Literal["rows", "step", "months", "weekdays"]
_CLOSE = 1e-6
_SATURDAY = 5
_SHORTEST_MONTH = 28 * DAY


@dataclass(frozen=True)
class Calendar:
    """How to go from one moment to the next.

    kind: `step`, a number of units (seconds, where moments are dates); `months`, so many, on the same day or
        on the last; `weekdays`, Monday to Friday; `rows`, nothing but the order of rows.
    last_day: whether months are told by their last day.
    dated: whether moments are dates, in seconds since 1970.
    """

    kind: Kind = "rows"
    step: float = 1.0
    last_day: bool = False
    dated: bool = False

    @classmethod
    def of(cls, times: NDArray[np.float64], *, dated: bool, source: str) -> Calendar:
        """That of some moments, the same for all series. Raises `DataError` where they follow none.

        >>> stamps = np.array(["2024-01-31", "2024-02-29", "2024-03-31"], "M8[s]").astype(float)
        >>> Calendar.of(stamps, dated=True, source="sales.csv").words
        'every month, on its last day'
        """
        moments = np.unique(times)
        if len(moments) < 2:
            return cls(dated=dated)
        gaps = np.diff(moments)
        step = float(np.median(gaps))
        if dated:
            found = _in_months(moments, gaps) or _in_weekdays(moments, step)
            if found is not None:
                return found
        resolution = 4 * float(np.finfo(np.float64).eps) * float(np.abs(moments).max())
        share = gaps / step
        off = np.abs(share - np.rint(share)) > _CLOSE + resolution / step
        if off.any() or (np.rint(share) < 1).any():
            at = int((off | (np.rint(share) < 1)).argmax())
            raise DataError(
                f"{source}: the times follow no calendar: most are {_units(step, dated)} apart, but"
                f" {_stamp(moments[at + 1], dated)} comes {_units(float(gaps[at]), dated)} after"
                f" {_stamp(moments[at], dated)}.",
                remedy="Bring the rows to one step, or pass calendar='rows' (--calendar rows) to take them as"
                " they follow one another.",
            )
        return cls("step", step, dated=dated)

    @property
    def season(self) -> int:
        """Steps after which people and weather repeat themselves: a day, a week, a year; else 1."""
        if self.kind == "weekdays":
            return 5
        if self.kind == "months":
            return int(12 // self.step) if 12 % self.step == 0 and self.step < 12 else 1
        if self.kind == "rows" or not self.dated:
            return 1
        if self.step < DAY:
            return round(DAY / self.step) if DAY % self.step == 0 else 1
        return {DAY: 7, 7 * DAY: 52}.get(self.step, 1)

    @property
    def words(self) -> str:
        """What one step is."""
        if self.kind == "rows":
            return "row after row"
        if self.kind == "weekdays":
            return "every weekday"
        if self.kind == "step":
            return f"every {_units(self.step, self.dated)}"
        months = "month" if self.step == 1 else f"{self.step:g} months"
        return f"every {months}{', on its last day' if self.last_day else ''}"

    def places(self, times: NDArray[np.float64]) -> NDArray[np.int64]:
        """`(N,)` how many steps moments lie behind the first of all; of rows their order."""
        if self.kind == "rows":
            return np.arange(len(times))
        first = float(times.min())
        if self.kind == "step":
            return np.rint((times - first) / self.step).astype(np.int64)
        days = _dates(times)
        if self.kind == "weekdays":
            return np.asarray(np.busday_count(_dates(np.array([first]))[0], days), np.int64)
        months = days.astype("M8[M]").astype(np.int64)
        return np.asarray((months - months.min()) // int(self.step), np.int64)

    def after(self, last: NDArray[np.float64], count: int) -> NDArray[np.float64]:
        """`(N, count)` the moments after each of `last (N,)`; NaN where only rows follow one another."""
        ahead = np.arange(1, count + 1)
        if self.kind == "rows":
            return np.full((len(last), count), np.nan)
        if self.kind == "step":
            return np.asarray(last[:, None] + self.step * ahead)
        days = _dates(last)
        of_day = last - days.astype("M8[s]").astype(np.float64)
        if self.kind == "weekdays":
            found = np.busday_offset(days[:, None], ahead, roll="backward")
        else:
            months = days.astype("M8[M]")[:, None] + int(self.step) * ahead
            longest = ((months + 1).astype("M8[D]") - months.astype("M8[D]")).astype(np.int64)
            day = (days - days.astype("M8[M]").astype("M8[D]")).astype(np.int64)[:, None]
            day = longest - 1 if self.last_day else np.minimum(day, longest - 1)
            found = months.astype("M8[D]") + day
        return np.asarray(found.astype("M8[s]").astype(np.float64) + of_day[:, None])


def _in_months(moments: NDArray[np.float64], gaps: NDArray[np.float64]) -> Calendar | None:
    if gaps.min() < _SHORTEST_MONTH - DAY:
        return None
    days = _dates(moments)
    months = days.astype("M8[M]")
    day = (days - months.astype("M8[D]")).astype(np.int64)
    last_day = (days + 1).astype("M8[M]") != months
    same_time = len(np.unique(moments % DAY)) == 1
    if not same_time or not (last_day.all() or (day == day.max())[~last_day].all()):
        return None
    if not last_day.all() and (day[last_day] > day.max()).any():
        return None
    steps = np.diff(months.astype(np.int64))
    if (steps < 1).any():
        return None
    return Calendar("months", float(math.gcd(*steps.tolist())), bool(last_day.all()), dated=True)


def _in_weekdays(moments: NDArray[np.float64], step: float) -> Calendar | None:
    days = _dates(moments)
    weekday = (days.astype(np.int64) + 3) % 7  # 1970 began on a Thursday.
    daily = step == DAY and len(np.unique(moments % DAY)) == 1
    weekends = len(moments) > 1 and (days[-1] - days[0]).astype(np.int64) >= 7
    if daily and weekends and (weekday < _SATURDAY).all():
        return Calendar("weekdays", 1.0, dated=True)
    return None


def _dates(times: NDArray[np.float64]) -> NDArray[np.datetime64]:
    return np.floor(times / DAY).astype(np.int64).astype("M8[D]")


def _units(step: float, dated: bool) -> str:
    if not dated:
        return f"{step:g}"
    for size, name in ((7 * DAY, "week"), (DAY, "day"), (3600.0, "hour"), (60.0, "minute")):
        if step % size == 0:
            count = round(step / size)
            return name if count == 1 else f"{count} {name}s"
    return f"{step:g} s"


def _stamp(time: float, dated: bool) -> str:
    return stamps(np.array([time]), dated=dated)[0]
