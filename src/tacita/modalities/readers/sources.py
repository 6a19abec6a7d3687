"""What samples can be read from: a table, arrays, a folder, a file, a list, or a data set.

A source says what it holds without reading it, and gives it in pieces or whole. Which modality the
samples are of is not its business.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tacita.data.dataset import Dataset
from tacita.data.notes import Note
from tacita.data.reading import PathLike, Source
from tacita.errors import DataError
from tacita.modalities.readers.arrays import ArrayFile
from tacita.modalities.readers.files import (
    ARRAY_FILES,
    Entry,
    existing,
    is_table,
    scan,
    unknown_extension,
)
from tacita.modalities.readers.frames import (
    frame_table,
    is_frame,
    notes_on,
    read_table,
    stream_table,
)
from tacita.modalities.readers.packed import format_of, packing_of
from tacita.modalities.readers.rows import RowName, array_row, line, spreadsheet_row
from tacita.words import SHOWN

_LABELS = "labels"


class TableSource(Source):
    """Rows and named columns: a file, or a data frame."""

    what = "a table"

    def __init__(self, table: Path | pa.Table, name: str) -> None:
        self.name = name
        self._table = table

    @property
    def path(self) -> Path | None:
        """The file; None for a frame."""
        return self._table if isinstance(self._table, Path) else None

    @cached_property
    def whole(self) -> pa.Table:
        """All of it in memory."""
        return read_table(self._table) if isinstance(self._table, Path) else self._table

    @cached_property
    def column_names(self) -> list[str]:
        """Of the file's first rows; none where it has no row."""
        if not isinstance(self._table, Path):
            return list(self._table.column_names)
        with closing(stream_table(self._table, 1)) as pieces:
            first = next(pieces, None)
        return [] if first is None else list(first.column_names)

    def pieces(self, rows: int | None) -> Iterator[pa.Table]:
        """Consecutive tables of at most so many rows, one in memory at a time; None for the whole."""
        if rows is None:
            yield self.whole
        elif isinstance(self._table, Path):
            yield from stream_table(self._table, rows)
        else:
            table = self._table
            yield from (table.slice(start, rows) for start in range(0, len(table), rows))

    def row_name(self, start: int = 0) -> RowName:
        """What rows are called, from row `start` on: as a spreadsheet counts them, by line, or from 0."""
        table = self._table
        if not isinstance(table, Path) or packing_of(table) == ".zip":
            return array_row(start)
        named = {
            ".jsonl": line,
            **dict.fromkeys((".csv", ".tsv", ".txt", ".xlsx"), spreadsheet_row),
        }
        return named.get(format_of(table), array_row)(start)

    @cached_property
    def notes(self) -> tuple[Note, ...]:
        """How the file was understood, where its name does not say it."""
        return tuple(notes_on(self._table)) if isinstance(self._table, Path) else ()


class Header(Protocol):
    """What an array says of itself."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype[Any]: ...


class Arrays(Protocol):
    """Named arrays, of a file or in memory; `ArrayFile` says what each method gives."""

    @property
    def headers(self) -> Mapping[str, Header]: ...

    @property
    def main(self) -> str: ...

    def __contains__(self, name: str) -> bool: ...

    def read(self, name: str) -> NDArray[Any]: ...

    def numbers(self, name: str) -> NDArray[Any]: ...

    def per_sample(self, name: str) -> NDArray[Any]: ...

    def chunks(self, name: str, counts: Iterable[int]) -> Iterator[NDArray[Any]]: ...


class MemoryArrays:
    """Arrays in memory in the manner of a file's."""

    main = "x"

    def __init__(self, **arrays: Any) -> None:
        self.headers: dict[str, Any] = {k: v for k, v in arrays.items() if v is not None}

    def __contains__(self, name: str) -> bool:
        return name in self.headers

    def read(self, name: str) -> Any:
        """A whole array, as it was given."""
        return self.headers[name]

    numbers = per_sample = read

    def chunks(self, name: str, counts: Iterable[int]) -> Iterator[NDArray[Any]]:
        """The array's rows in order, so many at a time."""
        start = 0
        for count in counts:
            yield self.headers[name][start : start + count]
            start += count


