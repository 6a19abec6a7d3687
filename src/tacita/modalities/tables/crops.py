"""Rows of which a share of the cells is kept: nothing can be cut off a table."""

from __future__ import annotations

import torch
from torch import Tensor

from tacita.data.batch import Batch


def crop_rows(batch: Batch, share: Tensor, size: float) -> Batch:
    """Of each row a share of the cells, on average; the others are the same columns' of other rows."""
    x = batch.x
    other = x.gather(0, torch.randint(len(x), x.shape, device=x.device))
    return batch.with_x(torch.where(torch.rand_like(x) < share[:, None], x, other))
