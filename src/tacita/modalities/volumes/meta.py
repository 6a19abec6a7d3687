"""The facts of volumes."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tacita.modalities.pixels import PixelsMeta

Millimetres = Annotated[float, Field(ge=1e-3, le=1e3)]
Spacing = tuple[Millimetres, Millimetres, Millimetres]
"""Millimetres from slice to slice, row to row and voxel to voxel."""


class VolumesMeta(PixelsMeta):
    """`shape (C, D, H, W)`; spacing: of volumes from files, the one that all of them are brought to.

    resample_labels: whether label volumes that lie elsewhere are resampled onto their volumes.
    """

    modality = "volumes"
    rank = 4

    spacing: Spacing | None = None
    resample_labels: bool = False
