"""How long a forecast of a thousand series of 500 steps takes, beside exponential smoothing of each.

The peer is statsforecast's AutoETS on one core; it is run on a twentieth of the series and counted twenty
times, as it takes each by itself. Its form is chosen anew for each series; ours is one map for all.
"""

from __future__ import annotations

import time

import numpy as np
from statsforecast.models import AutoETS

from benchmarks.timing import Result
from tacita.baselines.lag_ridge import LagRidge
from tacita.modalities.memory import as_dataset

SERIES, STEPS, HORIZON, SEASON = 1000, 500, 14, 7
PART = 20


def run() -> list[Result]:
    """From the arrays to the forecasts behind every series, once each."""
    rng = np.random.default_rng(0)
    season = np.sin(np.arange(STEPS) * 2 * np.pi / SEASON)
    x = 10 + rng.normal(size=(SERIES, 1)) + season + 0.3 * rng.normal(size=(SERIES, STEPS))
    began = time.perf_counter()
    data = as_dataset(x[:, :, None], horizon=HORIZON, season=SEASON)
    learner = LagRidge().fit(data)
    learner.logits(data.subset(~data.labelled))
    ours = time.perf_counter() - began
    AutoETS(season_length=SEASON).forecast(y=x[0], h=HORIZON, level=[80])  # It compiles.
    began = time.perf_counter()
    for series in x[::PART]:
        AutoETS(season_length=SEASON).forecast(y=series, h=HORIZON, level=[80])
    theirs = PART * (time.perf_counter() - began)
    what = f"lag-ridge, {SERIES} series of {STEPS} steps, {HORIZON} ahead: fit and forecast"
    return [Result(what, "statsforecast AutoETS", ours, theirs, "")]
