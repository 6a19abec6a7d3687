"""A class against the others at every threshold: ROC, and precision against recall."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tacita.measures.ranks import Operating
from tacita.report.figures.spec import (
    LEGEND,
    PALETTE,
    Figure,
    Spec,
    axis,
    diagonal,
    label,
    layout_of,
    markers,
    title,
)

_SHARE: Spec = {"range": [-0.03, 1.05], "tickformat": ".0%", "nticks": 6}


def roc(curves: Sequence[Operating]) -> Figure | None:
    """Recall against false alarms, a line a class; the mark is the threshold that is read out."""
    if not curves:
        return None
    lines = [
        _line(place, curve, [0.0, *curve.false_alarms], [0.0, *curve.recall], f"{curve.auc:.3f}")
        for place, curve in enumerate(curves)
    ]
    alt = "ROC: " + "; ".join(f"{curve.name} AUC {curve.auc:.3f}" for curve in curves)
    return _figure([diagonal(0.0, 1.0), *lines], "false alarms", "recall", alt, len(curves))


def precision_and_recall(curves: Sequence[Operating]) -> Figure | None:
    """Precision against recall, a line a class; the mark is the threshold that is read out."""
    if not curves:
        return None
    lines = [
        _line(place, curve, curve.recall, curve.precision, f"{curve.average_precision:.3f}")
        for place, curve in enumerate(curves)
    ]
    said = (f"{curve.name} average precision {curve.average_precision:.3f}" for curve in curves)
    alt = f"Precision against recall: {'; '.join(said)}"
    return _figure(lines, "recall", "precision", alt, len(curves))


def _line(place: int, curve: Operating, x: object, y: object, area: str) -> Spec:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": f"{label(curve.name, 24)} {area}",
        "x": np.asarray(x),
        "y": np.asarray(y),
        "line": {"color": PALETTE[place % len(PALETTE)], "width": 2},
        "hovertemplate": "%{x:.1%}, %{y:.1%}",
    }


def _figure(lines: list[Spec], x: str, y: str, alt: str, curves: int) -> Figure:
    mark = markers(
        [None], [None], color="--ink", size=12, symbol="circle-open", line={"width": 2.5}
    )
    mark |= {"name": "threshold", "showlegend": False, "hoverinfo": "skip"}
    layout = layout_of(
        x=axis(title=title(x), **_SHARE),
        y=axis(title=title(y), **_SHARE),
        hovermode="closest",
        showlegend=curves > 1,
        legend=LEGEND | {"y": -0.22, "yanchor": "top"},
    )
    for line in lines:
        line.setdefault("showlegend", "name" in line)
    return Figure([*lines, mark], layout, alt, height=360 + 14 * curves * (curves > 1))
