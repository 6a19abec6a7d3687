"""Joint-embedding prediction: tokens that an encoder sees tell what a teacher makes of hidden ones.

What I-JEPA (Assran et al., 2023) and T-JEPA (Thimonier et al., 2025) share: the tokens of the context,
the teacher's tokens as targets, and the predictor between them. `B` samples, `T` tokens, `K` of them
in the context, `M` sets of `n` targets.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from tacita.encoder import TokenEncoder
from tacita.errors import ConfigError
from tacita.parts.masking import gather_tokens
from tacita.parts.transformer import Transformer
from tacita.tasks import full_precision


class LatentPredictor(nn.Module):
    """A narrow Transformer over the context's tokens and a mask token at each place to predict.

    Shapes: `context (B, K, D)` at `context_at (B, K)`, targets at `target_at (B, M, n)`, to
    `(B, M, n, D)`. Each set of targets is predicted apart: sets do not see one another. Positions
    `(T, D)` are the encoder's, mapped to the predictor's width.

    >>> predictor = LatentPredictor(8, dim=4, depth=1, heads=2)
    >>> at = torch.tensor([[0, 2]])
    >>> predictor(torch.zeros(1, 2, 8), at, torch.tensor([[[1], [3]]]), torch.zeros(4, 8)).shape
    torch.Size([1, 2, 1, 8])
    """

    def __init__(self, encoder_dim: int, *, dim: int, depth: int, heads: int) -> None:
        super().__init__()
        if dim < 1:
            raise ConfigError(f"predictor_dim={dim} is not a width.", remedy="Usual are 16 to 384.")
        self.enter = nn.Linear(encoder_dim, dim)
        self.place = nn.Linear(encoder_dim, dim, bias=False)
        self.mask_token = nn.Parameter(0.02 * torch.randn(dim))
        self.transformer = Transformer(dim, depth=depth, heads=heads)
        self.leave = nn.Linear(dim, encoder_dim)

    def forward(
        self,
        context: Tensor,
        context_at: Tensor,
        target_at: Tensor,
        positions: Tensor,
        context_valid: Tensor | None = None,
        target_valid: Tensor | None = None,
    ) -> Tensor:
        sets, kept = target_at.shape[1], context.shape[1]
        place = self.place(positions)
        seen = (self.enter(context) + place[context_at])[:, None].expand(-1, sets, -1, -1)
        asked = self.mask_token.to(seen.dtype) + place[target_at]
        tokens = torch.cat([seen, asked], 2).flatten(0, 1)  # (B M, K + n, dim)
        mask = None
        if context_valid is not None and target_valid is not None:
            valid = context_valid[:, None].expand(-1, sets, -1)
            mask = torch.cat([valid, target_valid], 2).flatten(0, 1)
        predicted = self.leave(self.transformer(tokens, mask)[:, kept:])
        return predicted.view(*target_at.shape, predicted.shape[2])


def context_tokens(
    encoder: TokenEncoder, x: Tensor, at: Tensor, valid: Tensor | None = None
) -> Tensor:
    """`(B, K, D)`: the tokens at `at (B, K)`, encoded as if there were no others."""
    return encoder.blocks(gather_tokens(encoder.embed(x), at), valid)


@torch.no_grad()
def target_tokens(
    teacher: TokenEncoder, x: Tensor, at: Tensor, mask: Tensor | None = None
) -> Tensor:
    """`(B, M, n, D)`: what a teacher that sees all tokens makes of those at `at (B, M, n)`.

    Each token is normalised over its features, in float32, so that no target can shrink to nothing.
    `mask (B, T)` True = valid.
    """
    tokens = full_precision(teacher.blocks(teacher.embed(x), mask))
    tokens = functional.layer_norm(tokens, tokens.shape[2:])
    return gather_tokens(tokens, at.flatten(1)).view(*at.shape, tokens.shape[2])
