"""Volumes in arrays, and labels of one class a voxel."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tacita.data.reading import Samples
from tacita.errors import ConfigError, DataError
from tacita.modalities.readers.values import check_finite, to_float32, to_tensor
from tacita.modalities.volumes.meta import VolumesMeta
from tacita.tasks import UNLABELLED, Segmentation

_MOST_CLASSES = 256
_REMEDY = "Give whole numbers: 0 for the background, 1, 2, ... for classes, -1 where unknown."


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

    values = to_float32(x, source, place)
    check_finite(values, source, place, missing="refuse", fillable=False)
    return _samples(to_tensor(values), source)


def _samples(x: Tensor, source: str) -> Samples:
    return Samples(x, VolumesMeta.of(x), source)


def is_dense(labels: Any, task: str | None) -> bool:
    """Whether labels are of one class a voxel: volumes, or all there is to be said for the task."""
    rank = getattr(labels, "ndim", 0)
    if isinstance(labels, list | tuple) and len(labels):
        rank = 1 + max(getattr(label, "ndim", 0) for label in labels)
    return rank > 2 or task == Segmentation.name


def encode_voxels(labels: Any, x: Tensor, source: str) -> tuple[Tensor, Segmentation]:
    """Raw labels of the voxels of `x (N, C, D, H, W)` to `(N, D, H, W)` codes, and the task.

    -1 and NaN are unknown; in a list, so is the whole volume under a None. The classes are the numbers
    found, and 0, the background. Raises `DataError` for labels of another shape, fractions, and more
    classes than make sense.

    >>> y, task = encode_voxels(np.array([[[[0, 2], [2, -1]]]]), torch.zeros(1, 1, 1, 2, 2), "example")
    >>> y.flatten().tolist(), task.classes
    ([0, 1, 1, -1], ('0', '2'))
    """
    values = _whole(labels, x, source)
    present = np.union1d(np.unique(values[values != UNLABELLED]), [0])
    if present[0] < 0 or len(present) > _MOST_CLASSES:
        raise DataError(
            f"{source}: the labels of voxels hold {len(present)} numbers from {present[0]} to"
            f" {present[-1]}.",
            remedy=_REMEDY,
        )
    return _codes(values, present), Segmentation(tuple(str(number) for number in present))


def encode_voxels_like(labels: Any, task: Segmentation, x: Tensor, source: str) -> Tensor:
    """Raw labels of voxels to the codes of a task that stands; an unknown class is refused."""
    values = _whole(labels, x, source)
    present = np.array(task.numbers)
    unknown = np.setdiff1d(values[values != UNLABELLED], present)
    if len(unknown):
        raise DataError(
            f"{source}: a voxel is labelled {unknown[0]}, which the model does not know.",
            remedy=f"Classes: {', '.join(task.classes[:10])}. Give -1 where the class is unknown.",
        )
    return _codes(values, present)


def need_voxels(source: str) -> ConfigError:
    """The error for segmentation without labels of voxels."""
    return ConfigError(
        f"{source}: segmentation needs volumes with a label a voxel.",
        remedy="Give y of shape (N, D, H, W), or a folder of label volumes with --labels.",
    )


def _whole(labels: Any, x: Tensor, source: str) -> NDArray[np.int64]:
    """Labels of voxels as `(N, D, H, W)` integers, with `UNLABELLED` where they are unknown."""
    wanted = (len(x), *x.shape[2:])
    if x.ndim != 5 or labels is None:
        raise need_voxels(source)
    if isinstance(labels, list | tuple):
        unknown = np.full(wanted[1:], UNLABELLED, np.int64)
        each = [unknown if label is None else np.asarray(label) for label in labels]
        shapes = {label.shape for label in each} | {wanted[1:]}
        if len(shapes) > 1:
            raise _other_shape(source, shapes - {wanted[1:]}, wanted[1:])
        labels = np.stack(each) if each else np.empty((0, *wanted[1:]))
    values = labels.detach().cpu().numpy() if isinstance(labels, Tensor) else np.asarray(labels)
    if values.ndim == 5 and values.shape[1] == 1:
        values = values[:, 0]
    if values.shape != wanted:
        raise _other_shape(source, {values.shape}, wanted)
    if values.dtype.kind == "f":
        values = np.where(np.isnan(values), UNLABELLED, values)
    if values.dtype.kind not in "biuf" or not bool((values == np.floor(values)).all()):
        raise DataError(f"{source}: labels of voxels are not whole numbers.", remedy=_REMEDY)
    return values.astype(np.int64)


def _other_shape(source: str, found: set[tuple[int, ...]], wanted: tuple[int, ...]) -> DataError:
    return DataError(
        f"{source}: labels of shape {next(iter(found))}, but {wanted} is that of the volumes.",
        remedy="Give every voxel a label, -1 where it is unknown.",
    )


def _codes(values: NDArray[np.int64], present: NDArray[np.int64]) -> Tensor:
    codes = np.searchsorted(present, values).clip(max=len(present) - 1)
    return torch.from_numpy(np.where(values == UNLABELLED, UNLABELLED, codes))
