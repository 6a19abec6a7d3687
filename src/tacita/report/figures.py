"""The page's figures as plain plotly specifications: one small function each.

A colour is the name of a CSS variable (`--accent`); the page's script puts in its value, so that
figures follow the reader's light or dark scheme. Plotly reads text as a kind of HTML, so every
name that comes from a user's files goes through `label`.
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tacita.report.content import Calibration, EmbeddingMap, LeaderboardRow, RegressionFit
from tacita.report.words import SHARES, metric_name, number, score, shorten

MAP_POINTS: Final = 5000
CURVE_POINTS: Final = 500
MATRIX_CLASSES: Final = 60
LEGEND_CLASSES: Final = 20
PALETTE: Final = tuple(f"--c{i}" for i in range(10))
SYMBOLS: Final = ("circle", "square", "triangle-up", "pentagon", "hexagon2", "cross")

Spec = dict[str, Any]


@dataclass(frozen=True)
class Figure:
    """What plotly draws, and what is said to those who cannot see it."""

    data: list[Spec]
    layout: Spec
    alt: str
    height: int = 340
    note: str = ""

    @property
    def spec(self) -> Spec:
        """Plain lists and numbers, without NaN: ready for JSON."""
        return {"data": plain(self.data), "layout": plain(self.layout)}


def plain(value: Any) -> Any:
    """The same in lists, mappings and finite numbers of six figures; what is not finite is None."""
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, (np.integer, np.floating, np.bool_)):
        return plain(value.item())
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value


def label(text: str, length: int = 40) -> str:
    """A name from a user's files as inert plotly text of bounded length."""
    # A file name may hold half a character, which no page can.
    whole = text.encode("utf-8", "replace").decode()
    return html.escape(shorten(whole, length), quote=False)


def leaderboard(rows: Sequence[LeaderboardRow]) -> Figure | None:
    """A line a candidate: its mean with the spread, and a dot for every fold."""
    rows = [row for row in rows if math.isfinite(row.mean)]
    if not rows:
        return None
    metric = rows[0].metric
    colours = [_row_colour(row) for row in rows]
    folds = [(place, fold) for place, row in enumerate(rows) for fold in row.folds]
    dots = _markers(
        [fold for _, fold in folds],
        [place for place, _ in folds],
        color=[colours[place] for place, _ in folds],
        size=7,
        opacity=0.45,
    )
    means = _markers(
        [row.mean for row in rows],
        list(range(len(rows))),
        color=colours,
        size=13,
        symbol=["diamond" if row.winner else "circle" for row in rows],
        line={"color": "--card", "width": 1.5},
    )
    means["error_x"] = {
        "array": [row.std if math.isfinite(row.std) else 0 for row in rows],
        "color": "--muted",
        "thickness": 1.5,
        "width": 5,
    }
    means["text"] = [f"{label(row.name)}: {score(metric, row.mean)}" for row in rows]
    means["hovertemplate"] = "%{text}<extra></extra>"
    dots["hovertemplate"] = "one fold: %{x}<extra></extra>"
    # Names stand above their line, so that a narrow screen keeps the plot.
    names = [
        {"text": label(row.name), "x": 0, "xref": "paper", "xanchor": "left", "y": place}
        | {"yshift": 17, "showarrow": False, "font": {"size": 12.5, "color": "--muted"}}
        for place, row in enumerate(rows)
    ]
    layout = _layout(
        x=_score_axis(metric, [*_ends(rows), *(fold for _, fold in folds)]),
        y=_axis(
            range=[len(rows) - 0.5, -0.75],
            tickvals=list(range(len(rows))),
            showticklabels=False,
            showline=False,
        ),
        annotations=names,
        hovermode="closest",
    )
    said = "; ".join(f"{row.name} {score(metric, row.mean)}" for row in rows)
    alt = f"Mean {metric_name(metric)} of every candidate, with spread and folds: {said}"
    return Figure([dots, means], layout, alt, height=80 + 46 * len(rows))


def _ends(rows: Sequence[LeaderboardRow]) -> list[float]:
    spreads = [row.std if math.isfinite(row.std) else 0.0 for row in rows]
    means = [row.mean for row in rows]
    return [m - s for m, s in zip(means, spreads, strict=True)] + [
        m + s for m, s in zip(means, spreads, strict=True)
    ]


def _row_colour(row: LeaderboardRow) -> str:
    if row.winner:
        return "--accent"
    return "--faint" if row.baseline else "--c0"


