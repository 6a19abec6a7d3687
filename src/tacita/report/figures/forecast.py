"""Forecasts: the past, what came after, and the forecast with its interval; and the error by step ahead."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tacita.report.figures.spec import Figure, Spec, axis, label, layout_of, title
from tacita.tasks.shown import Course

DRAWN: Final = 6
"""Series whose last forecast is drawn."""


def forecast(course: Course) -> Figure:
    """One series: steps are counted from the moment that is forecast from, which is 0."""
    past = np.arange(1 - len(course.past), 1)
    ahead = np.arange(1, len(course.forecast) + 1)
    last = course.past[-1:]
    joined = np.concatenate([[0], ahead])

    def line(y: NDArray[np.floating], name: str, color: str, **more: object) -> Spec:
        return {
            "type": "scatter", "mode": "lines", "x": joined, "y": np.concatenate([last, y]),
            "name": name, "line": {"color": color, "width": 2} | more,
        }  # fmt: skip

    edge = {
        "mode": "lines",
        "type": "scatter",
        "x": ahead,
        "line": {"width": 0},
        "hoverinfo": "skip",
    }
    data: list[Spec] = [
        edge | {"y": course.high, "showlegend": False},
        edge
        | {
            "y": course.low,
            "fill": "tonexty",
            "fillcolor": "--accent-soft",
            "name": "80% interval",
            "showlegend": True,
        },
        {
            "type": "scatter", "mode": "lines", "x": past, "y": course.past, "name": "past",
            "line": {"color": "--muted", "width": 1.5},
        },
        line(course.forecast, "forecast", "--accent"),
    ]  # fmt: skip
    if np.isfinite(course.after).any():
        data.append(line(course.after, "what came", "--ink", dash="dot"))
    layout = layout_of(
        x=axis(title=title("steps ahead"), nticks=8),
        y=axis(nticks=6),
        showlegend=True,
        hovermode="x unified",
    )
    alt = f"{label(course.name)}: the last {len(past)} known steps and the forecast of {len(ahead)}"
    return Figure(data, layout, alt, height=300, note=label(course.name))


def error_by_step(ahead: tuple[NDArray[np.floating], NDArray[np.floating]]) -> Figure | None:
    """The mean absolute scaled error of every step ahead, and that of the seasonal naive forecast."""
    ours, naive = ahead
    if not np.isfinite(ours).any():
        return None
    steps = np.arange(1, len(ours) + 1)
    data: list[Spec] = [
        {
            "type": "scatter", "mode": "lines+markers", "x": steps, "y": values, "name": name,
            "line": {"color": color, "width": 2, "dash": dash}, "marker": {"color": color, "size": 6},
        }
        for values, name, color, dash in (
            (naive, "seasonal naive", "--muted", "dot"),
            (ours, "the model", "--accent", "solid"),
        )
    ]  # fmt: skip
    layout = layout_of(
        x=axis(title=title("steps ahead"), nticks=8),
        y=axis(title=title("scaled error"), rangemode="tozero"),
        showlegend=True,
        hovermode="x unified",
    )
    alt = (
        f"Mean absolute scaled error of {len(steps)} steps ahead beside the seasonal naive forecast"
    )
    return Figure(data, layout, alt, height=320)


def forecasts(courses: Sequence[Course]) -> list[Figure]:
    """Those of the first series."""
    return [forecast(course) for course in courses[:DRAWN]]
