"""The candidates' scores, and how each got there."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

from tacita.model.metrics import Metrics, Row
from tacita.report.figures.spec import (
    PALETTE,
    Figure,
    Spec,
    axis,
    evenly,
    label,
    layout_of,
    markers,
    title,
)
from tacita.report.words import SHARES, WITHIN_ONE, metric_name, score

CURVE_POINTS: Final = 500
RATE: Final = "rate"
"""The learning rate in a history: no loss, so it is drawn apart."""


def leaderboard(metrics: Metrics) -> Figure | None:
    """A line a candidate: its mean with spread and interval, a dot for every fold, and what is free.

    Whiskers and the pale interval end where the metric does: a share is not below 0 or above 100%.
    """
    rows = [row for row in metrics.leaderboard if math.isfinite(row.merit)]
    if not rows:
        return None
    metric = rows[0].metric
    ends = WITHIN_ONE.get(metric, (-math.inf, math.inf))
    places = list(range(len(rows)))
    means = [_mean(row) for row in rows]
    colours = [_row_colour(row, metrics.winner) for row in rows]
    folds = [(place, fold) for place, row in enumerate(rows) for fold in row.folds]
    bands = [_band(row.interval, place) for place, row in enumerate(rows) if row.interval]
    dots = markers(
        [fold for _, fold in folds],
        [place for place, _ in folds],
        color=[colours[place] for place, _ in folds],
        size=7,
        opacity=0.45,
    )
    dots["hovertemplate"] = "one fold: %{x}<extra></extra>"
    points = markers(
        means,
        places,
        color=colours,
        size=13,
        symbol=["diamond" if row.name == metrics.winner else "circle" for row in rows],
        line={"color": "--card", "width": 1.5},
    )
    spreads = [row.std if row.std is not None and math.isfinite(row.std) else 0.0 for row in rows]
    above = [min(s, max(0.0, ends[1] - m)) for m, s in zip(means, spreads, strict=True)]
    below = [min(s, max(0.0, m - ends[0])) for m, s in zip(means, spreads, strict=True)]
    points["error_x"] = {
        "symmetric": False,
        "array": above,
        "arrayminus": below,
        "color": "--muted",
        "thickness": 1.5,
        "width": 5,
    }
    points["text"] = [f"{label(row.name)}: {score(metric, _mean(row))}" for row in rows]
    points["hovertemplate"] = "%{text}<extra></extra>"
    free = [value for value in (_free(metrics, metric)) if value is not None]
    seen = [m - s for m, s in zip(means, below, strict=True)]
    seen += [m + s for m, s in zip(means, above, strict=True)]
    seen += [value for row in rows for value in (*row.folds, *(row.interval or ()))] + free
    # Names stand above their line, so that a narrow screen keeps the plot, and on a ground of their
    # own, so that what is free does not strike them out.
    names = [
        {"text": label(row.name), "x": 0, "xref": "paper", "xanchor": "left", "y": place}
        | {"yshift": 17, "showarrow": False, "font": {"size": 12.5, "color": "--muted"}}
        | {"bgcolor": "--card", "borderpad": 1}
        for place, row in enumerate(rows)
    ]
    layout = layout_of(
        x=_score_axis(metric, seen),
        y=axis(
            range=[len(rows) - 0.5, -0.75],
            tickvals=places,
            showticklabels=False,
            showline=False,
        ),
        annotations=names,
        shapes=[_upright(value) for value in free],
        hovermode="closest",
    )
    said = "; ".join(f"{row.name} {score(metric, _mean(row))}" for row in rows)
    alt = f"Mean {metric_name(metric)} of every candidate, with spread and folds: {said}"
    return Figure([*bands, dots, points], layout, alt, height=80 + 46 * len(rows))


def _mean(row: Row) -> float:
    return math.nan if row.mean is None else row.mean


def _free(metrics: Metrics, metric: str) -> tuple[float | None, float | None]:
    """What is had without looking at a sample; chance is left out where it is the same."""
    majority, chance = (metrics.majority or {}).get(metric), metrics.chance.get(metric)
    return majority, None if majority is not None and chance == majority else chance


def _band(interval: tuple[float, float], place: int) -> Spec:
    return {
        "type": "scatter",
        "mode": "lines",
        "x": list(interval),
        "y": [place, place],
        "line": {"color": "--line", "width": 11},
        "hoverinfo": "skip",
    }


def _upright(value: float) -> Spec:
    return {
        "type": "line",
        "x0": value,
        "x1": value,
        "y0": 0,
        "y1": 1,
        "yref": "paper",
        "line": {"color": "--muted", "width": 1.5, "dash": "dot"},
    }


def _row_colour(row: Row, winner: str) -> str:
    if row.name == winner:
        return "--accent"
    return "--faint" if row.baseline else "--c0"


def learning_rate(name: str, history: Sequence[Mapping[str, float]]) -> Figure | None:
    """The learning rate over the steps of one candidate, which has another unit than the losses."""
    points = [
        (entry["step"], entry[RATE])
        for entry in history
        if math.isfinite(entry.get(RATE, math.nan))
    ]
    if len(points) < 2:
        return None
    points = [points[i] for i in evenly(len(points), CURVE_POINTS)]
    line: Spec = {
        "type": "scatter",
        "mode": "lines",
        "x": [step for step, _ in points],
        "y": [rate for _, rate in points],
        "line": {"color": "--muted", "width": 2},
        "hovertemplate": "%{y:.3g}<extra></extra>",
    }
    layout = layout_of(
        x=axis(title=title("step"), showgrid=False),
        y=axis(nticks=4, title=title("learning rate"), rangemode="tozero"),
        hovermode="x",
    )
    return Figure([line], layout, f"Learning rate of {name} over the steps", height=170)


def learning_curve(name: str, history: Sequence[Mapping[str, float]]) -> Figure | None:
    """One line a term over the steps of one candidate."""
    skipped = ("step", RATE)
    terms = list(dict.fromkeys(key for entry in history for key in entry if key not in skipped))
    lines: list[Spec] = []
    values: list[float] = []
    for place, term in enumerate(terms):
        points = [(e["step"], e[term]) for e in history if math.isfinite(e.get(term, math.nan))]
        points = [points[i] for i in evenly(len(points), CURVE_POINTS)]
        if not points:
            continue
        values += [value for _, value in points]
        lines.append(
            {
                "type": "scatter",
                "mode": "lines" if len(points) > 1 else "markers",
                "name": label(term.replace("_", " "), 30),
                "x": [step for step, _ in points],
                "y": [value for _, value in points],
                "line": {"color": PALETTE[place % len(PALETTE)], "width": 2},
                "hovertemplate": "%{y:.4g}",
            }
        )
    if not lines:
        return None
    wide = min(values) > 0 and max(values) / min(values) > 200
    layout = layout_of(
        x=axis(title=title("step"), showgrid=False),
        y=axis(type="log", dtick=1) if wide else axis(nticks=6),
        hovermode="x unified",
        showlegend=True,
    )
    scale = " on a logarithmic scale" if wide else ""
    alt = f"Learning curves of {name}{scale}: {', '.join(terms)} over the steps"
    return Figure(lines, layout, alt, height=300)


def _score_axis(metric: str, values: Sequence[float]) -> Spec:
    finite = [value for value in values if math.isfinite(value)]
    low, high = min(finite), max(finite)
    room = max(0.06 * (high - low), 0.02)
    form = {"tickformat": ".0%", "hoverformat": ".1%"} if metric in SHARES else {}
    least, most = WITHIN_ONE.get(metric, (-math.inf, math.inf))
    # A little beyond the end, so that a mark on it is whole.
    span = [max(low - room, least - 0.02), min(high + room, most + 0.02)]
    return axis(title=title(metric_name(metric)), nticks=6, tickangle=0, range=span, **form)