def learning_curve(name: str, history: Sequence[Mapping[str, float]]) -> Figure | None:
    """One line a term over the steps of one candidate."""
    terms = list(dict.fromkeys(key for entry in history for key in entry if key != "step"))
    lines: list[Spec] = []
    values: list[float] = []
    for place, term in enumerate(terms):
        points = [(e["step"], e[term]) for e in history if math.isfinite(e.get(term, math.nan))]
        points = [points[i] for i in _evenly(len(points), CURVE_POINTS)]
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
    layout = _layout(
        x=_axis(title=_title("step"), showgrid=False),
        y=_axis(type="log", dtick=1) if wide else _axis(nticks=6),
        hovermode="x unified",
        showlegend=True,
    )
    scale = " on a logarithmic scale" if wide else ""
    alt = f"Learning curves of {name}{scale}: {', '.join(terms)} over the steps"
    return Figure(lines, layout, alt, height=300)


def embedding_map(points: EmbeddingMap, classes: Sequence[str]) -> Figure | None:
    """Samples on a plane, coloured by class; labelled ones are diamonds, mistakes have a cross."""
    if not len(points.names):
        return None
    shown = map_sample(points)
    codes = points.codes[shown]
    labelled = points.labelled[shown].astype(bool)
    hover = [_hover(points, int(i), classes) for i in shown]
    draw = _MapTraces(points.xy[shown], hover)
    if points.values is not None:
        traces = _value_traces(draw, points.values[shown], labelled)
    else:
        traces = [draw(codes < 0, "unlabelled", color="--faint", size=5, opacity=0.5)]
        for code in np.unique(codes[codes >= 0]):
            traces += _class_traces(draw, int(code), codes, labelled, classes)
    if points.correct is not None and points.held_out is not None:
        wrong = points.held_out[shown].astype(bool) & ~points.correct[shown].astype(bool)
        cross = {"color": "--bad", "width": 1.8}
        traces.append(draw(wrong, "predicted wrongly", symbol="x-thin", size=9, line=cross))
        traces[-1]["hoverinfo"] = "skip"
        traces[-1].pop("hovertemplate")
    traces = [trace for trace in traces if len(trace["x"])]
    bare = {"showgrid": False, "showline": False, "showticklabels": False}
    layout = _layout(
        x=_axis(**bare, fixedrange=False),
        y=_axis(**bare, fixedrange=False),
        hovermode="closest",
        showlegend=True,
        dragmode="pan",
        # The buttons have the top of the plot, so the legend goes below it.
        legend=_LEGEND | {"y": -0.02, "yanchor": "top"},
        margin=_MARGIN | {"t": 34},
    )
    total = len(points.names)
    alt = (
        f"Map of {len(shown):,} samples by their features, {int(labelled.sum())} of them labelled, "
        f"coloured by {'value' if points.values is not None else 'class'}"
    )
    note = "" if len(shown) == total else f"{len(shown):,} of {total:,} samples are shown."
    return Figure(traces, layout, alt, height=560, note=note)


def map_sample(points: EmbeddingMap) -> NDArray[np.int64]:
    """Positions to show: all, or the labelled and a seeded draw of the others, at most 5,000."""
    total = len(points.names)
    if total <= MAP_POINTS:
        return np.arange(total)
    order = np.random.default_rng(0).permutation(total)
    first = np.argsort(~points.labelled[order].astype(bool), kind="stable")
    return np.sort(order[first[:MAP_POINTS]])


_MARGIN: Final[Spec] = {"l": 8, "r": 12, "t": 12, "b": 8}
_LEGEND: Final[Spec] = {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "itemwidth": 30}
_OUTLINE: Final[Spec] = {"color": "--ink", "width": 1.5}


@dataclass(frozen=True)
class _MapTraces:
    xy: NDArray[Any]
    hover: list[str]

    def __call__(self, chosen: NDArray[np.bool_], name: str, **marker: Any) -> Spec:
        trace = _markers(self.xy[chosen, 0], self.xy[chosen, 1], **marker)
        trace |= {"name": name, "hovertemplate": "%{text}<extra></extra>"}
        trace["text"] = [self.hover[i] for i in np.flatnonzero(chosen)]
        return trace


