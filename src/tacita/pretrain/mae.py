"""MAE: most tokens are hidden from the encoder, and a light decoder reconstructs them.

He et al., "Masked Autoencoders Are Scalable Vision Learners", 2022. Needs no views, so it suits
data for which one cannot say what leaves the meaning unchanged. The encoder sees a quarter of an
image, so a step is cheap; its features are best after fine-tuning.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from tacita.catalog import discover
from tacita.catalog.cards import method
from tacita.data.batch import Batch
from tacita.encoder import Encoder, TokenEncoder, hide_padding, masked_mean, require_tokens
from tacita.objective import Losses, Objective
from tacita.parts.masking import Hiding, gather_tokens, hide, scatter_tokens
from tacita.parts.reconstruction import data_weights, hidden_mean, require_ratio
from tacita.parts.transformer import Transformer
from tacita.processes import rand
from tacita.tasks import full_precision

WIDE = 32
"""Columns beyond which a table is reconstructed without attention: a step on 180 takes a seventeenth then."""


@method(
    "mae",
    title="Masked autoencoder",
    paper="https://arxiv.org/abs/2111.06377",
    year=2022,
    family="pretrain",
    needs=("patches",),
    labels="none",
    summary="Pretrains an encoder without labels or views, by reconstructing hidden tokens.",
    reuses=("transformer", "masking", "reconstruction"),
    claim="Pretrained and fine-tuned, a Transformer beats one trained from scratch: this does not hold "
    "here on 8x8 digits, though its features have far better neighbours than untrained ones.",
)
class MAE(Objective[Batch]):
    """Masked reconstruction under any encoder of tokens: `vit`, `series-transformer`, ...

    mask_ratio: share of the tokens hidden; by default 0.75 for images, 0.5 for series and tables.
    decoder: what reconstructs from the visible tokens, and is dropped afterwards: attention between all
        tokens, as in the paper, or the mean of the visible ones alone. By default the mean for tables of
        more than 32 columns: attention takes time by the square of their number, 17 times as much a step
        on 180. After as many steps it may be better by a point or two; within as many minutes it is not.
    decoder_dim: width of the decoder.
    decoder_depth: number of its blocks of attention.
    decoder_heads: number of their heads.
    standardise_patches: whether a patch's target has its own mean and deviation taken out; by
        default for images only, as in the paper: of a series or a table they are what matters.

    Raises `ConfigError` for an encoder without tokens, or one token, of which none can be hidden.

    Differs from the paper: the decoder has 2 blocks of width 64 rather than 8 of 512, and gets its
    positions as a linear map of the encoder's, which serves every modality; no class token.
    """

    reads = "unlabelled"
    engine_defaults = {
        "steps": 2000,
        "batch_size": 128,
        "learning_rate": 1e-3,
        "weight_decay": 0.05,
    }
    encoder: TokenEncoder

    def __init__(
        self,
        encoder: Encoder,
        *,
        mask_ratio: float | None = None,
        decoder: Literal["attention", "mean"] | None = None,
        decoder_dim: int = 64,
        decoder_depth: int = 2,
        decoder_heads: int = 4,
        standardise_patches: bool | None = None,
    ) -> None:
        super().__init__()
        encoder = require_tokens(encoder, "mae")
        card = discover.modality(encoder.spec.modality)
        if mask_ratio is None:
            mask_ratio = card.hidden_share
        require_ratio(mask_ratio, card.hidden_share)
        if standardise_patches is None:
            standardise_patches = "pixels" in card.gives
        self.encoder = encoder
        self.mask_ratio = mask_ratio
        self.standardise_patches = standardise_patches
        if decoder is None:
            wide = "columns" in card.gives and encoder.positions.shape[0] > WIDE
            decoder = "mean" if wide else "attention"
        self.decoder = (
            MeanDecoder(encoder, decoder_dim)
            if decoder == "mean"
            else AttentionDecoder(encoder, decoder_dim, decoder_depth, decoder_heads)
        )

    def loss(self, batch: Batch) -> Losses:
        mask = self.encoder.token_mask(batch.mask)
        x = hide_padding(batch.x, batch.mask)
        target = self.encoder.patches(x)
        weights = data_weights(self.encoder, batch, target)
        hiding = hide(rand(*target.shape[:2], device=x.device), self.mask_ratio, mask)
        predicted = self.reconstruct(x, hiding, mask)
        if self.standardise_patches:
            target = standardise(target, weights)
        return Losses(reconstruction=reconstruction_loss(predicted, target, hiding.hidden, weights))

    def reconstruct(self, x: Tensor, hiding: Hiding, mask: Tensor | None = None) -> Tensor:
        """`(B, T, P)`: every patch as predicted from the visible ones only."""
        tokens = self.encoder.embed(x)
        valid = None if mask is None else hiding.valid
        seen = self.encoder.blocks(gather_tokens(tokens, hiding.visible), valid)
        predicted: Tensor = self.decoder(
            seen, hiding, self.encoder.positions[: tokens.shape[1]], mask
        )
        return predicted


class AttentionDecoder(nn.Module):
    """The paper's: hidden places get one learnt token, and blocks of attention see all of them.

    Shapes: `seen (B, K, dim)`, `positions (T, dim)`, `mask (B, T)` to patches `(B, T, P)`.
    """

    def __init__(self, encoder: TokenEncoder, dim: int, depth: int, heads: int) -> None:
        super().__init__()
        self.enter = nn.Linear(encoder.dim, dim)
        self.place = nn.Linear(encoder.dim, dim, bias=False)
        self.hidden_token = nn.Parameter(0.02 * torch.randn(dim))
        self.blocks = Transformer(dim, depth=depth, heads=heads)
        self.leave = nn.Linear(dim, patch_width(encoder))

    def forward(
        self, seen: Tensor, hiding: Hiding, positions: Tensor, mask: Tensor | None
    ) -> Tensor:
        valid = None if mask is None else hiding.valid
        length = len(positions)
        full = scatter_tokens(self.enter(seen), hiding.visible, self.hidden_token, length, valid)
        patches: Tensor = self.leave(self.blocks(full + self.place(positions), mask))
        return patches


class MeanDecoder(nn.Module):
    """An MLP of the mean of the visible tokens, read at each place by a vector of that place.

    The cost grows with the number of tokens, not with its square, and the pooled features themselves
    have to tell what is hidden. Shapes as of `AttentionDecoder`.
    """

    def __init__(self, encoder: TokenEncoder, dim: int, expansion: int = 4) -> None:
        super().__init__()
        self.enter = nn.Sequential(
            nn.Linear(encoder.dim, expansion * dim), nn.GELU(), nn.Linear(expansion * dim, dim)
        )
        self.place = nn.Linear(encoder.dim, dim, bias=False)
        self.leave = nn.Linear(dim, patch_width(encoder))

    def forward(
        self, seen: Tensor, hiding: Hiding, positions: Tensor, mask: Tensor | None
    ) -> Tensor:
        mean = masked_mean(seen, None if mask is None else hiding.valid)
        patches: Tensor = self.leave(self.enter(mean)[:, None] * self.place(positions))
        return patches


def patch_width(encoder: TokenEncoder) -> int:
    """How many numbers a token stands for."""
    return encoder.patches(torch.zeros(1, *encoder.spec.shape)).shape[2]


def reconstruction_loss(
    predicted: Tensor, target: Tensor, hidden: Tensor, weights: Tensor
) -> Tensor:
    """Mean over the `hidden (B, T)` tokens of the mean squared error over their `weights (B, T, P)`.

    In float32, since errors are squared. Zero where no token is hidden.
    """
    return hidden_mean(
        (full_precision(predicted) - full_precision(target)).square(), hidden, weights
    )


def standardise(patches: Tensor, weights: Tensor) -> Tensor:
    """Each patch `(B, T, P)` to mean 0 and variance 1, as the paper's code: unbiased, plus 1e-6."""
    count = weights.sum(2, keepdim=True)
    mean = (patches * weights).sum(2, keepdim=True) / count.clamp_min(1)
    centred = (patches - mean) * weights
    variance = centred.square().sum(2, keepdim=True) / (count - 1).clamp_min(1)
    return centred * (variance + 1e-6).rsqrt()
