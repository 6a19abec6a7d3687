"""What is said of series to be forecast."""

from __future__ import annotations

import torch

from tacita.data.dataset import Dataset
from tacita.data.modality import Fact
from tacita.modalities.series.calendar import Calendar
from tacita.modalities.series.meta import SeriesMeta
from tacita.windows import Windows
from tacita.words import listed, plural


def forecast_in_words(data: Dataset) -> str:
    """How many series and windows there are, in a phrase."""
    windows = plural(len(data), "window")
    if not isinstance(data.samples, Windows):
        return windows
    begins, first = data.samples.begins, data.samples.stops - data.samples.begins
    count = len(torch.unique(begins))
    if not count:
        return windows
    low, high = int(first.min()), int(first.max())
    length = f"{high}" if low == high else f"{low}-{high}"
    series = "1 series" if count == 1 else f"{count} series"
    return f"{series} of {length} steps in {windows}"


def forecast_facts(meta: SeriesMeta) -> list[Fact]:
    """How moments follow one another, what the season is taken to be, and what is known ahead."""
    calendar = Calendar(meta.calendar, meta.step or 1.0, meta.last_day, meta.dated)
    time = calendar.words if meta.time is None else f"from {meta.time!r}, {calendar.words}"
    season = f"{meta.season} steps" if meta.season > 1 else "none"
    said = [
        ("time", time),
        ("season", f"{season} (--season says otherwise); a model sees {meta.context} steps"),
    ]
    if meta.known_ahead:
        said.append(
            ("ahead", f"{listed('column', [*meta.known_ahead])} known for the steps to come")
        )
    if meta.static:
        said.append(("static", f"{listed('column', [*meta.static])} the same all along a series"))
    others = [
        name
        for name in meta.columns[meta.targets :]
        if name not in meta.known_ahead and name not in meta.static
    ]
    if others:
        said.append(("past", f"{listed('column', others)} not known for the steps to come"))
    return said
