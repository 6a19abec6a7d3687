"""A small vision Transformer: patches of an image as a set of tokens.

Dosovitskiy et al., "An Image is Worth 16x16 Words", 2021, in the size that trains on a laptop.
Choose it for masked reconstruction, or where there are tens of thousands of images; below that
the residual CNN learns more from the same labels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from tacita.catalog.cards import method
from tacita.data.batch import Batch, InputSpec
from tacita.encoder import Encoding, TokenEncoder
from tacita.errors import ConfigError
from tacita.parts.positions import grid_positions
from tacita.parts.transformer import Transformer


@method(
    "vit",
    title="Small vision Transformer",
    paper="https://arxiv.org/abs/2010.11929",
    year=2021,
    family="encoder",
    modalities=("images",),
    summary="Features of images from patches as tokens, so that patches can be hidden from it.",
    reuses=("transformer", "positions"),
)
class ViT(TokenEncoder):
    """Patches, fixed sine positions, pre-norm blocks, a last norm, and the mean of the tokens.

    patch: side of a patch in pixels; by default the smallest that gives at most 64 tokens, from
        2 up, that divides the image where one with at least 16 tokens does.
    dim: width of a token.
    depth: number of blocks.
    heads: number of attention heads.

    Shapes: `x (B, C, H, W)`; `tokens (B, T, dim)`, the patches row by row. An image that patches do
    not divide is padded with zeros on the right and below. Images of another size, as small crops are,
    have the positions of their own grid, which begins at the same corner.

    Differs from the paper: no class token; positions are fixed, on a grid (as in MoCo v3 and MAE).

    >>> encoder = ViT(InputSpec("images", (1, 28, 28)))
    >>> encoder.patch, encoder(torch.zeros(2, 1, 28, 28)).tokens.shape
    (4, torch.Size([2, 49, 96]))
    """

    tiny = {"dim": 24, "depth": 2}
    modalities = ("images",)
    position_grid: Tensor
    weights: Tensor | None

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
        height, width = spec.shape[1:]
        if patch is not None and not 1 <= patch <= max(height, width):
            raise ConfigError(
                f"patch={patch} does not fit images of {height}x{width}.",
                remedy=f"Choose from 1 to {max(height, width)}, or leave it out.",
            )
        self.spec = spec
        self.dim = dim
        self.patch = patch or default_patch(height, width)
        self.register_buffer("position_grid", grid_positions(*self.grid, dim), persistent=False)
        weights = self.patches(torch.ones(1, *spec.shape))[0]
        whole = height % self.patch == 0 and width % self.patch == 0
        self.register_buffer("weights", None if whole else weights, persistent=False)
        self.project = nn.Linear(spec.channels * self.patch**2, dim)
        self.transformer = Transformer(dim, depth=depth, heads=heads)

    def patches(self, x: Tensor) -> Tensor:
        size = self.patch
        x = functional.pad(x, (0, -x.shape[3] % size, 0, -x.shape[2] % size))
        batch, channels, height, width = x.shape
        cells = x.reshape(batch, channels, height // size, size, width // size, size)
        return cells.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)

    def embed(self, x: Tensor) -> Tensor:
        positions = self.positions
        height, width = x.shape[2:]
        if (height, width) != self.spec.shape[1:]:  # a crop, on a grid of its own
            rows, columns = -(-height // self.patch), -(-width // self.patch)
            positions = grid_positions(rows, columns, self.dim).to(positions)
        return self.project(self.patches(x)) + positions

    def blocks(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        return self.transformer(tokens, mask)

    def token_mask(self, mask: Tensor | None) -> Tensor | None:
        return None

    @property
    def positions(self) -> Tensor:
        return self.position_grid

    @property
    def grid(self) -> tuple[int, int]:
        height, width = self.spec.shape[1:]
        return -(-height // self.patch), -(-width // self.patch)

    def patch_weights(self) -> Tensor | None:
        return self.weights

    def forward(self, batch: Batch) -> Encoding:
        x = batch.x
        tokens = self.blocks(self.embed(x))
        return Encoding(tokens, tokens.mean(1))


def default_patch(height: int, width: int) -> int:
    """The patch side for an image: 16 to 64 tokens, and a divisor of both sides where there is one.

    >>> default_patch(8, 8), default_patch(32, 32), default_patch(30, 31)
    (2, 4, 4)
    """
    sides = range(2, max(height, width, 2) + 1)
    tokens = {side: -(-height // side) * -(-width // side) for side in sides}
    small = [side for side in sides if tokens[side] <= 64]
    dividing = [s for s in small if height % s == 0 == width % s and tokens[s] >= 16]
    return (dividing or small)[0]
