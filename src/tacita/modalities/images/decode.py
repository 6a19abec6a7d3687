"""Image files by pillow: what a header says, and pixels in the range that their file has."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from tacita.data.notes import Note
from tacita.errors import DataError
from tacita.modalities.pixels import Pixels
from tacita.modalities.readers.files import Entry
from tacita.modalities.readers.values import damaged

_FORMATS = (
    "PNG", "JPEG", "BMP", "WEBP", "TIFF", "GIF", "PPM", "JPEG2000", "AVIF", "DIB",
)  # fmt: skip
_BY_ENDING = {".tga": ("TGA",), ".pcx": ("PCX",)}
"""Formats that are hardly told by their content: only where the name says so."""
_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
_TURNED = frozenset({5, 6, 7, 8})
_ORIENTATION = 0x0112


@dataclass(frozen=True)
class Head:
    """What the head of a file says: its upright `(height, width)`, its pixels, and what is left out.

    deep: colours of 16 bits, of which pillow reads the upper eight. further: more frames or pages.
    see_through: transparent pixels. inks: cyan, magenta, yellow and black.
    """

    size: tuple[int, int]
    pixels: Pixels
    deep: bool
    further: bool
    see_through: bool
    inks: bool


def head(path: Path) -> Head:
    """The head of a file, of which nothing else is read."""
    with damaged(path, "an image"), _opened(path) as file:
        width, height = file.size
        # Asked first: looking for the orientation may read the file to its end.
        pixels, packing = _pixels(file), _packing(file)
        turned = file.getexif().get(_ORIENTATION) in _TURNED
        return Head(
            (width, height) if turned else (height, width),
            pixels,
            deep=pixels == "uint8" and ";16" in packing,
            further=bool(getattr(file, "is_animated", False)),
            see_through=file.has_transparency_data,
            inks=file.mode == "CMYK",
        )


def common_pixels(entries: Sequence[Entry], heads: Sequence[Head]) -> Pixels:
    """The kind of pixels that all files have, by their types and not by what is in them.

    Raises `DataError` naming two files of different kinds, whose brightness cannot be compared.
    """
    for entry, each in zip(entries, heads, strict=True):
        if each.pixels != heads[0].pixels:
            raise DataError(
                f"{entry.path}: its pixels are {each.pixels}, those of {entries[0].name}"
                f" {heads[0].pixels}, so it is unclear how bright the one is beside the other.",
                remedy="Save all images with one depth, or leave the others out.",
            )
    return heads[0].pixels


def notes_on(entries: Sequence[Entry], heads: Sequence[Head], *, first: bool) -> tuple[Note, ...]:
    """What is done to files on reading them; `first`: what is done to a model's samples anew too."""
    said = [
        _counted("of 16 bits a colour, read at 8", entries, (h.deep for h in heads)),
        _counted("with further frames or pages, left out", entries, (h.further for h in heads)),
    ]
    if first:
        said += [
            _counted(
                "with transparent pixels, made white", entries, (h.see_through for h in heads)
            ),
            _counted("of printing inks, made RGB", entries, (h.inks for h in heads)),
        ]
    return tuple(note for note in said if note.count)


def _counted(what: str, entries: Sequence[Entry], which: Iterable[bool]) -> Note:
    names = [entry.name for entry, hit in zip(entries, which, strict=True) if hit]
    return Note((f"image {what}", f"images {what}"), len(names), names[0] if names else "")


def decode(path: Path, channels: int, size: tuple[int, int], pixels: Pixels) -> NDArray[np.generic]:
    """`(height, width, channels)` of one file, upright and resized with antialias.

    8 bits as uint8; others in their own range, one channel repeated.
    """
    with _opened(path) as file:
        packing = _packing(file)
        # Large photographs are decoded at a fraction of their size where the format can.
        file.draft(None, (2 * size[1], 2 * size[0]))
        image = ImageOps.exif_transpose(file)
        if pixels == "uint8":
            return np.asarray(_resized(_colours(image, channels), size)).reshape(*size, channels)
        values = np.asarray(image)
        if packing.startswith("I;32") and not packing.endswith("S"):
            values = values.view(np.uint32)  # pillow has only the signed ones.
        if values.shape != size:
            values = np.asarray(_resized(Image.fromarray(values.astype(np.float32)), size))
        return np.repeat(values[:, :, None], channels, 2)


def _colours(image: Image.Image, channels: int) -> Image.Image:
    if channels not in (2, 4) and image.has_transparency_data:
        # What shows through transparent pixels is white; their own colour is arbitrary.
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert(_MODES[channels])


def _resized(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    if image.size == (size[1], size[0]):
        return image
    return image.resize((size[1], size[0]), Image.Resampling.BILINEAR)


def _pixels(file: Image.Image) -> Pixels:
    if file.mode == "F":
        return "floats"
    if not file.mode.startswith("I"):
        return "uint8"
    # A portable greymap says what its white is, and pillow makes 65535 of that.
    deep = file.mode.startswith("I;16") or _packing(file) == "I;16B" or file.format == "PPM"
    return "uint16" if deep else "integers"


def _packing(file: Image.Image) -> str:
    """How pillow calls the order of bits in the file, such as `RGB;16B`."""
    tiles = getattr(file, "tile", None)
    arguments = tiles[0].args if tiles else ""
    first = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return first if isinstance(first, str) else ""


def _opened(path: Path) -> Image.Image:
    image = Image.open(path, formats=_BY_ENDING.get(path.suffix.lower(), _FORMATS))
    # Pillow only warns up to twice this bound.
    if image.width * image.height > (Image.MAX_IMAGE_PIXELS or 2**27):
        image.close()
        raise DataError(
            f"{path}: {image.width} x {image.height} pixels, which looks like a decompression bomb.",
            remedy="Shrink the image, or leave it out.",
        )
    return image
