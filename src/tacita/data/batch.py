"""What the engine hands to an objective: one batch of samples, or a labelled and an unlabelled one.

Axis alphabet: `B` batch, `C` channels, `H, W` height and width, `L` series length, `F` table
columns, `D` depth. Images are `(B, C, H, W)`, volumes `(B, C, D, H, W)`, series `(B, L, C)`, tables
`(B, F)`, texts `(B, L)` token numbers. A series whose channels have different rates has one row a
second: see `InputSpec.rates`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor

from tacita.processes import gathered, processes
from tacita.values import (
    Ragged,
    Values,
    as_tensor,
    cat,
    count_of,
    length_mask,
    lengths_of,
    with_tensor,
)


@dataclass(frozen=True)
class InputSpec:
    """What an encoder must know of its input: the modality, one sample's shape, and its columns.

    Shapes: images `(C, H, W)`; volumes `(C, D, H, W)`; series `(L, C)` with `L` the longest length;
    tables `(F,)`; text `(L,)`.
    `cardinalities` has an entry a table column: the number of categories, or 0 for a number.

    `rates`: for series whose channels are sampled at different rates, the samples a row (a second) of
    each channel. A row then holds the samples of that second, channel after channel, so that `C` is
    their sum; all that works on series works on them. Empty for ordinary series.

    `targets`: of windows that are forecast, how many of the first channels are; 0 for all else. `ahead`:
    steps to come that such a window shows at its end, where some channels are known for them; the last
    channel then says of each step whether it is one, and the `known_ahead` channels before it are those.

    `vocabulary`: how many tokens there are, for what is made of tokens; 0 for numbers. `hidden_token` is
    the one that stands in for a token that is hidden; None where there is none. `specials` are the tokens
    that are no part of what is said: they are neither hidden nor left out.

    >>> InputSpec("tables", (2,), cardinalities=(0, 3)).channels
    2
    """

    modality: str
    shape: tuple[int, ...]
    cardinalities: tuple[int, ...] = ()
    rates: tuple[int, ...] = ()
    targets: int = 0
    ahead: int = 0
    known_ahead: int = 0
    vocabulary: int = 0
    hidden_token: int | None = None
    specials: tuple[int, ...] = ()

    @property
    def context(self) -> int:
        """The known steps of a window."""
        return self.shape[0] - self.ahead

    @property
    def channels(self) -> int:
        """Channels or columns: the last axis of what has steps, `(L, C)`, the first of all else."""
        return self.shape[-1] if len(self.shape) == 2 else self.shape[0]


@dataclass(frozen=True)
class Batch:
    """Samples with their targets and their stable index in the data set they come from.

    Shapes: `samples` as in the module's docstring, `Ragged` where lengths differ; `targets (B,)` int64
    class codes or float32 numbers, or what else the task has; `index (B,)` int64.

    `weights (B,)` float32: how often each sample's label counts, their mean over all samples 1; None
    where all count once.

    `x` and `y` are the same as plain tensors, for what reads one kind of samples only.
    """

    samples: Values
    targets: Values
    index: Tensor
    weights: Tensor | None = None

    @classmethod
    def of(cls, samples: Values) -> Batch:
        """Samples alone, numbered from 0, their targets zeros that mean nothing."""
        # The count is a tensor's own, so that a program that is traced stays free in it.
        x = samples if isinstance(samples, Tensor) else count_of(samples)
        index = torch.arange(x.shape[0], device=x.device)
        return cls(samples, torch.zeros_like(index, dtype=torch.float32), index)

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def x(self) -> Tensor:
        """The samples as one tensor, padded with zeros where lengths differ."""
        return as_tensor(self.samples)

    @property
    def y(self) -> Tensor:
        """The targets as one tensor."""
        return as_tensor(self.targets)

    @property
    def lengths(self) -> Tensor | None:
        """`(B,)` int64; None where all samples are of one length."""
        return lengths_of(self.samples)

    @property
    def mask(self) -> Tensor | None:
        """`(B, L)` bool, True where a sample has a value; None where every value is valid."""
        return None if self.lengths is None else length_mask(self.lengths, self.x.shape[1])

    def weights_at(self, positions: Tensor) -> Tensor | None:
        """`(N,)` weights of some samples; None where all count once."""
        return None if self.weights is None else self.weights[positions]

    def with_x(self, x: Tensor) -> Batch:
        """The same samples seen differently, with the same lengths: a view."""
        return replace(self, samples=with_tensor(self.samples, x))

    def with_samples(self, samples: Values) -> Batch:
        """The same samples as values of any kind."""
        return replace(self, samples=samples)

    def to(self, device: torch.device) -> Batch:
        """The batch on another device."""
        if device.type == "mps" and self.targets.dtype == torch.float64:
            # It has no numbers of 64 bits.
            return replace(self, targets=with_tensor(self.targets, self.y.float())).to(device)
        return Batch(
            self.samples.to(device, non_blocking=True),
            self.targets.to(device, non_blocking=True),
            self.index.to(device, non_blocking=True),
            None if self.weights is None else self.weights.to(device, non_blocking=True),
        )


@dataclass(frozen=True)
class SemiBatch:
    """What a semi-supervised objective learns from in one step; the unlabelled targets are hidden."""

    labelled: Batch
    unlabelled: Batch

    def to(self, device: torch.device) -> SemiBatch:
        """Both batches on another device."""
        return SemiBatch(self.labelled.to(device), self.unlabelled.to(device))


def of_all(batch: Batch) -> Batch:
    """The samples of all processes that train together, in their order; alone, the batch itself.

    Raises `DataError` for graphs of several processes.
    """
    if processes() == 1:
        return batch
    weights = None if batch.weights is None else gathered(batch.weights)
    return Batch(gather(batch.samples), gather(batch.targets), gathered(batch.index), weights)


def gather(values: Values) -> Values:
    """Values of all processes, of one kind and padded to one length; see `of_all`."""
    if isinstance(values, Ragged):
        return Ragged.of(gathered(values.padded), gathered(values.lengths))
    return gathered(as_tensor(values))


def together(batches: Sequence[Batch]) -> Batch:
    """Batches of one data set as one, in their order; without weights, which some may not have."""
    return Batch(
        cat([batch.samples for batch in batches]),
        cat([batch.targets for batch in batches]),
        cast(Tensor, cat([batch.index for batch in batches])),
    )
