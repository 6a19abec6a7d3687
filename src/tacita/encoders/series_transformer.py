"""A Transformer over patches of time, for series of any and of unequal length.

Nie et al., "A Time Series is Worth 64 Words" (PatchTST), 2023: a few steps together are a token.
Choose it for masked reconstruction and for long series, where patches keep attention cheap.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from tacita.catalog.cards import method
from tacita.data.batch import Batch, InputSpec
from tacita.encoder import Encoding, TokenEncoder, hide_padding, masked_mean
from tacita.errors import ConfigError
from tacita.parts.positions import sine_positions
from tacita.parts.transformer import Transformer


@method(
    "series-transformer",
    title="Patched series Transformer",
    paper="https://arxiv.org/abs/2211.14730",
    year=2023,
    family="encoder",
    modalities=("series",),
    summary="Features of series from patches of time as tokens, so that patches can be hidden.",
    reuses=("transformer", "positions"),
)
class SeriesTransformer(TokenEncoder):
    """Patches of time, fixed sine positions, pre-norm blocks, and the mean of the valid tokens.

    patch: steps in a token; by default 4, more for a series that would have over 128 tokens, fewer
        for one that would have under 8.
    dim: width of a token.
    depth: number of blocks.
    heads: number of attention heads.

    Shapes: `x (B, L, C)`, any L from 1 up; `tokens (B, ceil(L / patch), dim)`; a token holds a
    patch's steps of all channels, with zeros for steps that are not valid.

    Differs from the paper: a token mixes the channels, where the paper runs each channel alone;
    patches do not overlap; positions are fixed.

    >>> import torch
    >>> encoder = SeriesTransformer(InputSpec("series", (100, 3)))
    >>> encoder.patch, encoder(torch.zeros(2, 100, 3)).tokens.shape
    (4, torch.Size([2, 25, 96]))
    """

    tiny = {"dim": 24, "depth": 2}
    modalities = ("series",)
    fixed = False
    position_line: Tensor

    def __init__(
        self,
        spec: InputSpec,
        *,
        patch: int | None = None,
        dim: int = 96,
        depth: int = 4,
        heads: int = 3,
    ) -> None:
        super().__init__()
        self.require(spec)
        length = spec.shape[0]
        if patch is not None and not 1 <= patch <= length:
            raise ConfigError(
                f"patch={patch} does not fit series of {length} steps.",
                remedy=f"Choose from 1 to {length}, or leave it out.",
            )
        self.spec = spec
        self.dim = dim
        self.patch = patch or default_patch(length)
        self.register_buffer(
            "position_line", sine_positions(-(-length // self.patch), dim), persistent=False
        )
        self.project = nn.Linear(spec.channels * self.patch, dim)
        self.transformer = Transformer(dim, depth=depth, heads=heads)

    def patches(self, x: Tensor) -> Tensor:
        x = functional.pad(x, (0, 0, 0, -x.shape[1] % self.patch))
        return x.reshape(x.shape[0], -1, self.patch * x.shape[2])

    def embed(self, x: Tensor) -> Tensor:
        patches = self.patches(x)
        count = patches.shape[1]
        positions = self.positions
        if count > len(positions):  # a series longer than those it was made for
            positions = sine_positions(count, self.dim).to(positions)
        return self.project(patches) + positions[:count]

    def blocks(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        return self.transformer(tokens, mask)

    def token_mask(self, mask: Tensor | None) -> Tensor | None:
        if mask is None:
            return None
        padded = functional.pad(mask, (0, -mask.shape[1] % self.patch), value=False)
        return padded.view(mask.shape[0], -1, self.patch).any(2)

    @property
    def positions(self) -> Tensor:
        return self.position_line

    def forward(self, batch: Batch) -> Encoding:
        x, mask = batch.x, batch.mask
        valid = self.token_mask(mask)
        tokens = self.blocks(self.embed(hide_padding(x, mask)), valid)
        return Encoding(hide_padding(tokens, valid), masked_mean(tokens, valid))

    def per_step(self, batch: Batch) -> Tensor:
        """Of the patch that a step lies in."""
        spread = self(batch).tokens.repeat_interleave(self.patch, 1)[:, : batch.x.shape[1]]
        return hide_padding(spread, batch.mask)


def default_patch(length: int) -> int:
    """Steps in a token for series of a length.

    >>> default_patch(1), default_patch(20), default_patch(100), default_patch(3000)
    (1, 2, 4, 24)
    """
    return max(-(-length // 128), min(4, max(1, length // 8)))
