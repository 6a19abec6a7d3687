"""Where labels, groups and weights come from: a column, an array, sub-folders, or a file of their own.

Found out once, before a sample is read; then each piece of samples gets its labels, at first and for a
model's further samples alike.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tacita.data.dataset import Schema
from tacita.data.modality import Modality
from tacita.data.notes import Note
from tacita.data.reading import Reading, Samples, Source
from tacita.errors import ConfigError, DataError
from tacita.modalities.readers.files import existing
from tacita.modalities.readers.labels import LabelFile, match, match_owners
from tacita.modalities.readers.sources import ArraySource, FolderSource, TableSource
from tacita.tasks import StepLabels, is_stepwise
from tacita.tasks.declared import Declared
from tacita.tasks.step_labels import steps_of
from tacita.words import nearest, plural

_FOLDERS = "folders"


class Labelling:
    """The labels, groups and weights of a source.

    reading: what the modality is told: `labels`, `group` and `weight` name columns of a table, or the
        folder of labels that are themselves samples.
    target, group, weight: the columns or arrays that they come from, for later readings.
    like: what a model learnt from, with the column that its further samples have their labels in.
    """

    def __init__(
        self,
        source: Source,
        modality: Modality,
        reading: Reading,
        like: Schema | None,
        *,
        hidden: bool = False,
    ) -> None:
        self.source = source
        self.modality = modality
        self.like = like
        self.hidden = hidden
        self.file: LabelFile | None = None
        self.target: str | None = None
        self.group: str | None = None
        self.weight: str | None = None
        self._labels: Any = None
        self._weights: Any = None
        self._groups: Any = None
        self._used: set[str] = set()
        self._example = ""
        self._start = 0
        if like is not None and reading.labels is not None:
            known = str(reading.labels) == like.meta.target and not os.path.exists(reading.labels)
            reading = replace(reading, labels=None) if known else reading
        self._stepwise = is_stepwise(reading.task) if like is None else like.task.stepwise
        told, told_aside = reading.labels, {"group": reading.group, "weight": reading.weight}
        if isinstance(source, TableSource):
            reading = self._of_table(source, reading)
        elif isinstance(source, ArraySource):
            reading = self._of_arrays(source, reading)
        elif isinstance(source, FolderSource):
            reading = self._of_folder(source, reading)
        elif reading.labels is not None:
            self.file = LabelFile.read(existing(reading.labels), reading.group, reading.weight)
            reading = replace(reading, labels=None)
        self.told = told
        if self.file is not None and self._stepwise:
            raise ConfigError(
                f"{self.file.path}: has one label a series, and every step needs its own.",
                remedy="Name a column of a long table with --labels, or give y (N, L) in a .npz.",
            )
        if isinstance(source, FolderSource) and self.file is not None:
            self.file.check_inside()
        if like is None:
            for argument, name in told_aside.items():
                self._check_aside(argument, name)
        self.reading = reading

    @property
    def origins(self) -> dict[str, str | None]:
        """The columns or arrays that labels, groups and weights come from."""
        return {"target": self.target, "group": self.group, "weight": self.weight}

    def on(self, samples: Samples) -> Samples:
        """The next piece of samples with its labels and groups."""
        names = samples.names(self._start)
        self._example = self._example or (samples.owners or names)[0]
        if isinstance(self.source, FolderSource) and not self._start:
            samples = replace(samples, notes=(*samples.notes, *self.source.passed_over()))
        part = slice(self._start, self._start + len(samples))
        self._start = part.stop
        if self.hidden:
            return replace(samples, labels=None)
        if isinstance(self._labels, StepLabels):
            steps = self._labels[part]
            if samples.at is not None:
                lengths, _ = steps_of(samples.values, samples.source, "a label a step")
                steps = steps.moved(lengths, samples.at)
            samples = replace(samples, labels=steps)
        elif self._labels is not None:
            samples = replace(samples, labels=self._labels[part])
        if self._groups is not None:
            samples = replace(samples, groups=self._groups[part])
        if self._weights is not None:
            samples = replace(samples, weights=self._weights[part])
        if isinstance(self.source, FolderSource) and not self._stepwise:
            samples = self._sorted_into_folders(self.source, samples)
        if self.file is None:
            return samples
        files = isinstance(self.source, FolderSource)
        matched = match_owners if samples.owners else match
        found = matched(self.file, samples.owners or names, files=files)
        again = sorted(self._used & found.used)
        if again:
            raise DataError(
                f"{self.file.path}: the id {again[0]!r} fits more than one sample.",
                remedy="Give every sample an id of its own.",
            )
        self._used |= found.used | _known_by(samples.skipped, self.file.labels)
        samples = replace(samples, labels=found.labels)
        if self.file.groups:
            samples = replace(samples, groups=found.groups)
        return replace(samples, weights=found.weights) if self.file.weights else samples

    def close(self) -> None:
        """Raises `DataError` for a source without samples, and for labels of samples that are not there."""
        if not self._start:
            raise DataError(
                f"{self.source.name}: there are no samples.", remedy="Give at least one."
            )
        if self.file is not None:
            unused = [name for name in self.file.labels if name not in self._used]
            self.file.check_known(unused, self._example)

    def _of_table(self, source: TableSource, reading: Reading) -> Reading:
        if self.like is not None:
            meta = self.like.meta
            if reading.labels is not None and str(reading.labels) in source.column_names:
                # The model's own labels came from elsewhere, or from a column of another name.
                meta = meta.model_copy(update={"target": str(reading.labels)})
                self.like = replace(self.like, meta=meta)
            elif reading.labels is not None:
                self.file = LabelFile.read(existing(reading.labels))
            return replace(reading, labels=meta.target, group=meta.group, weight=meta.weight)
        columns = source.whole.column_names
        labels, group, weight = reading.labels, reading.group, reading.weight
        if labels is not None and str(labels) not in columns and os.path.isfile(labels):
            aside = (None if name in columns else name for name in (group, weight))
            self.file = LabelFile.read(Path(labels), *aside)
            group = None if self.file.group else group
            weight = None if self.file.weight else weight
            labels = None
        self.target = None if labels is None else str(labels)
        self.group, self.weight = group, weight
        return replace(reading, labels=self.target, group=group, weight=weight)

    def _of_arrays(self, source: ArraySource, reading: Reading) -> Reading:
        arrays, labels = source.arrays, reading.labels
        self.target = "y" if "y" in arrays else None
        if self.like is not None:
            known = self.like.meta.target
            if labels is not None and _may_be_labels(source, str(labels)):
                known = str(labels)
            elif labels is not None:
                self.file = LabelFile.read(existing(labels))
            self.target = known if known is not None and known in arrays else self.target
        elif labels is not None:
            if _may_be_labels(source, str(labels)):
                self.target = str(labels)
            elif os.path.isfile(labels):
                self.file = LabelFile.read(Path(labels), reading.group, reading.weight)
            else:
                raise _no_array(source, str(labels), "labels")
        if self.like is None:
            self.group = "groups" if "groups" in arrays else None
            if reading.group is not None and not (self.file and self.file.group):
                if reading.group not in arrays:
                    raise _no_array(source, reading.group, "group")
                self.group = reading.group
            if self.group is not None:
                self._groups = arrays.per_sample(self.group)
            if reading.weight is not None and not (self.file and self.file.weight):
                if reading.weight not in arrays:
                    raise _no_array(source, reading.weight, "weight")
                self.weight = reading.weight
                self._weights = arrays.per_sample(self.weight)
        if self.target is not None:
            if self._stepwise:
                self._labels = self._of_steps(source, arrays.read(self.target))
                return replace(reading, labels=None, group=None, weight=None)
            dense = self.modality.dense_labels
            read = arrays.read if dense else arrays.per_sample
            self._labels = read(self.target)
            if len(self._labels) != source.count:
                raise DataError(
                    f"{source.name}: {len(self._labels)} labels but {source.count} samples.",
                    remedy="Give one label a sample (-1, NaN or None where there is none).",
                )
        return replace(reading, labels=None, group=None, weight=None)

    def _of_steps(self, source: ArraySource, raw: Any) -> StepLabels:
        """A label a step, of series in one padded array or end to end."""
        known = source.lengths
        if known is None:
            known, longest = np.full(source.count, source.shape[1]), source.shape[1]
        else:
            known = np.asarray(known, np.int64)
            longest = int(known.max(initial=0)) if source.ragged else source.shape[1]
        return StepLabels.of(raw, known, longest, source.name)

    def _of_folder(self, source: FolderSource, reading: Reading) -> Reading:
        labels = reading.labels
        if self._stepwise:  # a column of every file
            known = self.like.meta.target if self.like is not None else None
            self.target = known if labels is None else str(labels)
            self.group, self.weight = reading.group, reading.weight
            return replace(reading, labels=self.target)
        folder = source.label_folder(labels)
        if folder is not None and (self.modality.dense_labels or labels is not None):
            if not self.modality.dense_labels:
                raise ConfigError(
                    f"labels={str(labels)!r} is a folder, but {source.name} holds"
                    f" {self.modality.card.name}.",
                    remedy="Give a label file; a folder of labels goes with a folder of volumes.",
                )
            return replace(reading, labels=folder, group=None, weight=None)
        # A model's samples are not labelled by the file that lies beside them, unless it is named.
        if source.label_file is not None and (self.like is None or labels is not None):
            self.file = LabelFile.read(source.label_file, reading.group, reading.weight)
            self.group, self.weight = self.file.group, self.file.weight
        return replace(reading, labels=None, group=None, weight=None)

    def _sorted_into_folders(self, source: FolderSource, samples: Samples) -> Samples:
        """Labels by the sub-folders that the files lie in, where they are taken from there."""
        if samples.labels is None or self.modality.dense_labels:
            if str(self.told) == _FOLDERS and self.like is None:
                raise _no_folders(source)
            return samples
        if self.like is not None:
            # Folders that are no classes of the model merely sort the files.
            classes = {entry.label for entry in source.entries if entry.label is not None}
            taken = not classes.isdisjoint(self.like.task.answers)
        else:
            folders = {label for label in samples.labels if label is not None}
            if str(self.told) == _FOLDERS and not folders:
                raise _no_folders(source)
            if folders and self.file is not None:
                said = Note(
                    f"labels are those of {self.file.path.name}, not the names of"
                    f" {plural(len(folders), 'sub-folder')}, which labels='folders'"
                    " (--labels folders) takes"
                )
                return replace(samples, notes=(*samples.notes, said))
            taken = bool(folders)
        # The name of a folder is a class, even where the word would mean "no label" in a column.
        return replace(samples, labels=Declared.of(samples.labels) if taken else None)

    def _check_aside(self, argument: str, name: str | None) -> None:
        """Raises `ConfigError` for a group or weight that neither the source nor a label file has."""
        if name is None or self._stepwise or isinstance(self.source, TableSource | ArraySource):
            return  # The column or array is looked for where it is read.
        if self.file is None:
            raise ConfigError(
                f"{argument}={name!r}, but {self.source.name} has no columns.",
                remedy="Give a label file with a column of that name.",
            )
        if getattr(self.file, argument) is None:
            raise ConfigError(
                f"{argument}={name!r} is not a column of {self.file.path}.",
                remedy="Name a column of the label file.",
            )


def _may_be_labels(source: ArraySource, name: str) -> bool:
    return name in source.arrays and name not in ("x", "values")


def _known_by(names: Sequence[str], labels: Mapping[str, str | None]) -> set[str]:
    """The ids in a label file of samples that were passed over."""
    aliases = {*names, *(name.rpartition("/")[2] for name in names)}
    return aliases & set(labels)


def _no_folders(source: Source) -> DataError:
    return DataError(
        f"{source.name}: there are no class sub-folders.",
        remedy="Put the files into one sub-folder a class, or give a label file.",
    )


def _no_array(source: ArraySource, name: str, argument: str) -> ConfigError:
    near = nearest(name, source.arrays.headers)
    return ConfigError(
        f"{argument}={name!r} is neither an array of {source.name} nor a file.",
        remedy=f"Did you mean {near!r}?"
        if near
        else f"Arrays: {', '.join(source.arrays.headers)}.",
    )
