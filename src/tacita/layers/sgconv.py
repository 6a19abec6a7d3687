"""Structured global convolution: a kernel of pieces, each twice as long, half as strong and as coarse.

Li et al., "What Makes Convolutional Models Great on Long Sequence Modeling?", 2022. A long kernel of
`O(log L)` parameters that favours the near past; for long signals of a fixed length.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from tacita.catalog.cards import method
from tacita.errors import ConfigError
from tacita.layers.long_conv import FiniteConvolution


@method(
    "sgconv",
    title="Structured global convolution (SGConv)",
    paper="https://arxiv.org/abs/2210.09298",
    year=2022,
    family="layer",
    needs=("steps",),
    summary="Mixes time by a long kernel with a few parameters on each scale; for long fixed lengths.",
    reuses=("fft_convolution",),
)
class SGConv(FiniteConvolution):
    """Convolution with `[w_0, decay w_1, decay^2 w_2 twice as long, ...] / Z`, each piece interpolated.

    d_model: channels `D`.
    channels: kernels for each of them; 1.
    max_length: taps of a kernel, and so the longest sequence.
    piece: parameters of a piece, and taps of the first two; 64.
    decay: how much weaker a piece is than the one before it; 0.5.

    `Z` is the kernel's norm at the start, so that it begins with norm 1. Raises `ConfigError` for a
    piece that is not positive or a decay that is not.

    >>> SGConv(4, max_length=32, piece=4).taps().shape
    torch.Size([1, 4, 32])
    """

    tiny = {"max_length": 64}
    norm: Tensor
    optimizer_hints = {"pieces": {"learning_rate": 1e-3, "weight_decay": 0.0}}

    def __init__(
        self,
        d_model: int,
        *,
        channels: int = 1,
        max_length: int = 1024,
        piece: int = 64,
        decay: float = 0.5,
    ) -> None:
        super().__init__(d_model, channels, max_length)
        if piece < 1 or decay <= 0:
            raise ConfigError(
                f"piece={piece} and decay={decay} must be positive.",
                remedy="The defaults are 64 and 0.5.",
            )
        self.decay = decay
        count = 1 + max(0, (-(-max_length // piece) - 1).bit_length())
        self.pieces = nn.Parameter(torch.randn(count, channels, d_model, piece))
        self.register_buffer("norm", torch.ones(channels, d_model, 1))
        with torch.no_grad():
            self.norm.copy_(self.taps().norm(dim=-1, keepdim=True))

    def taps(self) -> Tensor:
        scales = [
            self.decay**number * functional.interpolate(piece, scale_factor=factor, mode="linear")
            for number, (piece, factor) in enumerate(
                zip(self.pieces, [1, *(2**n for n in range(len(self.pieces) - 1))], strict=True)
            )
        ]
        return torch.cat(scales, -1)[..., : self.max_length] / self.norm
