"""MAE: most tokens are hidden from the encoder, and a light decoder reconstructs them.

He et al., "Masked Autoencoders Are Scalable Vision Learners", 2022. Needs no views, so it suits
data for which one cannot say what leaves the meaning unchanged. The encoder sees a quarter of an
image, so a step is cheap; its features are best after fine-tuning.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tacita.catalog import discover
from tacita.catalog.cards import method
from tacita.data.batch import Batch
from tacita.encoder import Encoder, TokenEncoder, hide_padding, require_tokens
from tacita.objective import Losses, Objective
from tacita.parts.masking import Hiding, gather_tokens, hide, scatter_tokens
from tacita.parts.reconstruction import data_weights, hidden_mean, require_ratio
from tacita.parts.transformer import Transformer
from tacita.processes import rand
from tacita.tasks import full_precision


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
    decoder_dim: width of the decoder, which is dropped afterwards.
    decoder_depth: number of its blocks.
    decoder_heads: number of its attention heads.
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
        patch_dim = encoder.patches(torch.zeros(1, *encoder.spec.shape)).shape[2]
        self.enter = nn.Linear(encoder.dim, decoder_dim)
        self.place = nn.Linear(encoder.dim, decoder_dim, bias=False)
        self.hidden_token = nn.Parameter(0.02 * torch.randn(decoder_dim))
        self.decoder = Transformer(decoder_dim, depth=decoder_depth, heads=decoder_heads)
        self.leave = nn.Linear(decoder_dim, patch_dim)

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
        length = tokens.shape[1]
        valid = None if mask is None else hiding.valid
        seen = self.encoder.blocks(gather_tokens(tokens, hiding.visible), valid)
        full = scatter_tokens(self.enter(seen), hiding.visible, self.hidden_token, length, valid)
        return self.leave(self.decoder(full + self.place(self.encoder.positions[:length]), mask))


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
