"""Sets and their outputs as a user gives them: checked, padded, and compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tacita.data.dataset import Dataset
from tacita.errors import DataError
from tacita.modalities.memory import as_dataset
from tacita.values import Ragged, length_mask


def as_sets(sets: Any, channels: int | None = None) -> Dataset:
    """Sets as series without labels, numbered from 0: arrays, a list of arrays, or a data set of series.

    channels: how many numbers an element must have.

    Raises `DataError` for what is no set of numbers, has no element, or has other elements.

    >>> as_sets([[[0.1], [0.2]], [[0.3]]]).lengths.tolist()
    [2, 1]
    """
    data = as_dataset(sets, modality="series")
    if data.lengths is not None and int(data.lengths.min()) < 1:
        raise DataError(
            f"{data.source}: set {int(data.lengths.argmin())} has no element.",
            remedy="Leave empty sets out: there is nothing in them to point at.",
        )
    if channels is not None and data.spec.channels != channels:
        raise DataError(
            f"{data.source}: elements of {data.spec.channels} numbers, where {channels} were learnt from.",
            remedy="Give the same numbers of each element, in the same order.",
        )
    return replace(data, index=torch.arange(len(data)), weights=None)


def sizes_of(data: Dataset) -> Tensor:
    """`(N,)`: how many elements each set has."""
    full = torch.full((len(data),), data.spec.shape[0])
    return full if data.lengths is None else data.lengths


def as_outputs(outputs: Any, data: Dataset, *, ends: bool) -> Tensor:
    """`(N, S)` positions in each set, -1 behind the last: from rows of one length, or a list of rows.

    Raises `DataError` naming the set where a position is none of its elements or comes twice, and,
    without an end, where elements are left out.

    >>> as_outputs([[1, 0], [0]], as_sets([[0.2, 0.1], [0.3]]), ends=False).tolist()
    [[1, 0], [0, -1]]
    """
    rows = _rows(outputs, len(data))
    padded = rows.padded.masked_fill(~rows.mask, -1)
    sizes = sizes_of(data)
    wrong = ((padded >= sizes[:, None]) | (padded < 0)) & rows.mask
    _refuse(wrong.any(1), "points at no element of it", "Positions count from 0.")
    # Behind the last, numbers of their own, so that only true ones can be alike.
    apart = padded.where(rows.mask, -1 - torch.arange(padded.shape[1])).sort(1).values
    _refuse((apart[:, 1:] == apart[:, :-1]).any(1), "has a position twice", "Give each once.")
    if not ends:
        _refuse(
            rows.lengths != sizes,
            "leaves elements out",
            "Give ends=True, so that it is learnt where outputs end.",
        )
    return padded


def canonical(x: Tensor, sizes: Tensor) -> Tensor:
    """`(N, T)`: of each element of `x (N, T, C)` the position of the first that equals it.

    >>> canonical(torch.tensor([[[1.0], [2.0], [1.0]]]), torch.tensor([3])).tolist()
    [[0, 1, 0]]
    """
    same = (x[:, :, None] == x[:, None]).all(3) & length_mask(sizes, x.shape[1])[:, None]
    return same.to(torch.uint8).argmax(2)


def _rows(outputs: Any, count: int) -> Ragged:
    """Rows of whole numbers, whatever they came as."""
    try:
        if isinstance(outputs, Tensor | np.ndarray) and outputs.ndim == 2:
            table = _whole(outputs)
            rows = Ragged.of(table, torch.full((len(table),), table.shape[1]))
        else:
            each = [_whole(row) for row in outputs]
            lengths = torch.tensor([len(row) for row in each], dtype=torch.int64)
            rows = Ragged(torch.cat(each) if each else torch.empty(0, dtype=torch.int64), lengths)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(
            f"outputs are no rows of positions ({error}).",
            remedy="Give for each set a list of positions, such as [[2, 0, 1], [0, 1]].",
        ) from None
    if len(rows) != count:
        raise DataError(
            f"outputs has {len(rows)} rows for {count} sets.", remedy="Give one row a set."
        )
    return rows


def _whole(row: Tensor | np.ndarray[Any, Any] | Sequence[int]) -> Tensor:
    tensor = torch.as_tensor(row)
    if tensor.numel() and (tensor.is_floating_point() or tensor.dtype == torch.bool):
        raise ValueError(f"{tensor.dtype} is no whole number")
    return tensor.long()


def _refuse(wrong: Tensor, what: str, remedy: str) -> None:
    if bool(wrong.any()):
        raise DataError(f"outputs: that of set {int(wrong.long().argmax())} {what}.", remedy=remedy)