@dataclass(frozen=True)
class Piece:
    """Some samples of an array: which they are, their values, and their lengths if they have any."""

    start: int
    stop: int
    x: NDArray[Any]
    lengths: Any


class ArraySource(Source):
    """Arrays: `x (N, ...)`, or `values` end to end with `lengths`; beside them whatever there is."""

    what = "an array"

    def __init__(self, arrays: Arrays, name: str) -> None:
        self.name = name
        self.arrays = arrays

    @property
    def ragged(self) -> bool:
        """Whether the samples lie end to end."""
        return "values" in self.arrays

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the array of the samples."""
        return tuple(self.arrays.headers[self._samples].shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the array of the samples."""
        return self.arrays.headers[self._samples].dtype

    @cached_property
    def lengths(self) -> Any:
        """As they are in the source, not yet checked; None where there are none."""
        return self.arrays.per_sample("lengths") if "lengths" in self.arrays else None

    @property
    def count(self) -> int:
        """How many samples there are."""
        if self.ragged:
            if self.lengths is None:
                raise DataError(
                    f"{self.name}: 'values' without 'lengths'.",
                    remedy="Save lengths (N,) beside values (sum of lengths, channels).",
                )
            return len(self.lengths)
        return self.shape[0] if self.shape else 0

    @property
    def _samples(self) -> str:
        return "values" if self.ragged else self.arrays.main

    def pieces(self, chunk: int | None) -> Iterator[Piece]:
        """At most `chunk` samples at a time; None for all, memory-mapped where the file allows.

        Raises `DataError` where the lengths of samples that lie end to end are not theirs.
        """
        if not self.ragged and (len(self.shape) < 2 or 0 in self.shape):
            raise DataError(
                f"{self.name}: x has shape {self.shape}, so there is nothing to learn from.",
                remedy="Give (N, F) for tables, (N, L, C) for series, (N, C, H, W) for images.",
            )
        lengths = self.lengths
        if chunk is None:
            yield Piece(0, self.count, self.arrays.numbers(self._samples), lengths)
            return
        stops = [min(start + chunk, self.count) for start in range(0, self.count, chunk)]
        starts = range(0, self.count, chunk)
        if self.ragged:
            ends = np.concatenate([[0], np.cumsum(lengths)])
            total = self.shape[:1]
            if total != (int(ends[-1]),):
                raise DataError(
                    f"{self.name}: the lengths sum to {int(ends[-1])}, but 'values' has shape"
                    f" {self.shape}.",
                    remedy="Give one length a series, in the order in which they lie.",
                )
            sizes = [int(ends[b] - ends[a]) for a, b in zip(starts, stops, strict=True)]
        else:
            sizes = [b - a for a, b in zip(starts, stops, strict=True)]
        blocks = self.arrays.chunks(self._samples, sizes)
        for start, stop, x in zip(starts, stops, blocks, strict=True):
            yield Piece(start, stop, x, None if lengths is None else lengths[start:stop])


