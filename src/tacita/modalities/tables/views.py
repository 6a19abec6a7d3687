"""Views of tables: some cells replaced by the same column's value in another row (SCARF)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tacita.data.batch import Batch, InputSpec
from tacita.processes import gathered, rand, randint


class TableViews(nn.Module):
    """Each cell is replaced with probability `corrupt` by that column's value in another row.

    corrupt: share of the cells replaced (Bahri et al., 2022, use 0.6 for contrastive learning).

    Shapes: `x (B, F)` to the same.

    >>> batch = Batch(torch.arange(6.0).view(3, 2), torch.zeros(3), torch.arange(3))
    >>> views = TableViews(corrupt=1.0)
    >>> set(views(batch).x[:, 0].tolist()) <= {0.0, 2.0, 4.0}
    True
    """

    def __init__(self, *, corrupt: float = 0.3) -> None:
        super().__init__()
        self.corrupt = corrupt

    @classmethod
    def weak(cls, spec: InputSpec) -> TableViews:
        """One cell in twenty."""
        return cls(corrupt=0.05)

    @classmethod
    def strong(cls, spec: InputSpec) -> TableViews:
        """Three cells in ten."""
        return cls(corrupt=0.3)

    def forward(self, batch: Batch) -> Batch:
        x = batch.x
        other = other_rows(x)
        corrupted = rand(*x.shape, device=x.device, dtype=x.dtype) < self.corrupt
        return batch.with_x(torch.where(corrupted, other, x))


def other_rows(x: Tensor) -> Tensor:
    """`(B, F)`: in place of each cell that of its column in some row of the batch."""
    rows = gathered(x)
    return rows.gather(0, randint(0, len(rows), x.shape, x.device))
