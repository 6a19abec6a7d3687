"""Images: files decoded by pillow in a few threads, and arrays in any of the usual layouts."""

from __future__ import annotations

import os
import statistics
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor
from torch.nn import functional

from tacita.data.reading import Samples
from tacita.errors import ConfigError, DataError
from tacita.modalities.pixels import PixelsMeta
from tacita.modalities.readers.files import Entry
from tacita.modalities.readers.values import (
    check_finite,
    check_size,
    damaged,
    to_floats,
    to_tensor,
)

_FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "TIFF", "GIF", "PPM")
_CHANNELS = (1, 2, 3, 4)
_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
_LARGEST_SIDE = 96
_TURNED = frozenset({5, 6, 7, 8})
_ORIENTATION = 0x0112


def image_array(x: NDArray[Any], *, source: str, start: int = 0) -> Samples:
    """`(N, H, W)`, `(N, H, W, C)` or `(N, C, H, W)` with 1 to 4 channels, to `(N, C, H, W)`."""
    x = channels_first(x, source)
    if x.dtype == np.bool_:
        return _samples(to_tensor(x.astype(np.uint8) * 255), source)
    if x.dtype == np.uint8:
        return _samples(to_tensor(x), source)
    if x.dtype == np.uint16:
        return _samples(to_tensor(x.astype(np.float32) / 65535), source)
    if x.dtype.kind in "iu" and x.min() >= 0 and x.max() <= 255:
        return _samples(to_tensor(x.astype(np.uint8)), source)

    def place(index: tuple[int, ...]) -> str:
        return f"image {start + index[0]}, channel {index[1]}, pixel {index[2:]}"

    values = to_floats(x, source, place)
    check_finite(values, source, place, missing="refuse", fillable=False)
    return _samples(to_tensor(values), source)


class ImagesMeta(PixelsMeta):
    """The facts of images: `shape (C, H, W)`, and whether they came in 8 bits."""

    modality = "images"
    rank = 3


def _samples(x: Tensor, source: str, ids: tuple[str, ...] = (), labels: Any = None) -> Samples:
    return Samples(x, ImagesMeta.of(x), source, labels=labels, ids=ids)


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


def image_files(
    entries: Sequence[Entry], *, size: tuple[int, int], channels: int | None, source: str
) -> Samples:
    """Files decoded, turned upright and resized with antialias to `(height, width)`, as uint8.

    `channels` None: grey if every image is grey, else RGB (transparent pixels become white).
    """
    wanted = channels or 3
    check_size(source, (len(entries), wanted, *size), 1)
    x = np.empty((len(entries), wanted, *size), np.uint8)

    def one(position: int) -> bool:
        with damaged(entries[position].path, "an image"):
            image = decode(entries[position].path, wanted, size)
            pixels = np.asarray(image)
            pixels = pixels[:, :, None] if pixels.ndim == 2 else pixels
            x[position] = pixels.transpose(2, 0, 1)
            return wanted == 3 and bool((pixels == pixels[:, :, :1]).all())

    grey = _in_threads(one, range(len(entries)))
    if channels is None and all(grey):
        x = x[:, :1].copy()
    names = tuple(entry.name for entry in entries)
    return _samples(torch.from_numpy(x), source, names, [entry.label for entry in entries])


def decode(path: Path, channels: int, size: tuple[int, int]) -> Image.Image:
    """One file, upright, in 8 bits and the wanted mode and size."""
    with _opened(path) as file:
        # Large photographs are decoded at a fraction of their size where the format can.
        file.draft(None, (2 * size[1], 2 * size[0]))
        image = ImageOps.exif_transpose(file)
        if image.mode == "F":
            raise DataError(
                f"{path}: pixels are floating point numbers, whose range is unknown.",
                remedy="Save the images as an array in a .npz, or as 8 or 16 bit files.",
            )
        if image.mode.startswith("I"):
            image = _from_16_bit(image)
        if channels not in (2, 4) and image.has_transparency_data:
            image = _on_white(image)
        image = image.convert(_MODES[channels])
        if image.size != (size[1], size[0]):
            image = image.resize((size[1], size[0]), Image.Resampling.BILINEAR)
        return image


def common_size(entries: Sequence[Entry], side: int | None) -> tuple[int, int]:
    """The `(height, width)` to read a folder in: as told, or from the files' own sizes.

    Told nothing: images of one size keep it (shrunk to at most 96 a side), images of different
    sizes become squares of the median side, at most 96.
    """
    if side is not None:
        return square(side)
    sizes = _in_threads(lambda i: upright_size(entries[i].path), range(len(entries)))
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


def upright_size(path: Path) -> tuple[int, int]:
    """Height and width as a viewer shows the image; only the file's head is read."""
    with damaged(path, "an image"), _opened(path) as file:
        width, height = file.size
        turned = file.getexif().get(_ORIENTATION) in _TURNED
        return (width, height) if turned else (height, width)


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


def _opened(path: Path) -> Image.Image:
    image = Image.open(path, formats=_FORMATS)
    # Pillow only warns up to twice this bound.
    if image.width * image.height > (Image.MAX_IMAGE_PIXELS or 2**27):
        image.close()
        raise DataError(
            f"{path}: {image.width} x {image.height} pixels, which looks like a decompression bomb.",
            remedy="Shrink the image, or leave it out.",
        )
    return image


def _from_16_bit(image: Image.Image) -> Image.Image:
    values = np.asarray(image).astype(np.int64)
    deep = image.mode != "I" or values.max(initial=0) > 255
    return Image.fromarray((values.clip(0, 65535) >> (8 if deep else 0)).astype(np.uint8))


def _on_white(image: Image.Image) -> Image.Image:
    """What shows through transparent pixels is white; their own colour is arbitrary."""
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)


def _in_threads(work: Any, items: Sequence[int]) -> list[Any]:
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        return list(pool.map(work, items))