def _class_traces(
    draw: _MapTraces,
    code: int,
    codes: NDArray[Any],
    labelled: NDArray[np.bool_],
    classes: Sequence[str],
) -> list[Spec]:
    symbol = SYMBOLS[code // len(PALETTE) % len(SYMBOLS)]
    colour, name = PALETTE[code % len(PALETTE)], label(_class_name(classes, code), 24)
    of_class = codes == code
    few = draw(of_class & labelled, name, color=colour, size=13, symbol="diamond", line=_OUTLINE)
    rest = draw(of_class & ~labelled, name, color=colour, size=7, symbol=symbol, opacity=0.8)
    listed = len(classes) <= LEGEND_CLASSES
    rest |= {"legendgroup": str(code), "showlegend": listed}
    few |= {"legendgroup": str(code), "showlegend": listed and not len(rest["x"])}
    return [rest, few]


def _value_traces(
    draw: _MapTraces, values: NDArray[Any], labelled: NDArray[np.bool_]
) -> list[Spec]:
    known = np.isfinite(values)
    scale: Spec = {
        "colorscale": [[0, "--scale-low"], [1, "--scale-high"]],
        "cmin": values[known].min(initial=np.inf),
        "cmax": values[known].max(initial=-np.inf),
        "colorbar": {"thickness": 10, "outlinewidth": 0, "len": 0.8},
    }
    rest, few = known & ~labelled, known & labelled
    return [
        draw(~known, "unlabelled", color="--faint", size=5, opacity=0.5),
        draw(rest, "held out", color=values[rest], size=7, **scale),
        draw(few, "labelled", color=values[few], size=13, symbol="diamond", line=_OUTLINE, **scale),
    ]


def _hover(points: EmbeddingMap, i: int, classes: Sequence[str]) -> str:
    lines = [f"<b>{label(points.names[i], 60)}</b>"]
    if points.values is not None:
        lines.append(f"value {number(float(points.values[i]))}")
    elif points.codes[i] >= 0:
        lines.append(label(_class_name(classes, int(points.codes[i]))))
    lines += ["labelled"] if points.labelled[i] else []
    if points.held_out is not None and points.held_out[i]:
        right = points.correct is None or bool(points.correct[i])
        lines.append("held out" if right else "held out, predicted wrongly")
    return "<br>".join(lines)


def _class_name(classes: Sequence[str], code: int) -> str:
    return classes[code] if code < len(classes) else f"class {code}"


def confusion(matrix: NDArray[Any], classes: Sequence[str]) -> Figure | None:
    """Counts as a heat map, shaded by the share of the true class."""
    if not len(classes) or not matrix.sum():
        return None
    note, total = "", len(classes)
    if total > MATRIX_CLASSES:
        mistakes = matrix.sum(0) + matrix.sum(1) - 2 * np.diag(matrix)
        worst = np.sort(np.argsort(-mistakes, kind="stable")[:MATRIX_CLASSES])
        matrix, classes = matrix[np.ix_(worst, worst)], [classes[k] for k in worst]
        note = f"The {MATRIX_CLASSES} of {total} classes with the most mistakes are shown."
    share = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    count = len(classes)
    names = [label(name, 14) for name in classes]
    heat: Spec = {
        "type": "heatmap",
        "z": share,
        "zmin": 0,
        "zmax": 1,
        "colorscale": [[0, "--card"], [1, "--heat"]],
        "showscale": False,
        "xgap": 1,
        "ygap": 1,
        "customdata": [
            [
                [label(row, 40), label(column, 40), int(matrix[i, j])]
                for j, column in enumerate(classes)
            ]
            for i, row in enumerate(classes)
        ],
        "hovertemplate": "true %{customdata[0]}<br>predicted %{customdata[1]}<br>"
        "%{customdata[2]} samples, %{z:.1%} of the class<extra></extra>",
    }
    if count <= 20:
        heat["text"] = [[str(int(n)) if n else "" for n in row] for row in matrix]
        heat["texttemplate"] = "%{text}"
    step = max(1, math.ceil(count / 30))
    ticks = {"tickvals": list(range(0, count, step)), "ticktext": names[::step], "showgrid": False}
    layout = _layout(
        x=_axis(title=_title("predicted"), **ticks, tickangle="auto"),
        y=_axis(title=_title("true"), **ticks, autorange="reversed"),
        hovermode="closest",
    )
    right, seen = int(np.diag(matrix).sum()), int(matrix.sum())
    alt = f"Confusion matrix of {count} classes: {right:,} of {seen:,} samples on the diagonal"
    return Figure([heat], layout, alt, height=max(340, min(720, 140 + 34 * count)), note=note)


def calibration(bins: Calibration) -> Figure | None:
    """Accuracy against confidence; on the diagonal the model is as often right as it says."""
    if not len(bins.count):
        return None
    size = 8 + 18 * np.sqrt(bins.count / bins.count.max())
    dots = _markers(bins.confidence, bins.accuracy, color="--accent", size=size, opacity=0.9)
    dots |= {
        "mode": "lines+markers",
        "line": {"color": "--accent", "width": 1.5},
        "text": [f"{int(n):,} samples" for n in bins.count],
        "hovertemplate": "confidence %{x:.1%}<br>accuracy %{y:.1%}<br>%{text}<extra></extra>",
    }
    share = {"range": [-0.04, 1.06], "tickformat": ".0%", "nticks": 6}
    layout = _layout(
        x=_axis(title=_title("confidence"), **share),
        y=_axis(title=_title("accuracy"), **share),
        hovermode="closest",
    )
    alt = (
        f"Accuracy against confidence in {len(bins.count)} bins; calibration error {bins.error:.1%}"
    )
    return Figure([_diagonal(0.0, 1.0), dots], layout, alt, height=380)


def predicted_against_true(fit: RegressionFit) -> Figure | None:
    """A dot a held-out sample; on the diagonal the prediction is right."""
    finite = np.flatnonzero(np.isfinite(fit.true) & np.isfinite(fit.predicted))
    if not len(finite):
        return None
    shown = finite[_evenly(len(finite), MAP_POINTS)]
    true, predicted = fit.true[shown], fit.predicted[shown]
    dots = _markers(true, predicted, color="--accent", size=8, opacity=0.6)
    dots["hovertemplate"] = "true %{x:.4g}<br>predicted %{y:.4g}<extra></extra>"
    low = float(min(true.min(), predicted.min()))
    high = float(max(true.max(), predicted.max()))
    layout = _layout(
        x=_axis(title=_title("true"), nticks=7),
        y=_axis(title=_title("predicted"), nticks=7),
        hovermode="closest",
    )
    total = len(finite)
    note = "" if len(shown) == total else f"{len(shown):,} of {total:,} samples are shown."
    alt = f"Predicted against true value of {len(shown):,} held-out samples"
    return Figure([_diagonal(low, high), dots], layout, alt, height=420, note=note)


def _diagonal(low: float, high: float) -> Spec:
    return {
        "type": "scatter",
        "mode": "lines",
        "x": [low, high],
        "y": [low, high],
        "line": {"color": "--faint", "width": 1.5, "dash": "dot"},
        "hoverinfo": "skip",
    }


def _markers(x: Any, y: Any, **marker: Any) -> Spec:
    return {"type": "scatter", "mode": "markers", "x": x, "y": y, "marker": marker}


def _evenly(count: int, at_most: int) -> NDArray[np.int64]:
    if count <= at_most:
        return np.arange(count)
    return np.linspace(0, count - 1, at_most).round().astype(np.int64)


def _score_axis(metric: str, values: Sequence[float]) -> Spec:
    finite = [value for value in values if math.isfinite(value)]
    low, high = min(finite), max(finite)
    room = max(0.06 * (high - low), 0.02)
    form = {"tickformat": ".0%", "hoverformat": ".1%"} if metric in SHARES else {}
    span = [low - room, high + room]
    return _axis(title=_title(metric_name(metric)), nticks=6, tickangle=0, range=span, **form)


def _title(text: str) -> Spec:
    return {"text": text, "font": {"size": 13, "color": "--muted"}, "standoff": 10}


def _axis(**more: Any) -> Spec:
    base: Spec = {
        "automargin": True,
        "fixedrange": True,
        "zeroline": False,
        "gridcolor": "--line",
        "showline": True,
        "linecolor": "--line",
        "tickfont": {"color": "--muted"},
        "ticks": "",
    }
    return base | more


def _layout(*, x: Spec, y: Spec, **more: Any) -> Spec:
    base: Spec = {
        "xaxis": x,
        "yaxis": y,
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"color": "--ink", "family": "system-ui, sans-serif", "size": 13},
        "margin": _MARGIN,
        "legend": _LEGEND,
        "hoverlabel": {
            "bgcolor": "--card",
            "bordercolor": "--line",
            "font": {"color": "--ink"},
            "align": "left",
        },
        "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": "--faint", "activecolor": "--ink"},
        "showlegend": False,
        "dragmode": False,
    }
    return base | more
