"""What images and volumes share: values of 8 bits or not, and channels that can be looked at."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar, Literal, Self

import torch
from torch import Tensor

from tacita.data.dataset import Dataset, Schema
from tacita.data.modality import Meta
from tacita.data.reading import Samples
from tacita.errors import DataError
from tacita.values import Values, length_mask
from tacita.words import listed

UNEVEN_SCALES = 1e4
Pixels = Literal["uint8", "uint16", "integers", "floats"]
"""What numbers are: of 8 or of 16 bits, other integers, or floats; the first are kept as uint8."""


def stored(pixels: Pixels) -> torch.dtype:
    """The type that numbers of a kind are kept in: the smallest that holds all of them."""
    return {"uint8": torch.uint8, "integers": torch.float64}.get(pixels, torch.float32)


class PixelsMeta(Meta):
    """pixels: what the numbers of the samples are, by the type that they came in."""

    axes: ClassVar[str]

    pixels: Pixels = "floats"

    @classmethod
    def seen(cls, samples: Values) -> dict[str, Any]:
        kind = "uint8" if samples.dtype == torch.uint8 else "floats"
        return {**super().seen(samples), "pixels": kind}

    def like(self, samples: Values) -> Self:
        found = super().like(samples)
        if "uint8" in (found.pixels, self.pixels):
            return found
        return found.model_copy(update={"pixels": self.pixels})

    def limits(self, samples: Values) -> tuple[float, float] | None:
        """Those of 8 and 16 bits; floats beside 8 bits are shares of them."""
        if samples.dtype == torch.uint8:
            return super().limits(samples)
        return {"uint8": (0.0, 1.0), "uint16": (0.0, 65535.0)}.get(self.pixels)

    def empty(self) -> Values:
        kind = torch.uint8 if self.pixels == "uint8" else self.floats
        return torch.zeros(0, *self.shape, dtype=kind)


def check_channels(samples: Samples, like: Schema, word: str = "channels") -> None:
    """Raises `DataError` for another number of channels than a model's."""
    found, wanted = samples.meta.spec.channels, like.spec.channels
    if found != wanted:
        raise DataError(
            f"{samples.source}: {found} {word}, but the model was trained with {wanted}.",
            remedy=f"Give the same {word} in the same order.",
        )


def as_learnt(samples: Samples, meta: PixelsMeta) -> Samples:
    """Samples with numbers of the kind that a model learnt from, and refused where they are not.

    Integers of any type mean what they say, so they pass where the model's have that range. The rest is
    on another scale: the model's features would be nonsense. Raises `DataError` for it.
    """
    assert isinstance(samples.values, Tensor)
    assert isinstance(samples.meta, PixelsMeta)
    x, kind, learnt = samples.values, samples.meta.pixels, meta.pixels
    if kind == learnt:
        return samples
    if kind == "floats" and learnt == "uint8":
        if bool((x.abs() > 1).any()):
            raise DataError(
                f"{samples.source}: float {meta.modality} beyond 0 to 1, but the model learnt from"
                " uint8.",
                remedy="Give uint8, or floats divided by 255.",
            )
        return samples
    most = {"uint8": 255, "uint16": 65535}.get(learnt)
    whole = learnt == "integers" or (kind == "integers" and most is not None)
    if kind == "floats" or not whole or (most and bool(((x < 0) | (x > most)).any())):
        raise DataError(
            f"{samples.source}: {meta.modality} of {kind}, but the model learnt from {learnt}.",
            remedy=f"Give {learnt}, on the scale that it learnt from.",
        )
    values = x.to(stored(learnt))
    known = samples.meta.like(values).model_copy(update={"pixels": learnt})
    return replace(samples, values=values, meta=known)


def about_range(data: Dataset) -> list[tuple[str, str]]:
    """Of samples that are not of 8 bits, what their numbers are and from where to where they go."""
    assert isinstance(data.meta, PixelsMeta)
    if data.meta.pixels == "uint8" or not len(data):
        return []
    return [("pixels", f"{data.meta.pixels}, {float(data.x.min()):g} to {float(data.x.max()):g}")]


def about_channels(data: Dataset, axis: int, names: tuple[str, ...] = ()) -> list[str]:
    """Constant channels, and scales so far apart that the units may be wrong."""
    mask = None if data.lengths is None else length_mask(data.lengths, data.x.shape[1])
    constant: list[str] = []
    scales: dict[str, float] = {}
    for position in range(data.x.shape[axis]):
        values = data.x.select(axis, position)
        values = values if mask is None else values[mask]
        filled = values[~values.isnan()] if values.is_floating_point() else values
        name = names[position] if names else str(position)
        if not filled.numel() or bool(filled.amin() == filled.amax()):
            constant.append(name)
        else:
            scales[name] = float(filled.double().std(correction=0))
    said = []
    if constant:
        said.append(f"constant {listed('channel', constant)}: nothing to learn there")
    if scales:
        high, low = max(scales, key=lambda s: scales[s]), min(scales, key=lambda s: scales[s])
        if scales[high] > UNEVEN_SCALES * scales[low]:
            said.append(
                f"channel {high!r} varies {scales[high] / scales[low]:.0e} times as much as {low!r}:"
                " are the units right?"
            )
    return said
