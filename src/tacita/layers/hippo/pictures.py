"""What a memory remembers, drawn: a signal, and its past as read off the state at the last step."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from tacita.errors import DataError
from tacita.layers.hippo.bases import measure_weight, reconstruct, timescale
from tacita.layers.hippo.matrices import Floats
from tacita.layers.hippo.memory import remember


@dataclass(frozen=True)
class Recollection:
    """A past and what is left of it.

    ages: `(T,)` steps before the last one, the most recent first. past, recalled: `(T,)` the signal then,
    and its reconstruction. error: root mean squared difference, weighted as the measure does.
    figure: a plotly figure of both.
    """

    ages: Floats
    past: Floats
    recalled: Floats
    error: float
    figure: Any = field(repr=False)


def recall(
    signal: ArrayLike, measure: str = "legs", size: int = 64, *, steps: float
) -> Recollection:
    """Run a memory over a signal, and reconstruct the past from its last state alone.

    signal: `(L,)` numbers. measure, size: as in `hippo`. steps: how many steps the memory reaches back;
    twice as far is drawn, or as far as there is a signal.

    Raises `DataError` for a signal that is not one line of finite numbers.

    >>> found = recall(np.sin(np.arange(400) / 20), "legt", 16, steps=200)
    >>> found.error < 0.01
    True
    """
    line = np.asarray(signal, dtype=np.float64)
    if line.ndim != 1 or len(line) < 2 or not np.isfinite(line).all():
        raise DataError(
            f"a signal of shape {line.shape} is not one line of finite numbers.",
            remedy="Give one channel, at least two steps long, without gaps.",
        )
    x = remember(torch.from_numpy(line)[None], measure, size, steps=steps)[0, -1]
    ages = np.arange(min(len(line), round(2 * steps)), dtype=np.float64)
    # A step's value stands for the time that leads to it, so it is half a step old.
    times = (ages + 0.5) * timescale(measure, steps)
    past, recalled = line[::-1][: len(ages)], reconstruct(x, measure, times).numpy()
    weight = measure_weight(measure, times)
    error = float(np.sqrt((weight * (past - recalled) ** 2).sum() / weight.sum()))
    return Recollection(ages, past, recalled, error, _drawn(ages, past, recalled, measure, size))


def _drawn(ages: Floats, past: Floats, recalled: Floats, measure: str, size: int) -> Any:
    import plotly.graph_objects as go

    figure = go.Figure(
        [
            go.Scatter(x=-ages, y=past, name="the signal", line={"color": "#888", "width": 3}),
            go.Scatter(x=-ages, y=recalled, name=f"from {size} numbers", line={"width": 2}),
        ]
    )
    figure.update_layout(
        title=f"The past as {measure} remembers it",
        xaxis_title="steps before now",
        yaxis_title="value",
        template="plotly_white",
    )
    return figure
