"""From a path or a name to a data set, and further samples of the same kind as a stream.

Formats: `.csv` `.tsv` `.parquet` tables (or one series a row, with `modality="series"`); `.npz` with
`x`, or `values` end to end, and optionally `y`, `lengths`, `groups`, `time`; `.npy`; `.ts`; tables of
one row a time step, with `series_id`; folders of images or of one file a series, with class
sub-folders or a label file (`labels.csv` in the folder is found); folders and zips of an E4's sessions;
folders of NIfTI volumes, with a folder of label volumes of the same names (`labels` inside is found).
2-D arrays are tables, 3-D are series `(N, L, C)` or, as uint8, grey images `(N, H, W)`; 4-D are images,
5-D are volumes.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from tacita.data.batch import Missing, Modality
from tacita.data.convert import as_dataset
from tacita.data.dataset import Dataset
from tacita.data.readers.arrays import ArrayFile
from tacita.data.readers.build import (
    Source,
    array_samples,
    check_modality,
    finish,
    labelled_table,
    labels_of,
    only_for_long,
    sample_names,
)
from tacita.data.readers.files import (
    ARRAY_FILES,
    TABLE_FILES,
    TEXT_SERIES,
    Entry,
    existing,
    is_nifti,
    nearest,
    unknown_extension,
)
from tacita.data.readers.folders import (
    folder_entries,
    label_folder,
    label_path,
    volume_entries,
)
from tacita.data.readers.frames import read_table
from tacita.data.readers.images import common_size, image_files, resized, square
from tacita.data.readers.labels import LabelFile, with_labels_from
from tacita.data.readers.nifti import label_scans, scans
from tacita.data.readers.samples import Samples
from tacita.data.readers.series import ragged_series, series_files, timed_series
from tacita.data.readers.stream import read_like
from tacita.data.readers.tables import array_row, spreadsheet_row
from tacita.data.readers.ts import ts_series
from tacita.data.readers.values import check_missing
from tacita.data.recordings.device import is_device
from tacita.data.recordings.load import recordings_with_labels
from tacita.errors import ConfigError, DataError

__all__ = ["load", "read_like"]


def load(
    source: Source,
    *,
    labels: Source | None = None,
    task: str | None = None,
    modality: Modality | None = None,
    group: str | None = None,
    missing: Missing = "refuse",
    image_size: int | None = None,
    series_id: str | None = None,
    time: str | None = None,
) -> Dataset:
    """Read a file, a folder, or a built-in data set by name (a path that exists wins).

    `labels`: a label file (an id and a label a line; ids are file names or stems, row numbers from
    0, or values of the id column), the name of a column or array, "folders", or for volumes a folder
    of label volumes. Missing labels are -1, NaN, None or empty. `group`: the column or array that
    names the subject of each sample.
    `missing`: "refuse", or "impute" (tables: mean, or a category "missing"; series: interpolation).
    `image_size`: side in pixels that image files are read in; default from the files, at most 96.

    `series_id`: the column of a table with one row a time step that says which series a row belongs
    to; `time`: its column of times (of a `.npz`: the array; `time` is found), by which rows are
    sorted. Series whose times are irregular are interpolated at the median step of the data set.

    Raises `DataError` for whatever cannot be learnt from, naming the place; `ConfigError` for options.

    >>> load("digits").spec.shape
    (1, 8, 8)
    """
    from tacita.data.builtin import BUILTIN, load_builtin

    missing = check_missing(missing)
    check_modality(modality)
    if isinstance(source, str) and source in BUILTIN and not os.path.exists(source):
        only_for_long(f"the built-in {source}", series_id, time)
        data, _ = load_builtin(source)
        if group is not None:
            raise ConfigError(
                f"group={group!r}, but the built-in {source} has no groups.", remedy="Leave it out."
            )
        data = replace(data, x=_in_size(data.x, data.modality, image_size, source))
        target = None if labels is None else str(labels)
        return as_dataset(data, target=target, task=task, modality=modality)
    path = existing(source, also=BUILTIN)
    if is_device(path):
        only_for_long(f"the recordings in {path}", series_id, time)
        samples = recordings_with_labels(path, labels, group, modality)
    elif path.is_dir():
        only_for_long(f"the folder {path}", series_id, time)
        samples = _read_folder(path, labels, group, modality, missing, image_size)
    else:
        samples = _read_file(path, labels, group, modality, missing, series_id, time)
    x = _in_size(samples.x, samples.modality, image_size, samples.source)
    return finish(replace(samples, x=x), task, missing)


def _in_size(x: Tensor, modality: Modality, side: int | None, source: str) -> Tensor:
    if side is None:
        return x
    if modality != "images":
        raise ConfigError(
            f"image_size={side}, but {source} holds {modality}.", remedy="Leave image_size out."
        )
    return resized(x, square(side))


def _read_file(
    path: Path,
    labels: Source | None,
    group: str | None,
    modality: Modality | None,
    missing: Missing,
    series_id: str | None,
    time: str | None,
) -> Samples:
    if path.suffix.lower() in TABLE_FILES:
        return labelled_table(
            read_table(path),
            labels,
            group,
            modality,
            missing,
            str(path),
            array_row() if path.suffix.lower() == ".parquet" else spreadsheet_row(),
            series_id,
            time,
        )
    only_for_long(str(path), series_id, None)
    if path.suffix.lower() in ARRAY_FILES:
        return _read_array_file(path, labels, group, modality, missing, time)
    only_for_long(str(path), None, time)
    if path.suffix.lower() in TEXT_SERIES:
        return _read_ts_file(path, labels, group, modality, missing)
    if is_nifti(path):
        if labels is not None or group is not None or modality not in (None, "volumes"):
            raise ConfigError(
                f"{path}: one volume, without labels or groups.",
                remedy="Put volumes into a folder, and their labels into another.",
            )
        return scans([Entry(path, path.name, None)], str(path))
    raise unknown_extension(path)


def _read_ts_file(
    path: Path,
    labels: Source | None,
    group: str | None,
    modality: Modality | None,
    missing: Missing,
) -> Samples:
    if modality not in (None, "series"):
        raise ConfigError(f"{path}: a .ts file holds series.", remedy="Leave modality out.")
    label_file = None if labels is None else LabelFile.read(existing(labels), group)
    if group is not None and (label_file is None or label_file.group is None):
        raise ConfigError(
            f"group={group!r}, but a .ts file has no columns.",
            remedy="Give a label file with a column of that name.",
        )
    samples = ts_series(path, missing=missing)
    if label_file is None:
        return samples
    return with_labels_from(label_file, samples, sample_names(samples, 0), files=False)


def _read_array_file(
    path: Path,
    labels: Source | None,
    group: str | None,
    modality: Modality | None,
    missing: Missing,
    time: str | None,
) -> Samples:
    arrays = ArrayFile(path)
    source = str(path)
    label_file = None
    target = "y" if "y" in arrays else None
    if labels is not None:
        if str(labels) in arrays and str(labels) not in ("x", "values"):
            target = str(labels)
        elif Path(labels).is_file():
            label_file = LabelFile.read(Path(labels), group)
        else:
            raise _no_array(arrays, str(labels), "labels")
    groups = "groups" if "groups" in arrays else None
    if group is not None and not (label_file and label_file.group):
        if group not in arrays:
            raise _no_array(arrays, group, "group")
        groups = group
    if time is not None and time not in arrays:
        raise _no_array(arrays, time, "time")
    lengths = arrays.read("lengths") if "lengths" in arrays else None
    if "values" in arrays:
        if lengths is None:
            raise DataError(
                f"{path}: 'values' without 'lengths'.",
                remedy="Save lengths (N,) beside values (sum of lengths, channels).",
            )
        if modality not in (None, "series"):
            raise ConfigError(
                f"{path}: 'values' and 'lengths' are series, not {modality}.",
                remedy="Leave modality out.",
            )
        samples = ragged_series(arrays.numbers("values"), lengths, missing=missing, source=source)
    else:
        x = arrays.numbers(arrays.main)
        samples = array_samples(x, lengths, modality, missing=missing, source=source)
    time = time or ("time" if "time" in arrays and samples.modality == "series" else None)
    if time is not None:
        samples = timed_series(samples, arrays.numbers(time), time)
    samples = replace(
        samples,
        labels=None if target is None else labels_of(arrays, target, samples.modality),
        groups=None if groups is None else arrays.per_sample(groups),
        target=target,
        group=groups,
    )
    if label_file is None:
        return samples
    return with_labels_from(label_file, samples, sample_names(samples, 0), files=False)


def _read_folder(
    path: Path,
    labels: Source | None,
    group: str | None,
    modality: Modality | None,
    missing: Missing,
    image_size: int | None,
) -> Samples:
    folder = label_folder(path, labels)
    labels_at = None if labels is not None and folder is not None else label_path(path, labels)
    entries, kind = folder_entries(path, labels_at, modality)
    if kind == "volumes":
        entries, of_labels = volume_entries(path, entries, folder)
        samples = scans(entries, str(path))
        if folder is not None:
            return replace(samples, labels=label_scans(entries, of_labels, samples))
    elif labels is not None and folder is not None:
        raise ConfigError(
            f"labels={str(labels)!r} is a folder, but {path} holds {kind}.",
            remedy="Give a label file; a folder of labels goes with a folder of volumes.",
        )
    elif kind == "images":
        size = common_size(entries, image_size)
        samples = image_files(entries, size=size, channels=None, source=str(path))
    else:
        samples = series_files(entries, columns=None, missing=missing, source=str(path))
    in_folders = any(entry.label is not None for entry in entries)
    if labels is None and in_folders:
        labels_at = None
    if labels_at is not None:
        label_file = LabelFile.read(labels_at, group)
        if group is not None and label_file.group is None:
            raise ConfigError(
                f"group={group!r} is not a column of {labels_at}.",
                remedy="Name a column of the label file.",
            )
        names = [entry.name for entry in entries]
        return with_labels_from(label_file, samples, names, files=True)
    if group is not None:
        raise ConfigError(
            f"group={group!r}, but a folder has no columns.",
            remedy="Give a label file with a column of that name.",
        )
    if str(labels) == "folders" and not in_folders:
        raise DataError(
            f"{path}: there are no class sub-folders.",
            remedy="Put the files into one sub-folder a class, or give a label file.",
        )
    if not in_folders:
        return samples
    return replace(samples, labels=[entry.label for entry in entries])


def _no_array(arrays: ArrayFile, name: str, argument: str) -> ConfigError:
    near = nearest(name, arrays.headers)
    return ConfigError(
        f"{argument}={name!r} is neither an array of {arrays.path} nor a file.",
        remedy=f"Did you mean {near!r}?" if near else f"Arrays: {', '.join(arrays.headers)}.",
    )
