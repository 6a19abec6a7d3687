"""S4ND blocks over the pixels of an image: a network that sees a picture, not a grid.

Nguyen et al., "S4ND: Modeling Images and Videos as Multidimensional Signals Using State Spaces", 2022. Every
block sees the whole image; one trained at a resolution reads others without training.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from tacita.catalog.cards import method
from tacita.data.batch import Batch, InputSpec
from tacita.encoder import Encoder, Encoding
from tacita.errors import ConfigError
from tacita.layers.s4nd import S4ND


@method(
    "s4nd",
    title="Multidimensional state-space encoder (S4ND)",
    paper="https://arxiv.org/abs/2210.06583",
    year=2022,
    family="encoder",
    modalities=("images",),
    summary="Features of small images by global convolutions; reads other resolutions than it learned.",
    reuses=("vandermonde",),
    claim="Trained on 8x8 digits it is as accurate at 16x16, where a CNN guesses; at 8x8 the CNN is better.",
)
class S4NDEncoder(Encoder):
    """A linear map of each pixel, `depth` residual blocks of S4ND and a gated linear unit, and the mean.

    width: channels, which are the features.
    depth: number of blocks.
    d_state: state size of each axis and direction.
    band_limit: modes faster than this share of what the training grid can tell apart are silent.

    Shapes: `x (B, C, H, W)`; `tokens (B, H W, width)`, row by row. An image of another size than the
    spec's is taken to be the same picture, sampled at another rate. Raises `ConfigError` for sizes that
    are not positive.

    Differs from the paper: pixels rather than patches in the blocks of a Transformer or ConvNeXt.

    >>> import torch
    >>> encoder = S4NDEncoder(InputSpec("images", (1, 8, 8)), width=8, depth=1)
    >>> encoder(torch.zeros(2, 1, 16, 16)).pooled.shape
    torch.Size([2, 8])
    """

    tiny = {"width": 8, "depth": 2, "d_state": 4}
    modalities = ("images",)

    def __init__(
        self,
        spec: InputSpec,
        *,
        width: int = 64,
        depth: int = 3,
        d_state: int = 16,
        band_limit: float = 0.5,
    ) -> None:
        super().__init__()
        self.require(spec)
        if width < 1 or not 1 <= depth <= 256:
            raise ConfigError(
                f"width={width} must be positive and depth={depth} from 1 to 256.",
                remedy="The defaults are 64 and 3.",
            )
        self.spec = spec
        self.dim = width
        side = max(spec.shape[1:])
        self.enter = nn.Linear(spec.channels, width)
        self.blocks = nn.ModuleList(
            S4NDBlock(
                S4ND(
                    width,
                    d_state=d_state,
                    dt_min=min(1.0, 1 / side),
                    dt_max=min(1.0, 10 / side),
                    band_limit=band_limit,
                )
            )
            for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, batch: Batch) -> Encoding:
        x = batch.x
        rates = [
            trained / size for trained, size in zip(self.spec.shape[1:], x.shape[2:], strict=True)
        ]
        y = self.enter(x.movedim(1, -1))
        for block in self.blocks:
            y = block(y, rates)
        tokens = self.norm(y).flatten(1, 2)
        return Encoding(tokens, tokens.mean(1))


class S4NDBlock(nn.Module):
    """Norm, S4ND, GELU and a gated linear unit, added to what was there."""

    def __init__(self, layer: S4ND) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(layer.d_model)
        self.layer = layer
        self.gate = nn.Linear(layer.d_model, 2 * layer.d_model)

    def forward(self, x: Tensor, rates: list[float]) -> Tensor:
        y = functional.gelu(self.layer(self.norm(x), rates=rates))
        return x + functional.glu(self.gate(y))
