"""Folders: one file a sample, classes from sub-folders or from a label file."""

from __future__ import annotations

from pathlib import Path

from tacita.data.batch import Modality
from tacita.data.readers.build import Source
from tacita.data.readers.files import (
    IMAGE_FILES,
    READ,
    SERIES_FILES,
    Entry,
    existing,
    is_nifti,
    scan,
)
from tacita.errors import ConfigError, DataError

_FOLDER_LABELS = "labels.csv"
_FOLDER_OF_LABELS = "labels"


def label_path(path: Path, labels: Source | None) -> Path | None:
    """The label file of a folder: the one given (also by its name inside), or its `labels.csv`."""
    if labels is None:
        found = path / _FOLDER_LABELS
        return found if found.is_file() else None
    if str(labels) == "folders":
        return None
    inside = path / labels
    return inside if inside.is_file() and not Path(labels).exists() else existing(labels)


def label_folder(path: Path, labels: Source | None) -> Path | None:
    """The folder of label volumes: the one given (also by its name inside), or its `labels`."""
    named = [path / _FOLDER_OF_LABELS] if labels is None else [path / labels, Path(labels)]
    return next((folder for folder in named if folder.is_dir()), None)


def volume_entries(
    path: Path, entries: list[Entry], folder: Path | None
) -> tuple[list[Entry], list[Entry]]:
    """The volumes among the files of a folder, and the label volumes that are kept for them."""
    if folder is None:
        return entries, []
    home = folder.resolve()
    volumes = [entry for entry in entries if not entry.path.resolve().is_relative_to(home)]
    if not volumes:
        raise DataError(
            f"{path}: all of its volumes are labels, in {folder}.",
            remedy="Give the folder of the volumes, and that of their labels with --labels.",
        )
    return volumes, [entry for entry in scan(folder) if is_nifti(entry.path)]


def folder_entries(
    path: Path, label_path: Path | None, modality: Modality | None
) -> tuple[list[Entry], Modality]:
    entries = scan(path, leave_out=None if label_path is None else label_path.resolve())
    images = [entry for entry in entries if entry.path.suffix.lower() in IMAGE_FILES]
    series = [entry for entry in entries if entry.path.suffix.lower() in SERIES_FILES]
    if modality == "tables":
        raise ConfigError(
            f"{path}: a folder cannot be read as a table.", remedy="Give one .csv or .parquet file."
        )
    volumes = [entry for entry in entries if is_nifti(entry.path)]
    if volumes and modality in (None, "volumes"):
        return volumes, "volumes"
    if images and modality in (None, "images"):
        return images, "images"
    if series and modality in (None, "series"):
        return series, "series"
    if not entries:
        raise DataError(f"{path}: the folder is empty.", remedy=READ)
    raise DataError(
        f"{path}: none of its {len(entries)} files can be read (the first is {entries[0].name}).",
        remedy=READ,
    )
