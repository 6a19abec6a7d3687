"""What several processes that train together have to agree on; alone, nothing is done."""

from __future__ import annotations

import torch
from torch import Tensor


def processes() -> int:
    """How many train together.

    >>> processes()
    1
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_world_size()
    return 1


def mean_over_processes(value: Tensor) -> Tensor:
    """The mean of a tensor that every process has one of; it carries no gradient."""
    count = processes()
    if count == 1:
        return value.detach()
    value = value.detach().clone()
    torch.distributed.all_reduce(value)
    return value / count


def gathered(value: Tensor) -> Tensor:
    """`(B, ...)` of every process, one after another: `(P B, ...)`, without a gradient."""
    count = processes()
    if count == 1:
        return value.detach()
    out = value.new_empty((count * value.shape[0], *value.shape[1:]))
    torch.distributed.all_gather_into_tensor(out, value.detach().contiguous())
    return out
