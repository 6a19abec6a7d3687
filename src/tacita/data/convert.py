"""What is in memory already to a data set: arrays, tensors, frames, lists of series, torch data sets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tacita.data.batch import Missing, Modality
from tacita.data.dataset import Dataset
from tacita.data.readers.build import (
    array_samples,
    check_modality,
    encode_samples,
    finish,
    labelled_table,
    only_for_long,
    raw_labels,
    sample_names,
)
from tacita.data.readers.frames import frame_table, is_frame
from tacita.data.readers.labels import LabelFile, group_codes, with_labels_from
from tacita.data.readers.samples import Samples
from tacita.data.readers.series import series_list
from tacita.data.readers.tables import array_row
from tacita.data.readers.values import check_missing
from tacita.errors import ConfigError, DataError
from tacita.tasks import Segmentation


def as_dataset(
    x: Any,
    y: Any = None,
    *,
    modality: Modality | None = None,
    lengths: Any = None,
    groups: Any = None,
    task: str | None = None,
    missing: Missing = "refuse",
    target: str | None = None,
    series_id: str | None = None,
    time: str | None = None,
) -> Dataset:
    """A data set over arrays, tensors, frames, a list of series, or a torch data set of `(x, y)`.

    2-D arrays are tables `(N, F)`, 3-D are series `(N, L, C)` or, as uint8, grey images `(N, H, W)`,
    4-D are images, 5-D volumes; `modality` overrides. `y (N,)` may miss labels: -1, NaN, None or "".
    Of volumes, `y (N, D, H, W)` may give a class to each voxel. In a frame, `target` may name the
    label column and `groups` the group column; elsewhere `target` is a label file by row numbers from
    0. A frame of one row a time step is read as series with `series_id` and `time` as in `load`.
    Nothing is written to; float32 and uint8 arrays are shared.

    >>> data = as_dataset([[1.0, 2.0], [3.0]], ["walk", None])
    >>> data.modality, data.lengths.tolist(), data.y.tolist()
    ('series', [2, 1], [0, -1])

    Raises `DataError` for what cannot be learnt from, `ConfigError` for measurements as classes.
    """
    missing = check_missing(missing)
    check_modality(modality)
    if not is_frame(x):
        only_for_long("the data in memory", series_id, time)
    if isinstance(x, Dataset):
        return _relabelled(x, y, groups, task, modality, target)
    if is_frame(x):
        group = groups if isinstance(groups, str) else None
        samples = labelled_table(
            frame_table(x),
            target,
            group,
            modality,
            missing,
            "data frame",
            array_row(),
            series_id,
            time,
        )
        groups = None if group is not None else groups
    elif isinstance(x, torch.utils.data.Dataset):
        items, pairs_y = _from_pairs(x)
        y = pairs_y if y is None else y
        samples = _from_memory(items, lengths, modality, missing)
    else:
        samples = _from_memory(x, lengths, modality, missing)
    if target is not None and not is_frame(x):
        samples = _labelled_by_file(samples, target)
    if y is not None:
        samples = replace(samples, labels=_as_labels(y))
    if groups is not None:
        samples = replace(samples, groups=groups)
    return finish(samples, task, missing)


def _from_memory(x: Any, lengths: Any, modality: Modality | None, missing: Missing) -> Samples:
    if isinstance(x, list | tuple):
        if not len(x):
            raise DataError("x is an empty list.", remedy="Give at least one sample.")
        if modality in (None, "series") and lengths is None and _unequal(x):
            return series_list(x, missing=missing, source="list")
    return array_samples(_to_numpy(x), lengths, modality, missing=missing, source="array")


def _labelled_by_file(samples: Samples, target: str) -> Samples:
    if not Path(target).is_file():
        raise ConfigError(
            f"target={target!r} is no file, and these {samples.modality} have no named columns.",
            remedy="Give the labels as y, or a label file with row numbers from 0.",
        )
    return with_labels_from(
        LabelFile.read(Path(target)), samples, sample_names(samples, 0), files=False
    )


def _unequal(items: list[Any] | tuple[Any, ...]) -> bool:
    """Whether a list is one of series of unequal lengths, which no array can hold."""
    nested = [isinstance(item, list | tuple) or getattr(item, "ndim", 0) > 0 for item in items]
    return all(nested) and len({len(item) for item in items}) > 1


def _to_numpy(x: Any) -> NDArray[Any]:
    if isinstance(x, list | tuple) and x and isinstance(x[0], Tensor):
        x = [_to_numpy(item) for item in x]
    if isinstance(x, Tensor):
        x = x.detach().cpu()
        if x.dtype == torch.bfloat16:
            x = x.float()
        if x.is_sparse or x.is_complex():
            raise DataError(
                f"x is a tensor of layout {x.layout} and type {x.dtype}.",
                remedy="Give a dense tensor of real numbers.",
            )
        return x.numpy()
    if isinstance(x, Mapping | str | bytes):
        raise DataError(
            f"x is a {type(x).__name__}, which is no data.",
            remedy="Give an array, a frame or a list; paths go to load().",
        )
    try:
        return np.asarray(x)
    except (ValueError, TypeError) as error:
        raise DataError(
            "x cannot be made into an array: its items differ in shape.",
            remedy="Give samples of one shape, or a list of series (L_i, C).",
        ) from error


def _from_pairs(pairs: Any) -> tuple[list[Any], list[Any] | None]:
    """The samples and labels of a map-style torch data set, item by item as its contract has it."""
    if isinstance(pairs, torch.utils.data.IterableDataset) or not hasattr(pairs, "__len__"):
        raise DataError(
            "x is a torch data set without a length.",
            remedy="Give one with __len__ and __getitem__, or arrays.",
        )
    xs: list[Any] = []
    ys: list[Any] = []
    for position in range(len(pairs)):
        item = pairs[position]
        if isinstance(item, tuple | list):
            if len(item) not in (1, 2):
                raise DataError(
                    f"item {position} of the torch data set has {len(item)} parts.",
                    remedy="Items are (x, y) or x.",
                )
            xs.append(item[0])
            ys.extend(item[1:])
        else:
            xs.append(item)
    if ys and len(ys) != len(xs):
        raise DataError(
            "some items of the torch data set have a label and some have none.",
            remedy="Give (x, -1) where there is no label.",
        )
    return [_to_numpy(item) for item in xs], ys or None


def _as_labels(y: Any) -> Any:
    """Labels from a frame of one column, and all else as it is."""
    if hasattr(y, "columns") and len(y.columns) == 1:
        return y[y.columns[0]].to_numpy()
    return y


def _relabelled(
    data: Dataset,
    y: Any,
    groups: Any,
    task: str | None,
    modality: Modality | None,
    target: str | None,
) -> Dataset:
    if modality not in (None, data.modality):
        raise ConfigError(
            f"{data.source} holds {data.modality}, not {modality}.", remedy="Leave modality out."
        )
    if groups is not None:
        data = replace(data, groups=group_codes(groups, len(data)))
    if target is not None:
        bare = Samples(data.modality, data.x, data.source, ids=data.ids)
        y = _labelled_by_file(bare, target).labels
    if y is None and task in (None, data.task.name):
        return data
    raw = raw_labels(data) if y is None else _as_labels(y)
    name = task or (None if data.task.name == Segmentation.name else data.task.name)
    labels, resolved = encode_samples(raw, name, data.x, data.source)
    return data.with_labels(labels, resolved)
