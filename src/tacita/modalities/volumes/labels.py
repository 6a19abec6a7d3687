"""Label volumes beside NIfTI files: each on the grid of its scan, and with it on the common one.

They take the way of their scan by the nearest voxel; where there is only padding they say nothing. Those that
lie elsewhere by their header are refused, or on demand resampled onto their scan.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from tacita.data.notes import Note
from tacita.data.reading import Samples
from tacita.errors import DataError
from tacita.modalities.readers.files import Entry
from tacita.modalities.volumes.meta import VolumesMeta
from tacita.modalities.volumes.nifti import (
    Grid,
    bare_name,
    near,
    padded,
    read_grid,
    read_scan,
    resample,
    resampled_size,
)
from tacita.tasks import UNLABELLED
from tacita.tasks.labels import whole_numbers

_SAME_PLACE = 0.5
"""Share of a voxel that labels may lie beside their scan: no voxel's label would change."""


def with_labels(
    samples: Samples, entries: Sequence[Entry], labels: Sequence[Entry], *, elsewhere: bool
) -> Samples:
    """The same scans, each with its label volume on their common grid, None where there is none.

    A scan and its labels have the same name in their folders. `elsewhere`: labels on another grid, or in
    another place, are resampled onto their scan, which a note counts.

    Raises `DataError` for labels without a scan, or on another grid or in another place than it, and for
    numbers that are not whole.
    """
    assert isinstance(samples.meta, VolumesMeta)
    spacing = samples.meta.spacing
    assert spacing is not None
    by_name = {bare_name(label.name): label.path for label in labels}
    known = {bare_name(entry.name) for entry in entries}
    lost = sorted(set(by_name) - known)
    if lost:
        raise DataError(
            f"{by_name[lost[0]]}: there is no volume of that name.",
            remedy=f"Labels are called as their volumes, here for example {entries[0].name}.",
        )
    found: list[NDArray[np.int64] | None] = []
    moved: dict[str, float] = {}
    for entry in entries:
        path = by_name.get(bare_name(entry.name))
        if path is None:
            found.append(None)
            continue
        grid, own = read_grid(entry.path), read_grid(path)
        far = _apart(own, grid)
        placed = _same_grid(own, grid) and far <= _SAME_PLACE * min(grid.spacing)
        if not placed and not (elsewhere and own.channels == 1):
            raise _misplaced(path, entry, own, grid, far)
        whole = _whole(path)
        if not placed:
            whole = onto_grid(whole, own, grid, path)
            moved[entry.name] = far
        codes = resample(torch.from_numpy(whole), resampled_size(grid, spacing), nearest=True)
        found.append(
            padded(codes, samples.meta.shape[1:], float(UNLABELLED))[0].numpy().astype(np.int64)
        )
    return replace(samples, labels=found, notes=(*samples.notes, *_told(moved)))


def onto_grid(codes: NDArray[np.int64], own: Grid, grid: Grid, path: Path) -> NDArray[np.int64]:
    """`(1, Z, Y, X)` labels by the nearest voxel on the grid of their scan; outside their field they are 0.

    Raises `DataError` naming the file of labels of which nothing lies where the scan does.
    """
    from scipy.ndimage import affine_transform

    outside = int(codes.min()) - 1
    # From a voxel of the scan to millimetres, and from there to a voxel of the labels.
    way = np.linalg.inv(own.affine) @ grid.affine
    z, y, x = grid.size
    placed: NDArray[np.int64] = affine_transform(
        codes[0].transpose(2, 1, 0),
        way[:3, :3],
        way[:3, 3],
        output_shape=(x, y, z),
        order=0,
        mode="grid-constant",
        cval=outside,
    )
    beyond = placed == outside
    if beyond.all():
        raise DataError(
            f"{path}: by its header no part of it lies where its volume does.",
            remedy="Mend its header, or save it with the volume's affine if it only lacks it.",
        )
    placed[beyond] = 0
    return placed.transpose(2, 1, 0)[None]


def _whole(path: Path) -> NDArray[np.int64]:
    whole = whole_numbers(read_scan(path).astype(np.float64))
    if whole is None:
        raise DataError(
            f"{path}: labels are not whole numbers.",
            remedy="Give 0 for the background and 1, 2, ... for classes.",
        )
    return whole


def _same_grid(own: Grid, grid: Grid) -> bool:
    return own.size == grid.size and own.channels == 1 and near(own.spacing, grid.spacing)


def _apart(a: Grid, b: Grid) -> float:
    """How far the corners of two grids lie apart at most, in millimetres."""
    return float(np.linalg.norm(_corners(a) - _corners(b), axis=1).max())


def _corners(grid: Grid) -> NDArray[np.float64]:
    """`(8, 3)`: the outer voxels, in millimetres."""
    z, y, x = (side - 1 for side in grid.size)
    corners = np.array([(i, j, k, 1) for i in (0, x) for j in (0, y) for k in (0, z)], np.float64)
    return (corners @ grid.affine.T)[:, :3]


def _misplaced(path: Path, entry: Entry, own: Grid, grid: Grid, far: float) -> DataError:
    if own.channels != 1:
        remedy = "Give one number a voxel."
    else:
        remedy = "Have them resampled with resample_labels=True (--resample-labels)"
        remedy += ", or save them with the volume's affine if they only lack it."
    if not _same_grid(own, grid):
        return DataError(
            f"{path}: labels of {_words(own)}, but the volume has {_words(grid)}.", remedy=remedy
        )
    return DataError(
        f"{path}: by its header it lies up to {far:.3g} mm away from its volume {entry.name}.",
        remedy=remedy,
    )


def _told(moved: dict[str, float]) -> tuple[Note, ...]:
    if not moved:
        return ()
    first, far = next(iter(moved.items()))
    place = f"{first}, {far:.3g} mm away"
    if len(moved) > 1:
        place += f", at most {max(moved.values()):.3g} mm"
    what = (
        "label volume lay elsewhere and was resampled onto its volume",
        "label volumes lay elsewhere and were resampled onto their volumes",
    )
    return (Note(what, len(moved), place),)


def _words(grid: Grid) -> str:
    size = "x".join(str(side) for side in grid.size)
    spacing = " x ".join(f"{side:g}" for side in grid.spacing)
    return f"{size} voxels of {spacing} mm" + f", {grid.channels} channels" * (grid.channels > 1)
