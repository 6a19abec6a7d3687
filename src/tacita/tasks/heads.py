"""Linear heads on features: one form for all learners and tasks."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Standardise(nn.Module):
    """`(f - mean) / std` with fixed statistics, so that a penalty means the same for every feature.

    New, it changes nothing. Shapes: `(B, dim)` to the same.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("std", torch.ones(dim))

    @classmethod
    def fit(cls, values: Tensor) -> Standardise:
        """Statistics of `(N, dim)` features; a dead feature is scaled down to nothing."""
        module = cls(values.shape[1])
        values = values.double()
        std, mean = torch.std_mean(values, 0, correction=0)
        # What is left of a dead feature is rounding, told by the size of it and of the others.
        size = mean.abs().clamp_min(values.abs().mean())
        alive = std > 1e-6 * size
        module.mean.copy_(mean)
        module.std.copy_(torch.where(alive, std, 1e6 * size.clamp_min(torch.finfo().tiny)))
        return module

    def forward(self, values: Tensor) -> Tensor:
        return (values - self.mean) / self.std


def linear_head(dim: int, out_dim: int) -> nn.Sequential:
    """An untrained linear head, `(B, dim)` to `(B, out_dim)`."""
    return nn.Sequential(Standardise(dim), nn.Linear(dim, out_dim))
