"""Predictions of a class a voxel: label volumes on the scans' own grids, or one array of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tacita.errors import ConfigError
from tacita.files import replacing
from tacita.modalities.readers.files import is_nifti
from tacita.modalities.volumes.nifti import write_labels

Volumes = Iterable[tuple[Sequence[str], Sequence[NDArray[np.int64]]]]


def write_volumes(parts: Volumes, source: Path, out: Path | None) -> int:
    """Write a label volume for every scan of `source`; gives their number.

    Raises `ConfigError`, before the first is asked for, where `out` is not given, lies in the scans'
    own folder, or does not fit them.
    """
    scans = source.is_dir() or is_nifti(source)
    if out is None:
        raise ConfigError(
            "A segmentation is written as label volumes.",
            remedy=f"Give --out {'FOLDER' if scans else 'FILE.npz'}.",
        )
    home = source if source.is_dir() else source.parent
    inside = source.is_dir() and out.resolve().is_relative_to(home.resolve())
    if scans and (inside or out.resolve() == home.resolve()):
        raise ConfigError(
            f"--out {out}: the scans or their labels are there, and might be replaced.",
            remedy="Name a folder outside of theirs.",
        )
    if not scans and out.suffix != ".npz":
        raise ConfigError(
            f"--out {out}: volumes of an array are written as .npz.", remedy="Name it so."
        )
    return _beside(parts, home, out) if scans else _together(parts, out)


def _beside(parts: Volumes, home: Path, out: Path) -> int:
    """One file for each scan, under its name."""
    count = 0
    for names, volumes in parts:
        for name, volume in zip(names, volumes, strict=True):
            write_labels(volume, home / name, out / name)
        count += len(volumes)
    return count


def _together(parts: Volumes, out: Path) -> int:
    found = [volume for _, volumes in parts for volume in volumes]
    with replacing(out) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, predicted=np.stack(found))
    return len(found)
