"""What each column is worth to a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tacita.report.content import Importance
from tacita.report.figures.spec import Figure, axis, label, layout_of, title
from tacita.report.words import metric_name, number

BARS: Final = 20


def importance(found: Sequence[Importance], metric: str) -> Figure | None:
    """A bar a column: by how much the score falls where its cells are shuffled among the samples."""
    if not found:
        return None
    shown = found[:BARS]
    bars = {
        "type": "bar",
        "orientation": "h",
        "x": [each.fall for each in shown],
        "y": list(range(len(shown))),
        "marker": {"color": "--accent"},
        "error_x": {"array": [each.spread for each in shown], "color": "--muted", "thickness": 1.5},
        "hovertemplate": "%{x:.3g}<extra></extra>",
    }
    names = [label(each.name, 24) for each in shown]
    layout = layout_of(
        x=axis(title=title(f"{label(metric_name(metric))}, how much worse"), nticks=6),
        y=axis(
            tickvals=list(range(len(shown))),
            ticktext=names,
            range=[len(shown) - 0.5, -0.5],
            showgrid=False,
        ),
        hovermode="closest",
        bargap=0.35,
    )
    note = "" if len(shown) == len(found) else f"The first {len(shown)} of {len(found)} columns."
    said = "; ".join(f"{each.name} {number(each.fall)}" for each in shown[:5])
    alt = f"How much worse the score is where a column is shuffled, the largest first: {said}"
    return Figure([bars], layout, alt, height=90 + 24 * len(shown), note=note)
