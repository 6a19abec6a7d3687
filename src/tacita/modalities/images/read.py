"""Images: files decoded by pillow in a few threads, and arrays in any of the usual layouts."""

from __future__ import annotations

import os
import statistics
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from tacita.data.reading import Samples
from tacita.errors import ConfigError, DataError
from tacita.modalities.images.decode import Head, common_pixels, decode, head, notes_on
from tacita.modalities.pixels import Pixels, PixelsMeta, stored
from tacita.modalities.readers.files import Entry
from tacita.modalities.readers.values import (
    check_finite,
    check_size,
    damaged,
    to_floats,
    to_tensor,
)

_CHANNELS = (1, 2, 3, 4)
_LARGEST_SIDE = 96


def image_array(x: NDArray[Any], *, source: str, start: int = 0) -> Samples:
    """`(N, H, W)`, `(N, H, W, C)` or `(N, C, H, W)` with 1 to 4 channels, to `(N, C, H, W)`.

    The type alone says what the numbers are: uint8 and booleans are 8 bits, all else keeps its range.
    """
    x = channels_first(x, source)
    if x.dtype == np.bool_:
        return _samples(to_tensor(x.astype(np.uint8) * 255), source, "uint8")
    if x.dtype == np.uint8:
        return _samples(to_tensor(x), source, "uint8")

    def place(index: tuple[int, ...]) -> str:
        return f"image {start + index[0]}, channel {index[1]}, pixel {index[2:]}"

    values = to_floats(x, source, place)
    check_finite(values, source, place, missing="refuse", fillable=False)
    kind: Pixels = "uint16" if x.dtype == np.uint16 else "integers"
    return _samples(to_tensor(values), source, "floats" if x.dtype.kind == "f" else kind)


class ImagesMeta(PixelsMeta):
    """The facts of images: `shape (C, H, W)`, and what their pixels are."""

    modality = "images"
    rank = 3


def _samples(x: Tensor, source: str, pixels: Pixels) -> Samples:
    return Samples(x, ImagesMeta.of(x, pixels=pixels), source)


def channels_first(x: NDArray[Any], source: str) -> NDArray[Any]:
    """The layout is told by the axis that has 1 to 4 entries; if both may be it, it is refused."""
    if x.ndim == 3 and x.size:
        return x[:, None]
    if x.ndim != 4 or not x.size:
        raise DataError(
            f"{source}: images of shape {x.shape}; (N, H, W), (N, H, W, C) or (N, C, H, W) is needed.",
            remedy="Reshape the array.",
        )
    first, last = x.shape[1] in _CHANNELS, x.shape[3] in _CHANNELS
    if first and last:
        raise DataError(
            f"{source}: in images of shape {x.shape} the second or the last axis may be the channels.",
            remedy="Give grey images as (N, H, W), or pad the images to more than 4 pixels a side.",
        )
    if not first and not last:
        raise DataError(
            f"{source}: images of shape {x.shape} have no axis of 1 to 4 channels.",
            remedy="Give (N, C, H, W) or (N, H, W, C); for series pass modality='series'.",
        )
    return x if first else x.transpose(0, 3, 1, 2)


def heads_of(entries: Sequence[Entry]) -> list[Head]:
    """What the heads of files say."""
    return _in_threads(lambda i: head(entries[i].path), range(len(entries)))


def image_files(
    entries: Sequence[Entry],
    heads: Sequence[Head],
    *,
    size: tuple[int, int],
    channels: int | None,
    source: str,
) -> Samples:
    """Files decoded, turned upright and resized with antialias to `(height, width)`.

    As uint8 where they have 8 bits, else in their own range as floats of one channel. `channels` None:
    grey if every image is grey, else RGB (transparent pixels become white).
    """
    pixels = common_pixels(entries, heads)
    small = pixels == "uint8"
    wanted = channels or (3 if small else 1)
    kind = np.dtype(str(stored(pixels)).removeprefix("torch."))
    check_size(source, (len(entries), wanted, *size), kind.itemsize)
    x = np.empty((len(entries), wanted, *size), kind)

    def one(position: int) -> bool:
        with damaged(entries[position].path, "an image"):
            values = decode(entries[position].path, wanted, size, pixels)
            x[position] = values.transpose(2, 0, 1)
            return wanted == 3 and bool((values == values[:, :, :1]).all())

    grey = _in_threads(one, range(len(entries)))
    if channels is None and wanted == 3 and all(grey):
        x = x[:, :1].copy()
    names = tuple(entry.name for entry in entries)
    if not small:

        def place(index: tuple[int, ...]) -> str:
            return f"{names[index[0]]}, pixel {index[2:]}"

        check_finite(x, source, place, missing="refuse", fillable=False)
    samples = _samples(torch.from_numpy(x), source, pixels)
    notes = notes_on(entries, heads, first=channels is None)
    return replace(samples, ids=names, labels=[entry.label for entry in entries], notes=notes)


def common_size(sizes: Sequence[tuple[int, int]], side: int | None) -> tuple[int, int]:
    """The `(height, width)` to read a folder in: as told, or from the files' own sizes.

    Told nothing: images of one size keep it (shrunk to at most 96 a side), images of different
    sizes become squares of the median side, at most 96.
    """
    if side is not None:
        return square(side)
    if len(set(sizes)) == 1:
        height, width = sizes[0]
        scale = min(1.0, _LARGEST_SIDE / max(height, width))
        return max(1, round(height * scale)), max(1, round(width * scale))
    median = statistics.median([side for size in sizes for side in size])
    both = max(1, min(_LARGEST_SIDE, round(median)))
    return both, both


def square(side: int) -> tuple[int, int]:
    """`(side, side)`, or `ConfigError` for a side that no image has."""
    if not 1 <= side <= 4096:
        raise ConfigError(f"image_size={side} is not a size.", remedy="Give 1 to 4096 pixels.")
    return side, side


def in_size(samples: Samples, size: tuple[int, int]) -> Samples:
    """Samples of one size brought to another, `(height, width)`."""
    assert isinstance(samples.values, Tensor)
    x = resized(samples.values, size)
    return replace(samples, values=x, meta=samples.meta.like(x))


def resized(x: Tensor, size: tuple[int, int]) -> Tensor:
    """`(N, C, H, W)` images of one size to another, with antialias, in their own type."""
    if tuple(x.shape[2:]) == size:
        return x
    scaled = functional.interpolate(
        x.float(), size, mode="bilinear", align_corners=False, antialias=True
    )
    return scaled.round().clamp(0, 255).to(x.dtype) if x.dtype == torch.uint8 else scaled


def _in_threads(work: Any, items: Sequence[int]) -> list[Any]:
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        return list(pool.map(work, items))
