"""Whether an array that was read as series (N, L, C) may have been laid out otherwise."""

from __future__ import annotations

from tacita.data.dataset import Dataset
from tacita.modalities.series.meta import SeriesMeta

_SIDE = 8
"""Fewer steps or channels tell nothing."""


def about_layout(data: Dataset) -> list[str]:
    """Square samples, which may be images, and more channels than steps, which may be transposed."""
    meta = data.meta
    assert isinstance(meta, SeriesMeta)
    length, channels = meta.shape
    told = meta.columns or meta.rates or meta.time or data.lengths is not None
    if told or channels < _SIDE:
        return []
    if length == channels:
        return [
            f"each sample is {length} x {channels}: if these are grey images rather than series, pass"
            " modality='images' (--modality images)"
        ]
    if channels > 2 * length:
        return [
            f"{length} step{'s' * (length > 1)} of {channels} channels: if the array is (samples,"
            " channels, steps), as aeon has it, pass x.transpose(0, 2, 1)"
        ]
    return []
