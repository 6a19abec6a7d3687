"""Raw samples to what encoders read, and back.

A normaliser belongs to the model: its statistics come from the training samples only, are saved
beside the weights, and every later sample (held out, predicted, exported) goes through the same
numbers. Each modality says which one it takes.
"""

from __future__ import annotations

from itertools import accumulate
from typing import Self

import torch
from torch import Tensor, nn

from tacita.data.batch import InputSpec
from tacita.values import CONSTANT, Values, as_tensor, length_mask, lengths_of, with_tensor

_BLOCK = 2**20


class Normaliser(nn.Module):
    """Samples as they are: for what is not made of numbers, such as tokens.

    A subclass has statistics as buffers, so that they are saved and move with the model.
    """

    def __init__(self, spec: InputSpec) -> None:
        super().__init__()
        self.spec = spec

    def fit(self, samples: Values) -> Self:
        """Take the statistics of these samples; gives itself."""
        return self

    def forward(self, samples: Values) -> Values:
        """Raw samples to normalised ones."""
        return samples

    def inverse(self, samples: Values) -> Values:
        """Normalised samples back to the data's own units."""
        return samples


class Standardiser(Normaliser):
    """`(x - mean) / std`, a channel at a time; padding stays zero.

    axis: which axis of a batch holds the channels.

    Statistics are kept in 64 bits, and so are 64-bit samples until they are normalised; what comes out is
    float32. 8-bit values are first scaled to 0..1. Shapes: `mean`, `std` have the channels in their axis
    and 1 in those after it: `(C, 1, 1)` for images, `(C,)` where channels come last. Of channels with
    rates of their own all columns share their statistics.

    >>> spec = InputSpec("tables", (1,))
    >>> normaliser = Standardiser(spec, axis=1).fit(torch.tensor([[1.0], [3.0]]))
    >>> normaliser(torch.tensor([[2.0]])).item(), normaliser.inverse(torch.tensor([[1.0]])).item()
    (0.0, 3.0)
    """

    mean: Tensor
    std: Tensor

    def __init__(self, spec: InputSpec, *, axis: int) -> None:
        super().__init__(spec)
        self.axis = axis
        shape = (spec.shape[axis - 1], *(1 for _ in spec.shape[axis:]))
        self.register_buffer("mean", torch.zeros(shape, dtype=torch.float64))
        self.register_buffer("std", torch.ones(shape, dtype=torch.float64))

    @torch.no_grad()
    def fit(self, samples: Values) -> Self:
        """Statistics of all valid values, in float64; in blocks of samples to keep memory small."""
        x, lengths = as_tensor(samples), lengths_of(samples)
        channels = self.mean.numel()
        count = torch.zeros(channels, dtype=torch.float64)
        mean, squares = torch.zeros_like(count), torch.zeros_like(count)
        rows = max(1, _BLOCK // max(1, x[:1].numel()))
        for start in range(0, len(x), rows):
            block = x[start : start + rows]
            values = block.movedim(self.axis, 0).double() / (255 if x.dtype == torch.uint8 else 1)
            valid = ~values.isnan()
            if lengths is not None:
                valid &= length_mask(lengths[start : start + rows], x.shape[1])
            values, valid = values.flatten(1), valid.flatten(1)
            found = valid.sum(1)
            middle = values.where(valid, 0).sum(1) / found.clamp(min=1)
            spread = (values - middle[:, None]).where(valid, 0).square().sum(1)
            # Chan, Golub and LeVeque (1979): the moments of two parts make those of the whole.
            total = (count + found).clamp(min=1)
            shift = middle - mean
            squares += spread + shift.square() * count * found / total
            mean += shift * found / total
            count += found
        if self.spec.rates:
            mean, squares, count = _by_channel(self.spec.rates, mean, squares, count)
        std = (squares / count.clamp(min=1)).sqrt()
        # A constant channel carries nothing: it becomes zero rather than a division by zero. What is left of
        # it by rounding is told by the size of its own values, whatever unit they are in, and divided by it.
        std = std.where(std > CONSTANT * mean.abs(), mean.abs().where(mean != 0, 1))
        mean, std = self._kept(mean, std)
        self.mean.copy_(mean.reshape(self.mean.shape))
        self.std.copy_(std.reshape(self.std.shape))
        return self

    def _kept(self, mean: Tensor, std: Tensor) -> tuple[Tensor, Tensor]:
        """The statistics to normalise by, `(C,)` each."""
        return mean, std

    def forward(self, samples: Values) -> Values:
        x, lengths = as_tensor(samples), lengths_of(samples)
        if x.dtype == torch.float64:
            x = ((x - self.mean) / self.std).float()
        else:
            x = x.float() / 255 if x.dtype == torch.uint8 else x.float()
            x = (x - self.mean.float()) / self.std.float()
        if lengths is not None:
            x = x * length_mask(lengths, x.shape[1])[:, :, None]
        return with_tensor(samples, x)

    def inverse(self, samples: Values) -> Values:
        """Back to the data's own units, in 64 bits; of 8-bit data to 0..1."""
        x, lengths = as_tensor(samples) * self.std + self.mean, lengths_of(samples)
        if lengths is not None:
            x = x * length_mask(lengths, x.shape[1])[:, :, None]
        return with_tensor(samples, x)


def _by_channel(
    rates: tuple[int, ...], mean: Tensor, squares: Tensor, count: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The moments of each column replaced by those of all columns of its channel."""
    means, spreads, counts = [], [], []
    columns = (part.tensor_split(_ends(rates)) for part in (mean, squares, count))
    for m, s, n in zip(*columns, strict=True):
        total = n.sum()
        middle = (m * n).sum() / total.clamp(min=1)
        means.append(middle.expand_as(m))
        spreads.append((s + n * (m - middle).square()).sum().expand_as(m))
        counts.append(total.expand_as(m))
    return torch.cat(means), torch.cat(spreads), torch.cat(counts)


def _ends(rates: tuple[int, ...]) -> tuple[int, ...]:
    """Where each channel but the last ends among the columns."""
    return tuple(accumulate(rates[:-1]))
