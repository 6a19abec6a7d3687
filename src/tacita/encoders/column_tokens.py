"""A table's columns as tokens: what its encoders begin with.

Gorishniy et al., "Revisiting Deep Learning Models for Tabular Data", 2021, section 3.3: a number
times a learnt vector plus a learnt vector, or a category's own vector plus the column's.
"""

from __future__ import annotations

from itertools import accumulate

import torch
from torch import Tensor, nn

from tacita.data.batch import Batch, InputSpec
from tacita.encoder import Encoding, TokenEncoder
from tacita.errors import ConfigError


class ColumnTokens(TokenEncoder):
    """One token a column, and the mean of the tokens as features; a subclass adds its `blocks`.

    Shapes: `x (B, F)`, category codes in categorical columns; `tokens (B, F, dim)`. A code that is
    not one of the column's categories reads a row of its own, which starts at zero. A missing
    number has been made the column's mean before it comes here, so it has no vector of its own; a
    missing category is one of the categories, where training had some.

    Raises `ConfigError` for a table whose columns are not said to be numbers or categories.
    """

    modalities = ("tables",)
    sizes: Tensor
    first_row: Tensor
    slots: Tensor

    def __init__(self, spec: InputSpec, dim: int) -> None:
        super().__init__()
        self.require(spec)
        columns = spec.channels
        if len(spec.cardinalities) != columns:
            raise ConfigError(
                f"the table has {columns} columns but cardinalities={spec.cardinalities}.",
                remedy="Give one entry a column: 0 for a number, else the number of categories.",
            )
        self.spec = spec
        self.dim = dim
        sizes = torch.tensor(spec.cardinalities)
        categorical = sizes > 0
        # All categories share one table of vectors: a row each, and a last one a column for codes
        # that are none of its categories.
        rows = torch.where(categorical, sizes + 1, 0)
        slots = torch.arange(max(1, *spec.cardinalities)) < sizes.clamp_min(1)[:, None]
        self.register_buffer("sizes", sizes, persistent=False)
        self.register_buffer("first_row", rows.cumsum(0) - rows, persistent=False)
        self.register_buffer("slots", slots.float(), persistent=False)
        self.column = nn.Parameter(torch.randn(columns, dim))
        self.weight = None
        if not all(spec.cardinalities):
            self.weight = nn.Parameter(torch.randn(columns, dim))
        self.category = None
        if any(spec.cardinalities):
            ends = list(accumulate(size + 1 for size in spec.cardinalities if size))
            self.category = nn.Embedding(ends[-1], dim)
            with torch.no_grad():
                self.category.weight[torch.tensor(ends) - 1] = 0.0

    def patches(self, x: Tensor) -> Tensor:
        slot = torch.arange(self.slots.shape[1], device=x.device)
        one_hot = (x[:, :, None] == slot).to(x.dtype)
        number = x[:, :, None] * (slot == 0)
        return torch.where(self.sizes[:, None] > 0, one_hot, number) * self.slots.to(x.dtype)

    def embed(self, x: Tensor) -> Tensor:
        tokens = self.column.expand(x.shape[0], -1, -1)
        categorical = self.sizes > 0
        if self.weight is not None:
            tokens = tokens + x.masked_fill(categorical, 0.0)[:, :, None] * self.weight
        if self.category is not None:
            known = (x >= 0) & (x < self.sizes)
            row = self.first_row + torch.where(known, x, self.sizes).long()
            row = row.clamp_max(self.category.num_embeddings - 1)  # of a last column of numbers
            tokens = tokens + torch.where(categorical[:, None], self.category(row), 0.0)
        return tokens

    def token_mask(self, mask: Tensor | None) -> Tensor | None:
        return None

    @property
    def positions(self) -> Tensor:
        return self.column

    def patch_weights(self) -> Tensor | None:
        return self.slots

    def forward(self, batch: Batch) -> Encoding:
        x = batch.x
        tokens = self.blocks(self.embed(x))
        return Encoding(tokens, tokens.mean(1))
