"""Cosine similarity as losses on the sphere use it: in float32, whatever the precision around it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def unit(z: Tensor) -> Tensor:
    """Rows of `(B, D)` scaled to length 1, at least in float32; a row of zeros stays zero.

    >>> unit(torch.tensor([[3.0, 4.0], [0.0, 0.0]])).tolist()
    [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]
    """
    z = z if z.dtype == torch.float64 else z.float()
    # Below 1e-6 a row is taken as zero: its direction is noise, and its gradient would be huge.
    return functional.normalize(z, dim=1, eps=1e-6)


def negative_cosine(p: Tensor, z: Tensor) -> Tensor:
    """Mean over rows of minus the cosine of `p` and `z`, both `(B, D)`: from -1 (equal) to 1.

    A gradient flows into both; a method with a stop-gradient passes `z.detach()`.

    >>> negative_cosine(torch.eye(2), 3 * torch.eye(2)).item()
    -1.0
    """
    return -(unit(p) * unit(z)).sum(1).mean()
