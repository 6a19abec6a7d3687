"""What is in memory already to a data set: arrays, tensors, frames, lists of series, torch data sets."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tacita.catalog import discover
from tacita.catalog.options import refuse, taken, taking
from tacita.data.dataset import Dataset
from tacita.data.reading import PathLike, Reading, ReadingOptions, Samples, Source
from tacita.errors import ConfigError, DataError
from tacita.modalities.choice import chosen
from tacita.modalities.finish import as_told, finish, of_steps
from tacita.modalities.labelling import Labelling
from tacita.modalities.readers.labels import LabelFile, group_codes, match
from tacita.modalities.readers.sources import (
    ArraySource,
    DatasetSource,
    ListSource,
    MemoryArrays,
    TableSource,
    is_frame,
    open_frame,
)
from tacita.tasks import encode, is_stepwise
from tacita.tasks.declared import Declared
from tacita.tasks.label_types import label_type_of


@taking(Reading)
def as_dataset(
    x: Any,
    y: Any = None,
    *,
    lengths: Any = None,
    groups: Any = None,
    weights: Any = None,
    **options: Unpack[ReadingOptions],
) -> Dataset:
    """A data set over arrays, tensors, frames, a list of series or texts, or a torch data set of `(x, y)`.

    2-D arrays are tables `(N, F)`, 3-D are series `(N, L, C)` or, as uint8, grey images `(N, H, W)`,
    4-D are images, 5-D volumes; `modality` overrides. `y (N,)` may miss labels: -1, NaN, None or "".
    Of volumes, `y (N, D, H, W)` may give a class to each voxel, of series with the task `sequence-labels` or
    `sequence-regression` `y (N, L)`, or a list of one array a series, a label to each step.
    `lengths (N,)` are those of series in one padded array, `groups (N,)` the subject of each sample,
    `weights (N,)` how much each label counts: see `Dataset.weighted`.

    `options` are those of `tacita.load`. Of a frame, `labels`, `group` and `weight` name columns; of all
    else, `labels` is a label file by row numbers from 0. A frame of one row a time step is read as series
    with `series_id` and `time`, one with a column `text` as texts.
    Nothing is written to; float32 and uint8 arrays are shared.

    >>> data = as_dataset([[1.0, 2.0], [3.0]], ["walk", None])
    >>> data.modality, data.lengths.tolist(), data.y.tolist()
    ('series', [2, 1], [0, -1])

    Raises `DataError` for what cannot be learnt from, `ConfigError` for measurements as classes.
    """
    reading, others = taken(Reading, options)
    refuse(as_dataset, others)
    return read_memory(x, y, reading, lengths=lengths, groups=groups, weights=weights)


def read_memory(
    x: Any,
    y: Any,
    reading: Reading,
    *,
    lengths: Any = None,
    groups: Any = None,
    weights: Any = None,
) -> Dataset:
    """What is in memory, with labels apart or not, as one data set."""
    if reading.modality is not None:
        discover.modality(reading.modality)
    if isinstance(x, Dataset):
        data = relabelled(x, reading, y, groups)
        return data if weights is None else data.weighted(weights)
    if isinstance(x, torch.utils.data.Dataset):
        x, pairs_y = _from_pairs(x)
        y = pairs_y if y is None else y
    source = open_memory(x, reading, lengths)
    labels = reading.labels
    if labels is not None and not isinstance(source, TableSource) and not os.path.isfile(labels):
        raise _no_label_file(labels, "samples")
    kind = chosen(source, reading)
    labelling = Labelling(source, kind, reading, None)
    (samples,) = kind.read(source, labelling.reading, None, None)
    samples = labelling.on(samples)
    labelling.close()
    if y is not None:
        samples = replace(samples, labels=_as_labels(y))
    if groups is not None:
        samples = replace(samples, groups=groups)
    doubt = kind.doubt(source, samples, reading)
    if weights is not None:
        samples = replace(samples, weights=weights)
    return finish(samples, reading, **labelling.origins, doubt=doubt)


def open_memory(x: Any, reading: Reading, lengths: Any = None) -> Source:
    """The source that something in memory is."""
    if isinstance(x, Dataset):
        return DatasetSource(x)
    if is_frame(x):
        return open_frame(x)
    if isinstance(x, list | tuple):
        if not len(x):
            raise DataError("x is an empty list.", remedy="Give at least one sample.")
        if all(isinstance(item, str) for item in x):
            return ListSource(x)
        if reading.modality in (None, "series") and lengths is None and _unequal(x):
            return ListSource(x)
    array = _to_numpy(x)
    if array.dtype.kind not in "biuf":
        raise DataError(
            f"array: x is of type {array.dtype}, not numbers.",
            remedy="Give numbers; a table with text goes in as a data frame or a .csv.",
        )
    return ArraySource(MemoryArrays(x=array, lengths=lengths), "array")


def relabelled(data: Dataset, reading: Reading, y: Any = None, groups: Any = None) -> Dataset:
    """Samples that were read already, under other labels or for another task."""
    if reading.modality not in (None, data.modality):
        raise ConfigError(
            f"{data.source} holds {data.modality}, not {reading.modality}.",
            remedy="Leave modality out.",
        )
    for argument in ("group", "weight"):
        if getattr(reading, argument) is not None:
            raise ConfigError(
                f"{argument}={getattr(reading, argument)!r}, but {data.source} has no columns.",
                remedy=f"Give {argument}s, one a sample, to as_dataset.",
            )
    if groups is not None:
        data = replace(data, groups=group_codes(groups, len(data)))
    if reading.labels is not None:
        if not os.path.isfile(reading.labels):
            raise _no_label_file(reading.labels, data.modality)
        names = Samples(data.samples, data.meta, data.source, ids=data.ids).names(0)
        file = LabelFile.read(Path(reading.labels))
        found = match(file, names, files=False)
        y = found.labels
        file.check_known([name for name in file.labels if name not in found.used], names[0])
    asked = reading.unlabelled_as or reading.as_class or reading.order
    if y is None and not asked and data.task.suits(reading.task):
        return data
    labels = raw_labels(data) if y is None else _as_labels(y)
    name = reading.task or (None if data.task.told_anew or reading.order else data.task.name)
    if is_stepwise(name):
        labels = of_steps(labels, data.samples, data.source, str(name))
    raw, words = as_told(labels, reading, data.source)
    targets, task = encode(raw, name, data.samples, data.source)
    data = replace(data, meta=data.meta.model_copy(update=words)) if asked else data
    return data.with_labels(targets, task)


def raw_labels(data: Dataset) -> Any:
    """The labels of a data set as its user wrote them, None where there is none."""
    known = data.labelled
    labels = iter(data.task.decode(data.targets[known]))
    raw = [next(labels) if each else None for each in known.tolist()]
    if data.task.codes(data.targets[known]) is None:
        return raw
    # What was found to be a class is one again, and keeps its order if it has one, and its type.
    texts = iter(data.task.texts(data.targets[known]))
    order = data.task.classes if data.task.ordered else ()
    declared = Declared.of([next(texts) if each else None for each in known.tolist()], order)
    return replace(declared, label_type=label_type_of(np.array(raw, object), declared.names))


def _no_label_file(labels: PathLike, what: str) -> ConfigError:
    return ConfigError(
        f"labels={str(labels)!r} is no file, and these {what} have no named columns.",
        remedy="Give the labels as y, or a label file with row numbers from 0.",
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
