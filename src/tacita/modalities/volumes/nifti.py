"""NIfTI files (`.nii`, `.nii.gz`): scans of different grids on one grid, and label volumes beside them.

A scan is turned to the axes right, anterior, superior (RAS) by its header and laid out as
`(C, Z, Y, X)`, so that slices are axial and the lowest comes first. Scans of different spacing are
interpolated at the median spacing of the folder; then all are padded, the same on both sides, to the
largest of them, with the scan's own lowest value. Nothing is cut off.
"""

from __future__ import annotations

import gzip
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from tacita.data.reading import Samples
from tacita.errors import DataError, MissingExtraError
from tacita.files import replacing
from tacita.modalities.readers.files import NIFTI_FILES, Entry
from tacita.modalities.readers.values import check_finite, check_size, damaged, to_floats
from tacita.modalities.volumes.head import check_head
from tacita.modalities.volumes.meta import Spacing, VolumesMeta

_MOST_CHANNELS = 16
_MOST_VOXELS = 2**29
_SMALL = 2**26
_RATIO = 200
"""What gzip makes smaller than this many times is no scan."""
_SAME_SPACING = 0.01
"""Relative difference of spacing below which voxels are taken as they are."""


@dataclass(frozen=True)
class Grid:
    """Of one scan turned to RAS: channels, the size along Z, Y and X, and the millimetres a voxel.

    affine: from its places along X, Y and Z to millimetres, by what nibabel goes by: the sform where its
        code is set, else the qform where that is, else the middle of the scan is 0.
    """

    channels: int
    size: tuple[int, int, int]
    spacing: Spacing
    affine: NDArray[np.float64] = field(compare=False)


def bare_name(name: str) -> str:
    """A file's name without the ending, which a scan and its labels share.

    >>> bare_name("a/case_1.nii.gz"), bare_name("case_1.nii")
    ('a/case_1', 'case_1')
    """
    ending = next((e for e in NIFTI_FILES[::-1] if name.lower().endswith(e)), "")
    return name[: len(name) - len(ending)]


def read_grid(path: Path) -> Grid:
    """The grid of a file by its header alone, whose sizes are checked before anything is read."""
    with damaged(path, "a NIfTI volume"):
        image = _opened(path)
        return _turned(image)


def read_scan(path: Path) -> NDArray[Any]:
    """The `(C, Z, Y, X)` numbers of a file, turned to RAS, in the file's own type."""
    import nibabel

    with damaged(path, "a NIfTI volume"):
        image = nibabel.as_closest_canonical(_opened(path))  # type: ignore[no-untyped-call]
        values = np.asanyarray(image.dataobj)
        values = values.reshape(*values.shape[:3], -1)
        if values.dtype.kind not in "biuf":
            raise _no_numbers(path, values.dtype)
        return values.transpose(3, 2, 1, 0)


def scans(entries: Sequence[Entry], source: str, *, spacing: Spacing | None = None) -> Samples:
    """All scans on one grid, whose spacing is by default the median of theirs.

    Raises `DataError` naming a file that cannot be read, has other channels or values that are not
    finite, and for a grid that no memory holds.
    """
    grids = [read_grid(entry.path) for entry in entries]
    for grid, entry in zip(grids, entries, strict=True):
        if grid.channels != grids[0].channels:
            raise DataError(
                f"{entry.path}: {grid.channels} channels, but {entries[0].name} has"
                f" {grids[0].channels}.",
                remedy="Give volumes of one kind.",
            )
    if spacing is None:
        middle = np.median([grid.spacing for grid in grids], axis=0)
        spacing = (float(middle[0]), float(middle[1]), float(middle[2]))
    sizes = [resampled_size(grid, spacing) for grid in grids]
    largest = tuple(int(side) for side in np.max(sizes, axis=0))
    check_size(source, (len(entries), grids[0].channels, *largest))
    x = torch.empty(len(entries), grids[0].channels, *largest)
    for row, entry in enumerate(entries):

        def place(index: tuple[int, ...], name: str = entry.name) -> str:
            return f"{name}, voxel {index[1:]}"

        values = to_floats(read_scan(entry.path), source, place)
        check_finite(values, source, place, missing="refuse", fillable=False)
        scan = torch.from_numpy(np.ascontiguousarray(values))
        scan = resample(scan, sizes[row])
        x[row] = padded(scan, largest, float(scan.min()))
    names = tuple(entry.name for entry in entries)
    return Samples(x, VolumesMeta.of(x, spacing=spacing), source, ids=names)


def write_labels(codes: NDArray[np.int64], like: Path, out: Path) -> None:
    """Write `(Z, Y, X)` labels, on whatever spacing they are, on the grid of a scan's own file."""
    import nibabel

    image = _opened(like)
    grid = read_grid(like)
    on_grid = resample(torch.from_numpy(codes)[None].double(), grid.size, nearest=True)[0]
    turned = on_grid.numpy().transpose(2, 1, 0)
    back = nibabel.orientations.ornt_transform(  # type: ignore[no-untyped-call]
        [[0, 1], [1, 1], [2, 1]],
        nibabel.io_orientation(image.affine),  # type: ignore[no-untyped-call]
    )
    values = nibabel.apply_orientation(turned, back).astype(np.int16)  # type: ignore[no-untyped-call]
    written = nibabel.Nifti1Image(values, image.affine)  # type: ignore[no-untyped-call]
    out.parent.mkdir(parents=True, exist_ok=True)
    content = written.to_bytes()
    with replacing(out) as temporary:
        packed = out.name.lower().endswith(".gz")
        temporary.write_bytes(gzip.compress(content, mtime=0) if packed else content)


