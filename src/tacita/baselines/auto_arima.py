"""ARIMA, chosen automatically, statsforecast."""

from __future__ import annotations

from typing import Any

from tacita.baselines.statistical import Statistical, statsforecast
from tacita.catalog.cards import method


@method(
    "auto-arima",
    title="ARIMA, chosen automatically, statsforecast",
    paper="https://doi.org/10.18637/jss.v027.i03",
    year=2008,
    family="baseline",
    needs=("steps", "numbers"),
    labels="few",
    tasks=("forecast",),
    summary="Seasonal autoregression and moving averages of each series, their orders searched step by step; "
    "seconds a series.",
)
class AutoARIMA(Statistical):
    """The seasonal ARIMA model of a series, its orders by the search of Hyndman and Khandakar."""

    most = 3

    def model(self, season: int) -> Any:
        return statsforecast().AutoARIMA(season_length=season)
