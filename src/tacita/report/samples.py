"""A sample shown as what it is: an image as a small PNG, of a volume the middle slice, a series as a
line, a row as its cells, a text as its beginning and end."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tacita.errors import DataError
from tacita.report.content import Sample
from tacita.report.words import number, shorten

PICTURE_SIDE: Final = 192
SKETCH_BUCKETS: Final = 150
SKETCH_CHANNELS: Final = 6
ROW_CELLS: Final = 10
TEXT_LENGTH: Final = 400
WIDTH, HEIGHT = 240.0, 96.0


@dataclass(frozen=True)
class Picture:
    """A PNG as a data URI; `pixelated` where it is so small that its pixels are the picture."""

    uri: str
    width: int
    height: int
    pixelated: bool


@dataclass(frozen=True)
class Sketch:
    """SVG paths, one a channel, in a box of 240 by 96, and what the reader must know."""

    paths: list[str]
    note: str


@dataclass(frozen=True)
class Cells:
    """The first columns of a row, and how many more there are."""

    cells: list[tuple[str, str]]
    more: int


@dataclass(frozen=True)
class Passage:
    """A text of at most 400 characters; the page escapes it."""

    text: str


def shown(sample: Sample | None) -> Picture | Sketch | Cells | Passage | None:
    """What the page draws for a sample."""
    if sample is None:
        return None
    if isinstance(sample, str):
        return Passage(shorten(sample, TEXT_LENGTH))
    if isinstance(sample, Mapping):
        return cells(sample)
    if sample.ndim == 4:
        return picture(sample[:, sample.shape[1] // 2])
    if sample.ndim == 3:
        return picture(sample)
    if sample.ndim == 2:
        return sketch(sample)
    raise DataError(
        f"A sample of shape {sample.shape} is neither an image, a volume, a series nor a row.",
        remedy="Give an image (C, H, W), a volume (C, D, H, W), a series (L, C), a mapping from"
        " column to cell, or a text.",
    )


def picture(image: NDArray[Any]) -> Picture:
    """A `(C, H, W)` image of 1 to 4 channels; numbers beyond [0, 1] are stretched to the full range."""
    channels = {1: (0, 0, 0), 2: (0, 0, 0), 3: (0, 1, 2)}.get(len(image), (0, 1, 2, 3))
    pixels = _bytes(image[list(channels)]).transpose(1, 2, 0)
    drawn = Image.fromarray(np.ascontiguousarray(pixels))
    drawn.thumbnail((PICTURE_SIDE, PICTURE_SIDE))
    buffer = io.BytesIO()
    drawn.save(buffer, "png")
    uri = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
    return Picture(uri, drawn.width, drawn.height, max(drawn.size) <= 64)


def _bytes(image: NDArray[Any]) -> NDArray[np.uint8]:
    if image.dtype == np.uint8:
        return image
    values = np.nan_to_num(image.astype(np.float64), posinf=0.0, neginf=0.0)
    low, high = values.min(), values.max()
    if low < 0 or high > 1:
        values = (values - low) / (high - low or 1.0)
    return (values * 255).round().astype(np.uint8)


def sketch(series: NDArray[Any]) -> Sketch:
    """A `(L, C)` series, one path a channel; long ones keep the extremes of every stretch."""
    values = np.where(np.isfinite(series), series, np.nan).astype(np.float64)[:, :SKETCH_CHANNELS]
    if len(values) > 2 * SKETCH_BUCKETS:
        edges = np.linspace(0, len(values), SKETCH_BUCKETS, endpoint=False).astype(np.int64)
        low, high = np.fmin.reduceat(values, edges), np.fmax.reduceat(values, edges)
        values = np.stack([low, high], 1).reshape(-1, values.shape[1])
    x = np.linspace(2, WIDTH - 2, len(values))
    paths = [_path(x, channel) for channel in values.T]
    notes = [f"{len(series):,} steps"]
    if series.shape[1] > SKETCH_CHANNELS:
        notes.append(f"the first {SKETCH_CHANNELS} of {series.shape[1]} channels")
    if series.shape[1] > 1:
        notes.append("each channel on its own scale")
    return Sketch([path for path in paths if path], ", ".join(notes))


def _path(x: NDArray[Any], values: NDArray[Any]) -> str:
    known = np.isfinite(values)
    if not known.any():
        return ""
    low, high = values[known].min(), values[known].max()
    share = (values - low) / (high - low) if high > low else np.full(len(values), 0.5)
    y = HEIGHT - 6 - share * (HEIGHT - 12)
    # The pen is lifted at the start and after every gap.
    lifted = known & ~np.concatenate([[False], known[:-1]])
    pen = np.where(lifted, "M", "L")
    return "".join(
        f"{p}{a:.1f} {b:.1f}" for p, a, b in zip(pen[known], x[known], y[known], strict=True)
    )


def cells(row: Mapping[str, object]) -> Cells:
    """The first cells of a table's row as text."""
    first = list(row.items())[:ROW_CELLS]
    texts = [(shorten(str(column), 40), shorten(_cell(value), 40)) for column, value in first]
    return Cells(texts, len(row) - len(first))


def _cell(value: object) -> str:
    return number(value.item() if isinstance(value, np.generic) else value)
