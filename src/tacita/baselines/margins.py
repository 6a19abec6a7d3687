"""How far a forecast without quantiles of its own was off on windows it did not learn from, step by step."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from tacita.baselines.arrays import REMEDY, Arrays
from tacita.data.dataset import Dataset
from tacita.data.splits import hold_out
from tacita.engine.checkpoint import read_tensors, write_tensors
from tacita.errors import DataError
from tacita.tasks.forecast import MEDIAN, QUANTILES

FILE = "margins.safetensors"
SHARE = 0.2
"""Of the windows to learn from, the last, on which the margins of what is fitted are taken."""


class Margins:
    """Quantiles of errors at every step ahead, in a unit of each window's own.

    table: `(H, Q)`, the median 0, so that the forecast itself stays what it is.
    """

    def __init__(self, table: Tensor) -> None:
        self.table = table

    @classmethod
    def of(cls, errors: Tensor) -> Margins:
        """From errors `(N, H, K)`, the future minus the forecast over the unit; NaN counts for nothing.

        A step at which nothing is known has no margin.
        """
        levels = torch.tensor(QUANTILES, dtype=torch.float64)
        table = errors.double().movedim(1, 0).flatten(1).nanquantile(levels, dim=1).T.nan_to_num(0)
        table[:, MEDIAN] = 0
        # The others may not cross it.
        table[:, :MEDIAN].clamp_(max=0)
        table[:, MEDIAN + 1 :].clamp_(min=0)
        return cls(table)

    def about(self, forecast: Tensor, unit: Tensor) -> Tensor:
        """Logits, `(N, H * K * Q)`: a forecast `(N, H, K)` with its margins, in `unit (N, K)`."""
        unit = unit.nan_to_num(0)[:, None, :, None]
        return (forecast.double()[..., None] + unit * self.table[:, None, :]).flatten(1)

    def save(self, folder: Path) -> None:
        """Write them, whole or not at all."""
        write_tensors(folder / FILE, {"table": self.table}, {})

    @classmethod
    def load(cls, folder: Path, horizon: int) -> Margins:
        """Read them. Raises `CheckpointError` for a file that is damaged or of another model."""
        path = folder / FILE
        tensors, _ = read_tensors(path, remedy=REMEDY)
        found = {n: t.numpy() for n, t in tensors.items() if t.dtype == torch.float64}
        arrays = Arrays(path, found)
        table = torch.from_numpy(arrays.numbers("table", horizon, len(QUANTILES)))
        arrays.all_taken()
        return cls(table)


def earlier_and_later(data: Dataset) -> tuple[Tensor, Tensor]:
    """Windows to fit on and later ones to take the margins on; all of them twice where they are too few."""
    try:
        return hold_out(data, SHARE, seed=0)
    except DataError:
        known = data.labelled.nonzero()[:, 0]
        return known, known
