"""The figures of forecasts are what plotly draws, with names that are inert."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import plotly.graph_objects as go

from tacita.report.figures import Figure
from tacita.report.figures.forecast import DRAWN, error_by_step, forecasts
from tacita.tasks.shown import Course


def drawn(figure: Figure) -> Any:
    """A figure as plotly checks it, with a colour in the place of each of the page's own."""
    text = re.sub(r'"--[a-z-]+"', '"#123456"', json.dumps(figure.spec))
    return go.Figure(json.loads(text))


def course(name: str = "shop", *, known: bool = True) -> Course:
    after = np.array([3.0, 4.0]) if known else np.full(2, np.nan)
    forecast = np.array([2.5, 4.5])
    return Course(name, np.array([1.0, 2.0, 2.0]), after, forecast, forecast - 1, forecast + 1)


def test_a_forecast_goes_on_from_the_last_known_value() -> None:
    (figure,) = forecasts([course()])
    by_name = {trace.name: trace for trace in drawn(figure).data if trace.name}
    assert by_name.keys() == {"80% interval", "past", "forecast", "what came"}
    assert by_name["past"].x[-1] == by_name["forecast"].x[0] == 0
    assert by_name["past"].y[-1] == by_name["forecast"].y[0] == 2.0
    assert list(by_name["forecast"].y[1:]) == [2.5, 4.5]


def test_what_nobody_knows_is_not_drawn_and_names_are_inert() -> None:
    (figure,) = forecasts([course("<b>shop</b>", known=False)])
    assert "what came" not in [trace.name for trace in drawn(figure).data]
    assert "<b>" not in figure.alt
    assert len(forecasts([course()] * 9)) == DRAWN


def test_the_error_of_every_step_stands_beside_the_naive_one() -> None:
    figure = error_by_step((np.array([0.5, np.nan]), np.array([1.0, 1.2])))
    assert figure is not None
    naive, ours = drawn(figure).data
    assert list(naive.y) == [1.0, 1.2]
    assert list(ours.y) == [0.5, None]
    assert error_by_step((np.full(2, np.nan), np.ones(2))) is None
