"""Volumes in arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from tacita.data.reading import Samples
from tacita.errors import DataError
from tacita.modalities.readers.values import check_finite, to_floats, to_tensor
from tacita.modalities.volumes.meta import VolumesMeta


def volume_array(x: NDArray[Any], *, source: str, start: int = 0) -> Samples:
    """`(N, D, H, W)` or `(N, C, D, H, W)` to `(N, C, D, H, W)`, the slices along `D`."""
    if x.ndim == 4:
        x = x[:, None]
    if x.ndim != 5:
        raise DataError(
            f"{source}: volumes of shape {x.shape}; (N, D, H, W) or (N, C, D, H, W) is needed.",
            remedy="Reshape the array.",
        )
    if x.dtype == np.bool_:
        return _samples(to_tensor(x.astype(np.uint8) * 255), source)
    if x.dtype == np.uint8:
        return _samples(to_tensor(x), source)

    def place(index: tuple[int, ...]) -> str:
        return f"volume {start + index[0]}, channel {index[1]}, voxel {index[2:]}"

    values = to_floats(x, source, place)
    check_finite(values, source, place, missing="refuse", fillable=False)
    return _samples(to_tensor(values), source)


def _samples(x: Tensor, source: str) -> Samples:
    return Samples(x, VolumesMeta.of(x), source)
