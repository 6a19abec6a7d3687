"""Theta method, chosen automatically, statsforecast."""

from __future__ import annotations

from typing import Any

from tacita.baselines.statistical import Statistical, statsforecast
from tacita.catalog.cards import method


@method(
    "auto-theta",
    title="Theta method, chosen automatically, statsforecast",
    paper="https://doi.org/10.1016/j.ijforecast.2016.02.005",
    year=2016,
    family="baseline",
    needs=("steps", "numbers"),
    labels="few",
    tasks=("forecast",),
    summary="A damped line through each deseasonalised series: what won the M3 competition, in a hundredth "
    "of a second.",
)
class AutoTheta(Statistical):
    """The best of four Theta models of a series."""

    most = 1000

    def model(self, season: int) -> Any:
        return statsforecast().AutoTheta(season_length=season)
