"""What every reader gives: the samples as tensors, and the labels as they were written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from tacita.data.batch import Modality

Spacing = tuple[float, float, float]
"""Millimetres from slice to slice, row to row and voxel to voxel."""


@dataclass(frozen=True)
class Samples:
    """Shapes: `x` and `lengths` as in `Dataset`; `labels` and `groups` one raw value a sample."""

    modality: Modality
    x: Tensor
    source: str
    lengths: Tensor | None = None
    labels: Any = None
    """The user's own values (numbers or text), or None where the source holds no labels."""
    groups: Any = None
    ids: tuple[str, ...] = ()
    spacing: Spacing | None = None
    """Of volumes from files: the one that all of them were brought to."""
    columns: tuple[str, ...] = ()
    categories: tuple[tuple[str, ...], ...] = ()
    target: str | None = None
    group: str | None = None
    id_column: str | None = None
    series_id: str | None = None
    time: str | None = None
    step: float | None = None
    resampled: int = 0
    gaps: int = 0
    rates: tuple[int, ...] = ()
    recordings: tuple[str, ...] = ()
    """Of windows, the recording of each, by which label files know them."""

    def __len__(self) -> int:
        return len(self.x)
