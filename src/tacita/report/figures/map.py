"""The map of the samples by their features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tacita.report.content import EmbeddingMap
from tacita.report.figures.spec import (
    LEGEND,
    MARGIN,
    PALETTE,
    Figure,
    Spec,
    axis,
    label,
    layout_of,
    markers,
)
from tacita.report.words import number

MAP_POINTS: Final = 5000
LEGEND_CLASSES: Final = 20
SYMBOLS: Final = ("circle", "square", "triangle-up", "pentagon", "hexagon2", "cross")
_OUTLINE: Final[Spec] = {"color": "--ink", "width": 1.5}


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
    layout = layout_of(
        x=axis(**bare, fixedrange=False),
        y=axis(**bare, fixedrange=False),
        hovermode="closest",
        showlegend=True,
        dragmode="pan",
        # The buttons have the top of the plot, so the legend goes below it.
        legend=LEGEND | {"y": -0.02, "yanchor": "top"},
        margin=MARGIN | {"t": 34},
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


@dataclass(frozen=True)
class _MapTraces:
    xy: NDArray[Any]
    hover: list[str]

    def __call__(self, chosen: NDArray[np.bool_], name: str, **marker: Any) -> Spec:
        trace = markers(self.xy[chosen, 0], self.xy[chosen, 1], **marker)
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
