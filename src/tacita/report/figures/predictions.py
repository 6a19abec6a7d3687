"""What became of predictions: which classes are taken for which, and whether they hold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tacita.report.content import Calibration, RegressionFit
from tacita.report.figures.spec import (
    Figure,
    Spec,
    axis,
    diagonal,
    evenly,
    label,
    layout_of,
    markers,
    title,
)

MATRIX_CLASSES: Final = 60
FIT_POINTS: Final = 5000


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
    layout = layout_of(
        x=axis(title=title("predicted"), **ticks, tickangle="auto"),
        y=axis(title=title("true"), **ticks, autorange="reversed"),
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
    dots = markers(bins.confidence, bins.accuracy, color="--accent", size=size, opacity=0.9)
    dots |= {
        "mode": "lines+markers",
        "line": {"color": "--accent", "width": 1.5},
        "text": [f"{int(n):,} samples" for n in bins.count],
        "hovertemplate": "confidence %{x:.1%}<br>accuracy %{y:.1%}<br>%{text}<extra></extra>",
    }
    share = {"range": [-0.04, 1.06], "tickformat": ".0%", "nticks": 6}
    layout = layout_of(
        x=axis(title=title("confidence"), **share),
        y=axis(title=title("accuracy"), **share),
        hovermode="closest",
    )
    alt = (
        f"Accuracy against confidence in {len(bins.count)} bins; calibration error {bins.error:.1%}"
    )
    return Figure([diagonal(0.0, 1.0), dots], layout, alt, height=380)


def predicted_against_true(fit: RegressionFit) -> Figure | None:
    """A dot a sample; on the diagonal the prediction is right."""
    finite = np.flatnonzero(np.isfinite(fit.true) & np.isfinite(fit.predicted))
    if not len(finite):
        return None
    shown = finite[evenly(len(finite), FIT_POINTS)]
    true, predicted = fit.true[shown], fit.predicted[shown]
    dots = markers(true, predicted, color="--accent", size=8, opacity=0.6)
    dots["hovertemplate"] = "true %{x:.4g}<br>predicted %{y:.4g}<extra></extra>"
    low = float(min(true.min(), predicted.min()))
    high = float(max(true.max(), predicted.max()))
    layout = layout_of(
        x=axis(title=title("true"), nticks=7),
        y=axis(title=title("predicted"), nticks=7),
        hovermode="closest",
    )
    total = len(finite)
    note = "" if len(shown) == total else f"{len(shown):,} of {total:,} samples are shown."
    alt = f"Predicted against true value of {len(shown):,} samples"
    return Figure([diagonal(low, high), dots], layout, alt, height=420, note=note)
