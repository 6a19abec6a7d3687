"""Rows of which a share of the cells is kept: nothing can be cut off a table."""

from __future__ import annotations

import torch
from torch import Tensor

from tacita.data.batch import Batch
from tacita.modalities.tables.views import other_rows
from tacita.processes import rand


def crop_rows(batch: Batch, share: Tensor, size: float) -> Batch:
    """Of each row a share of the cells, on average; the others are the same columns' of other rows."""
    x = batch.x
    other = other_rows(x)
    kept = rand(*x.shape, device=x.device, dtype=x.dtype) < share[:, None]
    return batch.with_x(torch.where(kept, x, other))
