"""Exponential smoothing, chosen automatically, statsforecast."""

from __future__ import annotations

from typing import Any

from tacita.baselines.statistical import Statistical, statsforecast
from tacita.catalog.cards import method


@method(
    "auto-ets",
    title="Exponential smoothing, chosen automatically, statsforecast",
    paper="https://doi.org/10.1007/978-3-540-71918-2",
    year=2008,
    family="baseline",
    needs=("steps", "numbers"),
    labels="few",
    tasks=("forecast",),
    summary="Error, trend and season of each series by exponential smoothing, the form chosen by AICc.",
)
class AutoETS(Statistical):
    """The exponential smoothing of a series, its form chosen by the corrected Akaike criterion."""

    most = 200

    def model(self, season: int) -> Any:
        return statsforecast().AutoETS(season_length=season)
