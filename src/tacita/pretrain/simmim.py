"""SimMIM: hidden patches are replaced by one token, and a linear layer says what was there.

Xie et al., "SimMIM: A Simple Framework for Masked Image Modeling", 2022. Needs no views and no
decoder; the encoder sees every place, so a step costs what a supervised one does, and any encoder of
tokens will do, also one that could not leave tokens out.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tacita.catalog import discover
from tacita.catalog.cards import method
from tacita.data.batch import Batch
from tacita.encoder import Encoder, TokenEncoder, hide_padding, require_tokens
from tacita.errors import ConfigError
from tacita.objective import Losses, Objective
from tacita.parts.masking import hide
from tacita.parts.reconstruction import data_weights, hidden_mean, require_ratio
from tacita.processes import rand
from tacita.tasks import full_precision

HIDDEN_SHARE = 0.6
"""Of images as in the paper; less of samples that are less redundant."""

ENOUGH_UNITS = 16
"""Tokens are hidden two by two where that leaves so many units; of fewer a draw would be all or little."""


@method(
    "simmim",
    title="SimMIM",
    paper="https://arxiv.org/abs/2111.09886",
    year=2022,
    family="pretrain",
    needs=("patches",),
    labels="none",
    summary="Pretrains an encoder without labels or views, filling in hidden patches linearly.",
    reuses=("masking", "reconstruction"),
    claim="Features of held-out digits have far better neighbours than those of the untrained Transformer "
    "after 2,000 steps; after 500 they had not in every seed.",
)
class SimMIM(Objective[Batch]):
    """Masked prediction of raw values under any encoder of tokens: `vit`, `series-transformer`, ...

    mask_ratio: share of the units hidden; by default 0.6 for images, 0.5 for series and tables.
    mask_unit: side of a unit, the tokens that are hidden together: a square of an image's patches, a
        run of a series'. By default 2 where that leaves 16 units, as in the paper for patches of 16
        pixels, else 1; for tables 1, as neighbouring columns need not have to do with each other.

    The token in place of what is hidden is dropped afterwards, with the linear layer. Raises
    `ConfigError` for an encoder without tokens, or of one token or unit, of which none can be hidden.

    Differs from the paper: none in the method; the encoder is a small `vit` without relative positions.
    """

    reads = "unlabelled"
    engine_defaults = {
        "steps": 2000,
        "batch_size": 128,
        "learning_rate": 1e-3,
        "weight_decay": 0.05,
    }
    encoder: TokenEncoder
    unit_of: Tensor

    def __init__(
        self, encoder: Encoder, *, mask_ratio: float | None = None, mask_unit: int | None = None
    ) -> None:
        super().__init__()
        encoder = require_tokens(encoder, "simmim")
        card = discover.modality(encoder.spec.modality)
        usual = min(HIDDEN_SHARE, card.hidden_share)
        if mask_ratio is None:
            mask_ratio = usual
        require_ratio(mask_ratio, usual)
        rows, columns = encoder.grid
        if mask_unit is None:
            pairs = -(-rows // 2) * -(-columns // 2)
            mask_unit = 2 if "neighbours" in card.gives and pairs >= ENOUGH_UNITS else 1
        if not 1 <= mask_unit < max(rows, columns):
            raise ConfigError(
                f"mask_unit={mask_unit} hides nothing or all of a grid of {rows}x{columns} tokens.",
                remedy=f"Choose from 1 to {max(rows, columns) - 1}, or leave it out.",
            )
        self.encoder = encoder
        self.mask_ratio = mask_ratio
        self.mask_unit = mask_unit
        units = unit_grid(rows, columns, mask_unit)
        self.units = int(units[-1]) + 1
        self.register_buffer("unit_of", units, persistent=False)
        self.hidden_token = nn.Parameter(0.02 * torch.randn(encoder.dim))
        patch_dim = encoder.patches(torch.zeros(1, *encoder.spec.shape)).shape[2]
        self.predict = nn.Linear(encoder.dim, patch_dim)

    def loss(self, batch: Batch) -> Losses:
        mask = self.encoder.token_mask(batch.mask)
        x = hide_padding(batch.x, batch.mask)
        target = self.encoder.patches(x)
        hidden = self.draw(target, mask)
        predicted = self.reconstruct(x, hidden, mask)
        weights = data_weights(self.encoder, batch, target)
        return Losses(reconstruction=simmim_loss(predicted, target, hidden, weights))

    def draw(self, patches: Tensor, mask: Tensor | None = None) -> Tensor:
        """`(B, T)` bool: the tokens to hide, the valid ones of a random share of the units."""
        batch, length, _ = patches.shape
        unit_of = self.unit_of[:length]
        noise = rand(batch, self.units, device=patches.device)
        if mask is None:
            return hide(noise, self.mask_ratio).hidden[:, unit_of]
        held = torch.zeros(batch, self.units, device=patches.device)
        held = held.index_add(1, unit_of, mask.to(held))  # valid tokens in each unit
        return hide(noise, self.mask_ratio, held > 0).hidden[:, unit_of] & mask

    def reconstruct(self, x: Tensor, hidden: Tensor, mask: Tensor | None = None) -> Tensor:
        """`(B, T, P)`: every patch as predicted where those of `hidden (B, T)` are not seen."""
        tokens = self.encoder.embed(x)
        unseen = self.hidden_token + self.encoder.positions[: tokens.shape[1]]
        return self.predict(
            self.encoder.blocks(torch.where(hidden[:, :, None], unseen, tokens), mask)
        )


def simmim_loss(predicted: Tensor, target: Tensor, hidden: Tensor, weights: Tensor) -> Tensor:
    """L1 over what is hidden, divided by its count (section 3.4); in float32.

    Shapes: `predicted`, `target` and `weights (B, T, P)`, 1 for numbers that are data; `hidden (B, T)`
    bool. The mean over hidden tokens of the mean over their data, which for whole patches is the paper's.

    >>> zeros, ones = torch.zeros(1, 2, 3), torch.ones(1, 2, 3)
    >>> simmim_loss(zeros, 5 * ones, torch.tensor([[True, False]]), ones).item()
    5.0
    """
    return hidden_mean((full_precision(predicted) - full_precision(target)).abs(), hidden, weights)


def unit_grid(rows: int, columns: int, side: int) -> Tensor:
    """`(rows * columns,)` int64: for each token of a grid the number of the square that it lies in.

    >>> unit_grid(2, 4, 2).view(2, 4).tolist()
    [[0, 0, 1, 1], [0, 0, 1, 1]]
    """
    row, column = torch.arange(rows) // side, torch.arange(columns) // side
    return (row[:, None] * -(-columns // side) + column).flatten()