def resampled_size(grid: Grid, spacing: Spacing) -> tuple[int, int, int]:
    """How many voxels a scan has along Z, Y and X at another spacing."""
    if near(grid.spacing, spacing):
        return grid.size
    z, y, x = (
        max(1, round(side * own / wanted))
        for side, own, wanted in zip(grid.size, grid.spacing, spacing, strict=True)
    )
    return z, y, x


def resample(x: Tensor, size: Sequence[int], *, nearest: bool = False) -> Tensor:
    """`(C, Z, Y, X)` over the same field of view in another number of voxels."""
    if tuple(x.shape[1:]) == tuple(size):
        return x
    if nearest:
        return functional.interpolate(x[None], tuple(size), mode="nearest-exact")[0]
    # Where voxels become larger they are averages; where they become smaller, between the old ones.
    coarser = [min(have, want) for have, want in zip(x.shape[1:], size, strict=True)]
    if coarser != list(x.shape[1:]):
        x = functional.interpolate(x[None], coarser, mode="area")[0]
    if coarser != list(size):
        x = functional.interpolate(x[None], tuple(size), mode="trilinear", align_corners=False)[0]
    return x


def _opened(path: Path) -> Any:
    """The image of a file, of which only the header has been read and found sensible."""
    try:
        import nibabel
    except ModuleNotFoundError as error:
        raise MissingExtraError("nibabel", "volumes") from error
    check_head(path)
    image = nibabel.load(path)
    if not isinstance(image, nibabel.Nifti1Image):
        raise DataError(f"{path}: not a NIfTI file.", remedy="Convert it to .nii.gz.")
    header: Any = image.header
    shape = image.shape
    dtype = header.get_data_dtype()
    if dtype.kind not in "biuf":
        raise _no_numbers(path, dtype)
    if not 3 <= len(shape) <= 5 or min(shape) < 1 or math.prod(shape[3:]) > _MOST_CHANNELS:
        raise DataError(
            f"{path}: of shape {shape}; a volume has three axes, and up to {_MOST_CHANNELS} channels.",
            remedy="Split what changes in time into one volume a file.",
        )
    size = math.prod(shape) * dtype.itemsize
    packed = path.stat().st_size
    if math.prod(shape) > _MOST_VOXELS or (size > _SMALL and size > _RATIO * packed):
        raise DataError(
            f"{path}: {packed / 2**20:.1f} MiB that claim to hold {shape} voxels.",
            remedy="The file is damaged, or no scan.",
        )
    if not 0 <= header.get_data_offset() <= _SMALL:
        raise DataError(f"{path}: its header makes no sense.", remedy="Write the file again.")
    return image


def _turned(image: Any) -> Grid:
    """The grid of an image once it is turned to RAS."""
    import nibabel

    turn = nibabel.io_orientation(image.affine)  # type: ignore[no-untyped-call]
    # Of the affine, not of the header's own sizes, which other programs leave as they were.
    zooms = [float(np.linalg.norm(image.affine[:3, axis])) for axis in range(3)]
    if not np.isfinite(turn).all() or not all(1e-3 <= zoom <= 1e3 for zoom in zooms):
        raise DataError(
            f"{image.get_filename()}: a spacing of {zooms} millimetres makes no sense.",
            remedy="Mend the header of the file.",
        )
    own = [int(np.flatnonzero(turn[:, 0] == axis)[0]) for axis in (2, 1, 0)]
    depth, height, width = (int(image.shape[axis]) for axis in own)
    z, y, x = (zooms[axis] for axis in own)
    back = nibabel.orientations.inv_ornt_aff(turn, image.shape[:3])  # type: ignore[no-untyped-call]
    channels = math.prod(image.shape[3:])
    return Grid(channels, (depth, height, width), (z, y, x), image.affine @ back)


def padded(x: Tensor, size: Sequence[int], value: float) -> Tensor:
    """`(C, Z, Y, X)` in the middle of a larger grid."""
    pads: list[int] = []
    for have, want in zip(x.shape[:0:-1], tuple(size)[::-1], strict=True):
        pads += [(want - have) // 2, want - have - (want - have) // 2]
    return functional.pad(x, pads, value=value)


def near(a: Spacing, b: Spacing) -> bool:
    """Whether voxels are of one size but for rounding."""
    return all(abs(one - other) <= _SAME_SPACING * other for one, other in zip(a, b, strict=True))


def _no_numbers(path: Path, dtype: np.dtype[Any]) -> DataError:
    return DataError(
        f"{path}: voxels are of type {dtype}, not real numbers.",
        remedy="Save integers or floats, one a voxel.",
    )
