"""Transformer blocks over sets of tokens, some of which may be missing.

Vaswani et al., "Attention Is All You Need", 2017, with the norm before each branch (pre-norm).
Positions are the caller's business, so any subset of tokens can be passed.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from tacita.errors import ConfigError

DEEPEST = 256
"""More blocks than anyone trains: beyond it a damaged recipe would build for hours."""


class Attention(nn.Module):
    """Multi-head self-attention in which no token looks at a token that is not valid.

    head_dim: width of a head; by default the tokens' width is shared out among the heads.
    """

    def __init__(self, dim: int, heads: int, head_dim: int | None = None) -> None:
        super().__init__()
        if heads < 1 or (head_dim is None and dim % heads):
            raise ConfigError(
                f"dim={dim} cannot be shared out among heads={heads}.",
                remedy="Choose dim as a multiple of heads.",
            )
        self.heads = heads
        width = dim if head_dim is None else heads * head_dim
        self.query_key_value = nn.Linear(dim, 3 * width)
        self.out = nn.Linear(width, dim)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        batch, length, _ = x.shape
        split = self.query_key_value(x).view(batch, length, 3, self.heads, -1)
        query, key, value = split.permute(2, 0, 3, 1, 4).unbind(0)  # each (B, H, T, head_dim)
        if mask is not None:
            # Softmax over nothing is NaN: a row without any valid token attends to all of its own.
            mask = (mask | ~mask.any(1, keepdim=True))[:, None, None, :]
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return self.out(mixed.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Attention, then a two-layer MLP, each on normalised tokens and added to what was there."""

    def __init__(
        self,
        dim: int,
        heads: int,
        expansion: int = 4,
        head_dim: int | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(dim)
        self.attention = Attention(dim, heads, head_dim)
        self.mlp_norm = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(
            nn.Linear(dim, expansion * dim), nn.GELU(), nn.Linear(expansion * dim, dim)
        )
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        x = x + self.drop(self.attention(self.attention_norm(x), mask))
        return x + self.drop(self.mlp(self.mlp_norm(x)))


class Transformer(nn.Module):
    """`depth` blocks and a last norm. Shapes: `(B, T, dim)` to the same; `mask (B, T)` True = valid.

    dropout: share of what each branch adds that is dropped in training.

    >>> import torch
    >>> Transformer(8, depth=1, heads=2)(torch.zeros(2, 3, 8)).shape
    torch.Size([2, 3, 8])
    """

    def __init__(
        self,
        dim: int,
        *,
        depth: int,
        heads: int,
        expansion: int = 4,
        head_dim: int | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if not 1 <= depth <= DEEPEST:
            raise ConfigError(f"depth={depth} is not from 1 to {DEEPEST}.")
        if not 0 <= dropout < 1:
            raise ConfigError(f"dropout={dropout} is not from 0 to below 1.")
        self.layers = nn.ModuleList(
            Block(dim, heads, expansion, head_dim, dropout) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        for layer in self.layers:
            x = layer(x, mask)
        return self.norm(x)
