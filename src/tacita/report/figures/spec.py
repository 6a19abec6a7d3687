"""What all figures are made of: specifications for plotly in plain values, and names that are inert.

A colour is the name of a CSS variable (`--accent`); the page's script puts in its value, so that
figures follow the reader's light or dark scheme. Plotly reads text as a kind of HTML, so every
name that comes from a user's files goes through `label`.
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tacita.report.words import shorten

PALETTE: Final = tuple(f"--c{i}" for i in range(10))

Spec = dict[str, Any]

MARGIN: Final[Spec] = {"l": 8, "r": 12, "t": 12, "b": 8}
LEGEND: Final[Spec] = {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "itemwidth": 30}


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


def diagonal(low: float, high: float) -> Spec:
    """The dotted line on which what is said and what is found agree."""
    return {
        "type": "scatter",
        "mode": "lines",
        "x": [low, high],
        "y": [low, high],
        "line": {"color": "--faint", "width": 1.5, "dash": "dot"},
        "hoverinfo": "skip",
    }


def markers(x: Any, y: Any, **marker: Any) -> Spec:
    """A trace of dots."""
    return {"type": "scatter", "mode": "markers", "x": x, "y": y, "marker": marker}


def evenly(count: int, at_most: int) -> NDArray[np.int64]:
    """At most so many positions, evenly from the first to the last."""
    if count <= at_most:
        return np.arange(count)
    return np.linspace(0, count - 1, at_most).round().astype(np.int64)


def title(text: str) -> Spec:
    """The title of an axis."""
    return {"text": text, "font": {"size": 13, "color": "--muted"}, "standoff": 10}


def axis(**more: Any) -> Spec:
    """An axis in the page's style."""
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


def layout_of(*, x: Spec, y: Spec, **more: Any) -> Spec:
    """A layout in the page's style."""
    base: Spec = {
        "xaxis": x,
        "yaxis": y,
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"color": "--ink", "family": "system-ui, sans-serif", "size": 13},
        "margin": MARGIN,
        "legend": LEGEND,
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
