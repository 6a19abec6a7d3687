"""What images and volumes share: values of 8 bits or not, and channels that can be looked at."""

from __future__ import annotations

from typing import Any, ClassVar

import torch

from tacita.data.dataset import Dataset, Schema
from tacita.data.modality import Meta
from tacita.data.reading import Samples
from tacita.errors import DataError
from tacita.values import Values, length_mask
from tacita.words import listed

UNEVEN_SCALES = 1e4


class PixelsMeta(Meta):
    """bytes: whether values are 8 bits, 0 to 255, so that floats must be 0 to 1."""

    axes: ClassVar[str]

    bytes: bool = False

    @classmethod
    def seen(cls, samples: Values) -> dict[str, Any]:
        return {**super().seen(samples), "bytes": samples.dtype == torch.uint8}

    def limits(self, samples: Values) -> tuple[float, float] | None:
        """Those of 8 bits; floats beside such are shares of them."""
        known = super().limits(samples)
        return (0.0, 1.0) if known is None and self.bytes else known

    def empty(self) -> Values:
        return torch.zeros(0, *self.shape, dtype=torch.uint8 if self.bytes else self.floats)


def check_channels(samples: Samples, like: Schema, word: str = "channels") -> None:
    """Raises `DataError` for another number of channels than a model's."""
    found, wanted = samples.meta.spec.channels, like.spec.channels
    if found != wanted:
        raise DataError(
            f"{samples.source}: {found} {word}, but the model was trained with {wanted}.",
            remedy=f"Give the same {word} in the same order.",
        )


def check_scale(samples: Samples, meta: PixelsMeta) -> None:
    """Refuse samples on another scale than the model learnt from: its features would be nonsense."""
    assert isinstance(samples.values, torch.Tensor)
    is_bytes = samples.values.dtype == torch.uint8
    name = samples.meta.modality
    if is_bytes and not meta.bytes:
        raise DataError(
            f"{samples.source}: {name} of uint8, but the model learnt from floats.",
            remedy="Give floats on the scale that it learnt from.",
        )
    if meta.bytes and not is_bytes and bool((samples.values.abs() > 1).any()):
        raise DataError(
            f"{samples.source}: float {name} beyond 0 to 1, but the model learnt from uint8.",
            remedy="Give uint8, or floats divided by 255.",
        )


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
