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
        std, mean = torch.std_mean(values.double(), 0, correction=0)
        module.mean.copy_(mean)
        module.std.copy_(torch.where(std > 1e-6 * (1 + mean.abs()), std, 1e6))
        return module

    def forward(self, values: Tensor) -> Tensor:
        return (values - self.mean) / self.std


def linear_head(dim: int, out_dim: int) -> nn.Sequential:
    """An untrained linear head, `(B, dim)` to `(B, out_dim)`."""
    return nn.Sequential(Standardise(dim), nn.Linear(dim, out_dim))