class FolderSource(Source):
    """A folder of files; hidden ones and what leads out of it are left aside or refused."""

    what = "a folder"

    def __init__(self, path: Path, labels: PathLike | None = None) -> None:
        self.path = path
        self.name = str(path)
        given = labels is not None and self.label_folder(labels) is not None
        self._read: set[str] = set()
        self.label_file = None if given else self._label_file(labels)
        """The label file that was named (also by its name inside), or the folder's `labels.csv`."""

    @cached_property
    def entries(self) -> list[Entry]:
        """Every file below it but the label file, sorted by name."""
        aside = None if self.label_file is None else self.label_file.resolve()
        return scan(self.path, leave_out=aside)

    def has(self, endings: Iterable[str]) -> bool:
        """Whether there are files of some endings."""
        return bool(self._of(endings))

    def files(self, endings: Iterable[str]) -> list[Entry]:
        """The files of some endings, whatever their case, which are to be read."""
        found = self._of(endings)
        self._read.update(entry.name for entry in found)
        return found

    def passed_over(self) -> tuple[Note, ...]:
        """A note on the files that nobody asked for; none where all were."""
        rest = [entry for entry in self.entries if entry.name not in self._read]
        if not rest or not self._read:
            return ()
        endings = sorted({entry.path.suffix.lower() or "no ending" for entry in rest})
        more = ", ..." * (len(endings) > SHOWN)
        kinds = f"({', '.join(endings[:SHOWN])}{more})"
        what = (f"file is not read here {kinds}", f"files are not read here {kinds}")
        return (Note(what, len(rest), rest[0].name),)

    def _of(self, endings: Iterable[str]) -> list[Entry]:
        wanted = tuple(endings)
        return [entry for entry in self.entries if entry.path.name.lower().endswith(wanted)]

    def label_folder(self, labels: PathLike | None) -> Path | None:
        """The folder of labels that was named (also by its name inside), or the folder's `labels`."""
        named = [self.path / _LABELS] if labels is None else [self.path / labels, Path(labels)]
        return next((folder for folder in named if os.path.isdir(folder)), None)

    def _label_file(self, labels: PathLike | None) -> Path | None:
        if labels is None:
            found = self.path / f"{_LABELS}.csv"
            return found if os.path.isfile(found) else None
        if str(labels) == "folders":
            return None
        inside = self.path / labels
        return inside if os.path.isfile(inside) and not os.path.exists(labels) else existing(labels)


class OneFileSource(FolderSource):
    """A file that is one sample, as if it lay alone in a folder."""

    what = "a file"

    def __init__(self, path: Path, labels: PathLike | None = None) -> None:
        self.path = path
        self.name = str(path)
        self._read = set()
        self.label_file = None if labels is None else existing(labels)

    @cached_property
    def entries(self) -> list[Entry]:
        """The file itself."""
        return [Entry(self.path, self.path.name, None)]

    def label_folder(self, labels: PathLike | None) -> Path | None:
        """None: a folder of labels goes with a folder."""
        return None


class FileSource(Source):
    """A file of a format of its own."""

    what = "a file"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = str(path)


class ListSource(Source):
    """A list of samples in memory that no array can hold: series of unequal lengths, or texts."""

    what = "a list"

    def __init__(self, items: Sequence[Any], name: str = "list") -> None:
        self.items = items
        self.name = name


class DatasetSource(Source):
    """Samples that were read already."""

    what = "a data set"

    def __init__(self, data: Dataset) -> None:
        self.data = data
        self.name = data.source


def open_path(
    path: Path, formats: Iterable[str], labels: PathLike | None = None, alone: Iterable[str] = ()
) -> Source:
    """The source at a path that exists.

    formats: endings of files that a modality reads itself; alone: of files that are one sample each;
    labels: as in `tacita.load`.

    Raises `DataError` for a file of a type that nobody reads.
    """
    if path.is_dir():
        return FolderSource(path, labels)
    if not path.is_file():
        raise DataError(
            f"{path}: neither a file nor a folder.", remedy="Copy what it gives into a file."
        )
    name = path.name.lower()
    if name.endswith(tuple(alone)):
        return OneFileSource(path, labels)
    if is_table(path):
        return TableSource(path, str(path))
    if name.endswith(tuple(formats)):
        return FileSource(path)
    if path.suffix.lower() in ARRAY_FILES:
        return ArraySource(ArrayFile(path), str(path))
    raise unknown_extension(path)


def open_frame(frame: Any) -> TableSource:
    """A data frame or an Arrow table."""
    return TableSource(frame_table(frame), "data frame")


__all__ = [
    "ArraySource",
    "DatasetSource",
    "FileSource",
    "FolderSource",
    "ListSource",
    "MemoryArrays",
    "Piece",
    "TableSource",
    "is_frame",
    "open_frame",
    "open_path",
]
