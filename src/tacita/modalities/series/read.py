"""Series: padding, lengths, missing values, and the formats that hold them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from tacita.data.notes import Note, merged
from tacita.data.reading import Missing, Samples
from tacita.errors import DataError
from tacita.modalities.readers.arrays import ArrayFile
from tacita.modalities.readers.columns import (
    parse_numbers,
)
from tacita.modalities.readers.files import ARRAY_FILES, Entry
from tacita.modalities.readers.frames import read_table
from tacita.modalities.readers.numbers import Written, with_numbers
from tacita.modalities.readers.rows import spreadsheet_row
from tacita.modalities.readers.values import (
    check_finite,
    to_floats,
    to_tensor,
)
from tacita.modalities.series.meta import SeriesMeta, series_samples
from tacita.modalities.series.sampling import on_grid
from tacita.values import Ragged, Values, as_tensor, full, lengths_of

_BLOCK = 2**20


def series_array(
    x: NDArray[Any], lengths: Any, *, missing: Missing, source: str, start: int = 0
) -> Samples:
    """`(N, L, C)` or `(N, L)` numbers, with `lengths (N,)` where they are unequal."""
    x = x[:, :, None] if x.ndim == 2 else x
    if x.ndim != 3 or not x.size:
        raise DataError(
            f"{source}: series of shape {x.shape}; (samples, length, channels) is needed.",
            remedy="Reshape the array to (N, L, C), or (N, L) for one channel.",
        )

    def place(index: tuple[int, ...]) -> str:
        return f"sample {start + index[0]}, position {index[1]}, channel {index[2]}"

    values = to_floats(x, source, place)
    known: NDArray[np.int64] | None = None
    if lengths is not None:
        known = check_lengths(lengths, len(x), x.shape[1], source)
        valid = np.arange(x.shape[1]) < known[:, None]
        if not _is_padded(values, valid):
            values = np.where(valid[:, :, None], values, np.float32(0))
    if check_finite(values, source, place, missing=missing):
        values = interpolate(values, known, source, start)
    equal = known is None or bool((known == x.shape[1]).all())
    lengths = None if known is None or equal else torch.from_numpy(known)
    return series_samples(to_tensor(values), lengths, source)


def ragged_series(
    values: NDArray[Any], lengths: Any, *, missing: Missing, source: str, start: int = 0
) -> Samples:
    """Series laid end to end: `values (sum of lengths, C)` and `lengths (N,)`."""
    values = values[:, None] if values.ndim == 1 else values
    if values.ndim != 2 or not values.shape[1]:
        raise DataError(
            f"{source}: 'values' has shape {values.shape}; (sum of lengths, channels) is needed.",
            remedy="Lay the series end to end along the first axis.",
        )
    known = check_lengths(lengths, None, None, source)
    if int(known.sum()) != len(values):
        raise DataError(
            f"{source}: the lengths sum to {int(known.sum())}, but there are {len(values)} values.",
            remedy="Give one length a series, in the order in which they lie.",
        )

    def place(index: tuple[int, ...]) -> str:
        sample = int(np.searchsorted(np.cumsum(known), index[0], side="right"))
        position = index[0] - int(known[:sample].sum())
        return f"sample {start + sample}, position {position}, channel {index[1]}"

    flat = to_floats(values, source, place)
    if bool((known == known[0]).all()):
        x = flat.reshape(len(known), int(known[0]), -1)
        return series_array(x, known, missing=missing, source=source, start=start)
    if check_finite(flat, source, place, missing=missing):
        flat = flat.copy()
        ends = np.cumsum(known)
        for sample in np.unique(
            np.searchsorted(ends, np.flatnonzero(np.isnan(flat).any(1)), "right")
        ):
            part = slice(int(ends[sample] - known[sample]), int(ends[sample]))
            flat[part] = interpolate(flat[None, part], None, source, start + int(sample))[0]
    return Samples(
        ragged := Ragged(to_tensor(flat), torch.from_numpy(known)), SeriesMeta.of(ragged), source
    )


def series_list(items: Sequence[Any], *, missing: Missing, source: str) -> Samples:
    """A list of arrays `(L_i, C)` or `(L_i,)` of unequal lengths."""
    arrays = [_one_series(item, position, source) for position, item in enumerate(items)]
    channels = arrays[0].shape[1]
    for position, array in enumerate(arrays):
        if array.shape[1] != channels:
            raise DataError(
                f"{source}: series {position} has {array.shape[1]} channels, series 0 has {channels}.",
                remedy="Every series is (length, channels) with the same channels.",
            )
    lengths = np.array([len(array) for array in arrays])
    return ragged_series(np.concatenate(arrays), lengths, missing=missing, source=source)


def series_files(
    entries: Sequence[Entry],
    *,
    columns: tuple[str, ...] | None,
    missing: Missing,
    source: str,
    start: int = 0,
    written: Written | None = None,
) -> Samples:
    """One table or `.npy` a series; its columns are the channels, the same in every file.

    written: how numbers are written, as it was told; else the first file tells it.
    """
    how, known = written or Written(), False
    notes: list[Note] = []

    def one(entry: Entry) -> tuple[tuple[str, ...], NDArray[np.floating[Any]]]:
        nonlocal how
        if entry.path.suffix.lower() in ARRAY_FILES:
            return _array_series(entry, missing)
        table, found, said = with_numbers(
            read_table(entry.path),
            written=how,
            known=known,
            missing=missing,
            source=str(entry.path),
            row_name=spreadsheet_row(),
        )
        how = how if known else found
        notes.extend(said)
        names = columns or tuple(table.column_names)
        absent = [name for name in names if name not in table.column_names]
        if absent:
            raise DataError(
                f"{entry.path}: there is no channel {absent[0]!r}.",
                remedy="Every file of the folder needs the same header.",
            )
        return names, np.stack(
            [_channel(table[name], name, str(entry.path), missing) for name in names], 1
        )

    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        first = one(entries[0])
        known = True
        read = [first, *pool.map(one, entries[1:])]
    names = read[0][0]
    for entry, (found, _) in zip(entries, read, strict=True):
        if found != names:
            raise DataError(
                f"{entry.path}: the channels are {', '.join(found[:5])}, those of"
                f" {entries[0].name} are {', '.join(names[:5])}.",
                remedy="Every file of the folder needs the same header.",
            )
    arrays = [array for _, array in read]
    for entry, array in zip(entries, arrays, strict=True):
        if array.shape[1] != arrays[0].shape[1]:
            raise DataError(
                f"{entry.path}: {array.shape[1]} channels, {entries[0].name} has"
                f" {arrays[0].shape[1]}.",
                remedy="Every file of the folder needs the same channels.",
            )
    lengths = np.array([len(array) for array in arrays])
    data = ragged_series(
        np.concatenate(arrays), lengths, missing=missing, source=source, start=start
    )
    return replace(
        data,
        meta=data.meta.model_copy(
            update={"columns": names, "decimal": how.decimal, "marks": dict(how.marks)}
        ),
        notes=merged((*data.notes, *notes)),
        ids=tuple(entry.name for entry in entries),
        labels=[entry.label for entry in entries],
    )


def timed_series(
    samples: Samples, times: NDArray[Any], name: str, *, step: float | None = None, start: int = 0
) -> Samples:
    """Series with the time of each value, `(N, L)` or end to end, onto a regular grid if need be."""
    x, known = as_tensor(samples.values), lengths_of(samples.values)
    count, longest = x.shape[:2]
    lengths = np.full(count, longest) if known is None else known.numpy()
    valid = np.arange(longest) < lengths[:, None]
    if times.shape not in ((count, longest), (int(lengths.sum()),)):
        raise DataError(
            f"{samples.source}: {name!r} has shape {times.shape}, the series have {(count, longest)}.",
            remedy="Give one time a value.",
        )
    sample, position = np.nonzero(valid)
    flat = (times[valid] if times.ndim > 1 else times).astype(np.float64)
    grid = on_grid(
        x.numpy()[valid],
        lengths,
        flat,
        step=step,
        source=samples.source,
        place=lambda at: f"sample {start + sample[at]}, position {position[at]}",
    )
    if grid.resampled:
        data = ragged_series(
            grid.values, grid.lengths, missing="refuse", source=samples.source, start=start
        )
        samples = replace(samples, values=data.values, meta=samples.meta.like(data.values))
    timed = {"time": name, "step": grid.step, "resampled": grid.resampled, "gaps": grid.gaps}
    starts = flat[np.cumsum(lengths) - lengths]
    meta = samples.meta.model_copy(update=timed)
    return replace(samples, meta=meta, at=grid.at, starts=starts)


def fit_to(samples: Values, length: int) -> Values:
    """Series padded to this length, or as far as the longest goes; without lengths where all go so far.

    So a piece is padded as the whole is, whatever width its source had.
    """
    ragged = full(samples) if isinstance(samples, Tensor) else samples
    assert isinstance(ragged, Ragged)
    longest = max(length, int(ragged.lengths.max())) if len(ragged) else length
    if longest > ragged.longest:
        ragged = ragged.widened(longest)
    elif longest < ragged.longest:
        ragged = Ragged.of(ragged.padded[:, :longest], ragged.lengths)
    return ragged.padded if bool((ragged.lengths == longest).all()) else ragged


def check_lengths(
    lengths: Any, count: int | None, longest: int | None, source: str
) -> NDArray[np.int64]:
    """Lengths as `(N,)` int64, each between 1 and the padded length."""
    if isinstance(lengths, Tensor):
        lengths = lengths.detach().cpu().numpy()
    try:
        array = np.asarray(lengths)
    except ValueError:
        array = np.empty((0, 0))
    if array.dtype.kind not in "iu" or array.ndim != 1 or not len(array):
        raise DataError(
            f"{source}: lengths of type {array.dtype} and shape {array.shape}.",
            remedy="Give one whole number a series, as shape (N,).",
        )
    if count is not None and len(array) != count:
        raise DataError(
            f"{source}: {len(array)} lengths but {count} series.",
            remedy="Give one length a series.",
        )
    wrong = array < 1
    if longest is not None:
        wrong |= array > longest
    if wrong.any():
        bad = int(wrong.argmax())
        bound = "at least 1" if longest is None else f"between 1 and {longest}"
        raise DataError(
            f"{source}: the length of sample {bad} is {array[bad]}.", remedy=f"Give {bound}."
        )
    if int(array.max()) > 2**40 or len(array) > 2**40:
        raise DataError(f"{source}: a length beyond any memory.", remedy="Check the lengths.")
    return array.astype(np.int64)


def interpolate(
    x: NDArray[np.floating[Any]], lengths: NDArray[np.int64] | None, source: str, start: int = 0
) -> NDArray[np.floating[Any]]:
    """Missing values filled linearly along each channel; before the first and after the last, held.

    >>> x = np.array([[[np.nan], [1.0], [np.nan], [3.0], [np.nan]]], np.float32)
    >>> interpolate(x, None, "example")[0, :, 0].tolist()
    [1.0, 1.0, 2.0, 3.0, 3.0]
    """
    out = x.copy()
    samples = max(1, _BLOCK // x[0].size)
    for first in range(0, len(x), samples):
        block = slice(first, first + samples)
        ends = None if lengths is None else lengths[block]
        _fill(out[block], ends, source, start + first)
    return out


def _fill(
    x: NDArray[np.floating[Any]], lengths: NDArray[np.int64] | None, source: str, start: int
) -> None:
    """`interpolate`, in place."""
    sample, channel = np.nonzero(np.isnan(x).any(1))
    if not len(sample):
        return
    rows = x[sample, :, channel]
    length = rows.shape[1]
    position = np.arange(length, dtype=np.int32)
    filled = ~np.isnan(rows)
    if lengths is not None:
        filled &= position < lengths[sample, None]
    if not filled.any(1).all():
        empty = int((~filled.any(1)).argmax())
        raise DataError(
            f"{source}: channel {channel[empty]} of sample {start + sample[empty]} has no value at"
            " all, so nothing can be interpolated.",
            remedy="Leave the sample out, or fill the channel in.",
        )
    before = np.maximum.accumulate(np.where(filled, position, np.int32(-1)), 1)
    after = np.where(filled, position, np.int32(length))
    after = np.minimum.accumulate(after[:, ::-1], 1)[:, ::-1]
    before, after = np.where(before < 0, after, before), np.where(after == length, before, after)
    left = np.take_along_axis(rows, before, 1).astype(np.float64)
    right = np.take_along_axis(rows, after, 1).astype(np.float64)
    share = (position - before) / np.maximum(after - before, 1)
    done = np.where(filled, rows, left + share * (right - left)).astype(x.dtype)
    if lengths is not None:
        done = np.where(position < lengths[sample, None], done, np.float32(0))
    x[sample, :, channel] = done


def _is_padded(values: NDArray[np.floating[Any]], valid: NDArray[np.bool_]) -> bool:
    """Whether all values beyond the lengths are zero; looked at in blocks."""
    rows = max(1, _BLOCK // values[0].size)
    return not any(
        (values[at : at + rows][~valid[at : at + rows]] != 0).any()
        for at in range(0, len(values), rows)
    )


def _array_series(
    entry: Entry, missing: Missing
) -> tuple[tuple[str, ...], NDArray[np.floating[Any]]]:
    arrays = ArrayFile(entry.path)
    values = arrays.numbers(arrays.main)
    values = values[:, None] if values.ndim == 1 else values
    source = str(entry.path)
    if values.ndim != 2:
        raise DataError(
            f"{source}: an array of shape {values.shape}; (length, channels) is needed.",
            remedy="Save one series a file, or all of them in one .npz.",
        )

    def place(index: tuple[int, ...]) -> str:
        return f"position {index[0]}, channel {index[1]}"

    narrow = to_floats(values, source, place)
    check_finite(narrow, source, place, missing=missing)
    return (), narrow


def _one_series(item: Any, position: int, source: str) -> NDArray[np.floating[Any]]:
    if isinstance(item, Tensor):
        item = item.detach().cpu().numpy()
    try:
        array = np.asarray(item)
    except ValueError:
        array = np.empty(0, dtype=object)
    array = array[:, None] if array.ndim == 1 else array
    if array.ndim != 2 or array.dtype.kind not in "biuf" or not array.size:
        raise DataError(
            f"{source}: item {position} is not a series of numbers (length, channels).",
            remedy="Give a list of arrays (L_i, C) or (L_i,), none of them empty.",
        )

    def place(index: tuple[int, ...]) -> str:
        return f"series {position}, position {index[0]}, channel {index[1]}"

    return to_floats(array, source, place)


def _channel(
    column: pa.ChunkedArray, name: str, source: str, missing: Missing
) -> NDArray[np.floating[Any]]:
    numbers = parse_numbers(column)
    if numbers is None:
        raise DataError(
            f"{source}: column {name!r} is not all numbers.",
            remedy="Keep one numeric column a channel; labels go into a file of their own.",
        )
    row_name = spreadsheet_row()

    def place(index: tuple[int, ...]) -> str:
        return f"{row_name(index[0])}, column {name!r}"

    values = to_floats(numbers, source, place)
    check_finite(values, source, place, missing=missing)
    return values
