"""What the engine hands to an objective: one batch of samples, or a labelled and an unlabelled one.

Axis alphabet: `B` batch, `C` channels, `H, W` height and width, `L` series length, `F` table
columns, `D` depth. Images are `(B, C, H, W)`, volumes `(B, C, D, H, W)`, series `(B, L, C)`, tables
`(B, F)`. A series whose channels have different rates has one row a second: see `InputSpec.rates`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import torch
from torch import Tensor

UNLABELLED: Final = -1
"""The class code of a sample without a label. A missing regression target is NaN."""

Modality = Literal["images", "volumes", "series", "tables", "text"]
Missing = Literal["refuse", "impute"]


@dataclass(frozen=True)
class InputSpec:
    """What an encoder must know of its input: the modality, one sample's shape, and its columns.

    Shapes: images `(C, H, W)`; volumes `(C, D, H, W)`; series `(L, C)` with `L` the longest length;
    tables `(F,)`; text `(L,)`.
    `cardinalities` has an entry a table column: the number of categories, or 0 for a number; for text
    its one entry is the size of the vocabulary.

    `rates`: for series whose channels are sampled at different rates, the samples a row (a second) of
    each channel. A row then holds the samples of that second, channel after channel, so that `C` is
    their sum; all that works on series works on them. Empty for ordinary series.

    >>> InputSpec("tables", (2,), cardinalities=(0, 3)).channels
    2
    """

    modality: Modality
    shape: tuple[int, ...]
    cardinalities: tuple[int, ...] = ()
    rates: tuple[int, ...] = ()

    @property
    def channels(self) -> int:
        """Channels of an image, a volume or a series, columns of a table."""
        return self.shape[-1] if self.modality == "series" else self.shape[0]


@dataclass(frozen=True)
class Batch:
    """Samples with their labels and their stable index in the data set they come from.

    Shapes: `x` as in the module's docstring; `y (B,)` int64 class codes or float32 targets;
    `index (B,)` int64; `lengths (B,)` int64, for series of unequal lengths only.
    """

    x: Tensor
    y: Tensor
    index: Tensor
    lengths: Tensor | None = None

    def __len__(self) -> int:
        return int(self.x.shape[0])

    @property
    def mask(self) -> Tensor | None:
        """`(B, L)` bool, True where a series has a value; None where every value is valid."""
        return None if self.lengths is None else length_mask(self.lengths, self.x.shape[1])

    def with_x(self, x: Tensor) -> Batch:
        """The same samples seen differently: a view."""
        return replace(self, x=x)

    def to(self, device: torch.device) -> Batch:
        """The batch on another device."""
        return Batch(
            self.x.to(device, non_blocking=True),
            self.y.to(device, non_blocking=True),
            self.index.to(device, non_blocking=True),
            None if self.lengths is None else self.lengths.to(device, non_blocking=True),
        )


@dataclass(frozen=True)
class SemiBatch:
    """What a semi-supervised objective learns from in one step; the unlabelled `y` is hidden."""

    labelled: Batch
    unlabelled: Batch

    def to(self, device: torch.device) -> SemiBatch:
        """Both batches on another device."""
        return SemiBatch(self.labelled.to(device), self.unlabelled.to(device))


def together(batches: Sequence[Batch]) -> Batch:
    """Batches of one data set as one, in their order."""
    lengths = [batch.lengths for batch in batches if batch.lengths is not None]
    return Batch(
        torch.cat([batch.x for batch in batches]),
        torch.cat([batch.y for batch in batches]),
        torch.cat([batch.index for batch in batches]),
        torch.cat(lengths) if lengths else None,
    )


def length_mask(lengths: Tensor, length: int) -> Tensor:
    """`(B,)` lengths to a `(B, L)` mask, True = valid.

    >>> length_mask(torch.tensor([1, 3]), 3).tolist()
    [[True, False, False], [True, True, True]]
    """
    return torch.arange(length, device=lengths.device) < lengths[:, None]
