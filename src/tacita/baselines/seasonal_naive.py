"""The forecast that any other has to beat: what was a season ago."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from tacita.baselines.forecaster import Forecaster
from tacita.baselines.margins import FILE, Margins
from tacita.catalog.cards import method
from tacita.data.batch import Batch
from tacita.data.dataset import Dataset


@method(
    "seasonal-naive",
    title="Seasonal naive forecast",
    paper="https://otexts.com/fpp3/simple-methods.html",
    year=2021,
    family="baseline",
    needs=("steps", "numbers"),
    labels="few",
    tasks=("forecast",),
    summary="The values of a season ago, or the last value where there is no season; its skill is 0 by "
    "definition.",
)
class SeasonalNaive(Forecaster):
    """What was a season ago, with margins from how far it was off on the windows that it is given."""

    files = (FILE,)

    def _fit(self, data: Dataset, seed: int) -> None:
        asked = self.require(data.task).asked(data.y[data.labelled])
        unit = asked.scale.where(asked.scale > 0, torch.nan)[:, None]
        self.margins_ = Margins.of((asked.future - asked.naive) / unit)

    def _logits(self, batch: Batch) -> Tensor:
        asked = self.forecasting.asked(batch.y)
        return self.margins_.about(asked.naive, asked.scale)

    def save_files(self, folder: Path) -> None:
        self.margins_.save(folder)

    def load_files(self, folder: Path, seed: int) -> None:
        self.margins_ = Margins.load(folder, self.forecasting.horizon)
