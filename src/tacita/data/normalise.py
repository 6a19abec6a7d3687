"""Raw samples to float32 of zero mean and unit deviation, a channel or a column at a time.

It belongs to the model: its statistics come from the training samples only, are saved beside the
weights, and every later sample (held out, predicted, exported) goes through the same numbers.
"""

from __future__ import annotations

from itertools import accumulate

import torch
from torch import Tensor, nn

from tacita.data.batch import InputSpec, length_mask

_BLOCK = 2**20


class Normaliser(nn.Module):
    """`(x - mean) / std`; missing table cells become the mean, padding of series stays zero.

    Shapes: `mean`, `std` `(C, 1, 1)` for images, `(C, 1, 1, 1)` for volumes, `(C,)` for series (the
    columns of a channel of many samples a row share their statistics), `(F,)` for tables, where a
    categorical column keeps its codes (mean 0, std 1) and a missing category becomes code 0.

    >>> spec = InputSpec("tables", (1,), (0,))
    >>> Normaliser.fit(spec, torch.tensor([[1.0], [3.0]]))(torch.tensor([[2.0]])).item()
    0.0
    """

    mean: Tensor
    std: Tensor

    def __init__(self, spec: InputSpec) -> None:
        super().__init__()
        spatial = {"images": 2, "volumes": 3}.get(spec.modality, 0)
        shape = (spec.channels,) + (1,) * spatial
        self.spec = spec
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("std", torch.ones(shape))

    @classmethod
    @torch.no_grad()
    def fit(cls, spec: InputSpec, x: Tensor, lengths: Tensor | None = None) -> Normaliser:
        """Statistics of all valid values, in float64; in blocks of samples to keep memory small."""
        normaliser = cls(spec)
        axis = 1 if spec.modality != "series" else 2
        count = torch.zeros(spec.channels, dtype=torch.float64)
        mean, squares = torch.zeros_like(count), torch.zeros_like(count)
        rows = max(1, _BLOCK // max(1, x[:1].numel()))
        for start in range(0, len(x), rows):
            block = x[start : start + rows]
            values = block.movedim(axis, 0).double() / (255 if x.dtype == torch.uint8 else 1)
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
        if spec.rates:
            mean, squares, count = _by_channel(spec.rates, mean, squares, count)
        std = (squares / count.clamp(min=1)).sqrt()
        # A constant channel carries nothing: it becomes zero rather than a division by zero.
        std = std.where(std > 1e-12 * (1 + mean.abs()), 1)
        if spec.modality == "tables":
            number = torch.tensor(spec.cardinalities) == 0
            mean, std = mean.where(number, 0), std.where(number, 1)
        normaliser.mean.copy_(mean.reshape(normaliser.mean.shape))
        normaliser.std.copy_(std.reshape(normaliser.std.shape))
        return normaliser

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        x = x.float() / 255 if x.dtype == torch.uint8 else x.float()
        x = (x - self.mean) / self.std
        if self.spec.modality == "tables":
            return torch.nan_to_num(x, nan=0.0)
        if lengths is not None:
            x = x * length_mask(lengths, x.shape[1])[:, :, None]
        return x


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
