"""Folders: one file a sample, classes from sub-folders or from a label file."""

from __future__ import annotations

from pathlib import Path

from tacita.data.batch import Modality
from tacita.data.readers.build import Source
from tacita.data.readers.files import IMAGE_FILES, READ, SERIES_FILES, Entry, existing, scan
from tacita.errors import ConfigError, DataError

_FOLDER_LABELS = "labels.csv"


def label_path(path: Path, labels: Source | None) -> Path | None:
    """The label file of a folder: the one given (also by its name inside), or its `labels.csv`."""
    if labels is None:
        found = path / _FOLDER_LABELS
        return found if found.is_file() else None
    if str(labels) == "folders":
        return None
    inside = path / labels
    return inside if inside.is_file() and not Path(labels).exists() else existing(labels)


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
    if images and modality != "series":
        return images, "images"
    if series and modality != "images":
        return series, "series"
    if not entries:
        raise DataError(f"{path}: the folder is empty.", remedy=READ)
    raise DataError(
        f"{path}: none of its {len(entries)} files can be read (the first is {entries[0].name}).",
        remedy=READ,
    )
