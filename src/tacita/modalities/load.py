"""The one way by which anything is read: a source, its modality, its labels, and a data set.

First data, and later a model's further samples, whole or in pieces, go the same way; the latter are
`like` what the model learnt from.

Formats: `.csv` `.tsv` `.parquet` `.jsonl` tables (of rows, or one series a row with
`modality="series"`, or texts with `text`); `.npz` with `x`, or `values` end to end, and optionally `y`,
`lengths`, `groups`, `time`; `.npy`; `.ts`; tables of one row a time step, with `series_id`; folders of
images, of texts, or of one file a series, with class sub-folders or a label file (`labels.csv` in the
folder is found); folders and zips of an E4's sessions; folders of NIfTI volumes, with a folder of label
volumes of the same names (`labels` inside is found). 2-D arrays are tables, 3-D are series `(N, L, C)`
or, as uint8, grey images `(N, H, W)`; 4-D are images, 5-D are volumes.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Unpack

import torch

from tacita.catalog import discover
from tacita.catalog.options import refuse, taken, taking
from tacita.data.dataset import Dataset, Schema
from tacita.data.modality import find
from tacita.data.notes import Note, ReadingWarning, merged
from tacita.data.reading import (
    Missing,
    PathLike,
    Reading,
    ReadingOptions,
    Samples,
    Source,
)
from tacita.errors import ConfigError, DataError
from tacita.modalities.builtin import BUILTIN, load_builtin
from tacita.modalities.choice import check_options, chosen
from tacita.modalities.finish import finish, finish_like
from tacita.modalities.labelling import Labelling
from tacita.modalities.memory import as_dataset, open_memory, raw_labels, relabelled
from tacita.modalities.readers.files import TABLE_FILES, existing
from tacita.modalities.readers.sources import DatasetSource, open_path
from tacita.modalities.readers.standard_input import NAME, kept_input
from tacita.tasks import is_stepwise


@taking(Reading)
def load(source: PathLike, **options: Unpack[ReadingOptions]) -> Dataset:
    """Read a file, a folder, or a built-in data set by name (a path that exists wins).

    labels: a label file (an id and a label a line; ids are file names or stems, row numbers from
        0, or values of the id column), the name of a column or array, "folders", or for volumes a
        folder of label volumes. Missing labels are NaN, None, empty, and among whole numbers -1.
    unlabelled_as: words that mean that there is no label, such as "NA"; else every word is a class.
    as_class: words that are classes though they may look like no label, such as "none" or "-1".
    order: the classes from the lowest to the highest, which makes them ordinal: "low,medium,high".
    task: what the labels are; by default told from them.
    group: the column or array that names the subject of each sample.
    weight: the column or array of how much each sample's label counts in learning, by the ratios: 0 leaves
        the sample out, and scores count every sample the same.
    missing: "refuse", or "impute" (tables: mean, or a category "missing"; series: interpolation, of forecasts
        the value before).
    modality: what the samples are; by default told from the data.
    image_size: side in pixels that image files are read in; default from the files, at most 96.
    series_id: the column of a table with one row a time step that says which series a row belongs to.
    time: its column of times (of a `.npz`: the array; `time` is found), by which rows are sorted.
        Series whose times are irregular are interpolated at the median step of the data set.
    text: the column of a table that holds texts to learn from.
    tokeniser: of texts: "words" (the default), "bytes", "bpe", a folder with a transformers tokeniser, or
        the folder of a model of texts, to read as it does.
    ignore: columns of a table that are left out; categorical: those whose values are categories,
        though they look like numbers, dates or free text; numeric: those whose values are numbers. A list
        of names, or one text with commas between them.
    decimal: the sign before the fraction in a table's cells, "." or ",", where they do not tell it.
    id_column: the column that names the rows; by default one called `id`.
    horizon: steps to forecast of every series, from a table of one row a time step (or any series): `labels`
        names the column that is forecast, else every number is. Rows at the end whose target is empty
        are to come.
    season: steps after which the series repeat themselves; by default told from the times: hours 24, days 7,
        weekdays 5, weeks 52, months 12, else none. context: steps that a model sees at most.
    known_ahead: columns that are known for the steps to come, such as prices that were set: a,b.
    calendar: "rows" takes rows as they follow one another, whatever their times; by default these tell it.
    resample_labels: label volumes that lie elsewhere than their volume by their headers are resampled
        onto it, each voxel's label the nearest; otherwise they are refused.

    Raises `DataError` for whatever cannot be learnt from, naming the place; `ConfigError` for options.

    >>> load("digits").spec.shape
    (1, 8, 8)
    """
    reading, others = taken(Reading, options)
    refuse(load, others)
    return read_path(source, reading)


def read_path(source: PathLike, reading: Reading) -> Dataset:
    """A file, a folder or a built-in set as one data set."""
    if reading.modality is not None:
        discover.modality(reading.modality)
    return read(open_source(source, reading), reading)


def open_source(source: PathLike, reading: Reading) -> Source:
    """The source that a path or the name of a built-in set stands for."""
    if isinstance(source, str) and source in BUILTIN and not os.path.exists(source):
        data, _ = load_builtin(source)
        return DatasetSource(data)
    path = kept_input() if str(source) == NAME else existing(source, also=BUILTIN)
    # Labels of steps are a column of every file of a folder, and no file beside them.
    labels = None if is_stepwise(reading.task) else reading.labels
    return open_path(path, _formats(), labels, _alone(reading.modality))


def read(source: Source, reading: Reading) -> Dataset:
    """A source as one data set."""
    if isinstance(source, DatasetSource):
        data = source.data
        check_options(source, data.kind, reading)
        for name in ("group", "weight"):
            if getattr(reading, name) is not None:
                raise ConfigError(
                    f"{name}={getattr(reading, name)!r}, but the built-in {source.name} has no {name}s.",
                    remedy="Leave it out.",
                )
        return relabelled(data.kind.as_read(data, reading), reading)
    modality = chosen(source, reading)
    labelling = Labelling(source, modality, reading, None)
    pieces = [labelling.on(p) for p in modality.read(source, labelling.reading, None, None)]
    labelling.close()
    assert len(pieces) == 1, f"{modality.card.name} was asked for the whole and gave pieces"
    samples = replace(pieces[0], notes=(*source.notes, *pieces[0].notes))
    doubt = modality.doubt(source, samples, reading)
    return finish(samples, reading, **labelling.origins, doubt=doubt)


def read_like(
    source: Any,
    schema: Schema,
    *,
    chunk: int = 4096,
    missing: Missing | None = None,
    labels: PathLike | None = None,
    hide_labels: bool = False,
    strict: bool = False,
) -> Iterator[Dataset]:
    """Read further samples for a model, piece by piece: encoded by its schema, at most `chunk` at a time.

    `source`: a path in any format of `load`, an array, a frame, or a list of series. Columns are
    matched by name; labels, where there are any, are decoded by the model's classes; `labels` is a
    label file, the label column of the training data, or for volumes a folder of label volumes.
    `hide_labels`: labels are not looked at, so that they may be of other classes.
    Volumes in files come one at a time, at the spacing of the training data and each of its own size.
    What had to be done to them, such as taking values that were never seen in training for none of the
    known, is told at the end, in a `ReadingWarning` each; with `strict` it is an error at once.

    Raises `DataError` for what the model cannot take, naming the row and the column.
    """
    if chunk < 1:
        raise ConfigError(f"chunk={chunk} is too small.", remedy="Give at least 1.")
    meta, modality = schema.meta, schema.kind
    reading = Reading(
        labels=labels,
        group=meta.group,
        weight=meta.weight,
        missing=missing or meta.missing,
        modality=meta.modality,
        unlabelled_as=meta.unlabelled_as,
        as_class=meta.as_class,
    )
    if isinstance(source, str | os.PathLike):
        opened = open_source(source, reading)
    else:
        opened = open_memory(source, reading)
    labelling = Labelling(opened, modality, reading, schema, hidden=hide_labels)
    start, notes = 0, list[Note]()
    for samples in pieces_like(opened, labelling.reading, labelling.like or schema, chunk):
        if strict and samples.notes:
            raise DataError(
                f"{opened.name}: {samples.notes[0]}.",
                remedy="Mend it, or go on with a warning by leaving out strict (--strict).",
            )
        names = samples.names(start)
        labelled = labelling.on(samples)
        yield finish_like(labelled, schema, start, names)
        start += len(samples)
        notes += labelled.notes
    labelling.close()
    for note in merged(notes):
        warnings.warn(f"{opened.name}: {note}", ReadingWarning, stacklevel=2)


def pieces_like(source: Source, reading: Reading, schema: Schema, chunk: int) -> Iterator[Samples]:
    """Samples in the form that a model knows, without labels from elsewhere."""
    modality = schema.kind
    if isinstance(source, DatasetSource):
        data = source.data
        if data.modality != schema.meta.modality:
            raise wrong_modality(source.name, data.modality, schema)
        pieces = _of_dataset(data, chunk)
    else:
        pieces = modality.read(source, reading, schema, chunk)
    return (modality.conform(samples, schema) for samples in pieces)


def wrong_modality(source: str, what: str, schema: Schema) -> DataError:
    """The error for samples of another kind than the model's."""
    return DataError(
        f"{source}: this is {what}, but the model was trained on {schema.meta.modality}.",
        remedy="Give the same kind of data.",
    )


def _of_dataset(data: Dataset, chunk: int) -> Iterator[Samples]:
    for start in range(0, len(data), chunk):
        part = data.subset(torch.arange(start, min(start + chunk, len(data))))
        labels = raw_labels(part) if bool(part.labelled.any()) else None
        yield Samples(part.samples, part.meta, part.source, labels=labels, ids=part.ids)


def _formats() -> list[str]:
    """The endings of the files that modalities read by themselves."""
    return [ending for name in discover.modalities() for ending in find(name).formats]


def _alone(modality: str | None) -> list[str]:
    """The endings of files that are one sample: of a modality, or those that cannot be a table as well."""
    if modality is not None:
        return list(find(modality).alone)
    every = [ending for name in discover.modalities() for ending in find(name).alone]
    return [ending for ending in every if ending not in TABLE_FILES]


__all__ = ["as_dataset", "load", "open_source", "read", "read_like", "read_path"]
