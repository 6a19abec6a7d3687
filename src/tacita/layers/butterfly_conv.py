"""Long convolution in a basis that is learnt: the small matrices of its Fourier transform may change.

Fu et al., "Simple Hardware-Efficient Long Convolutions for Sequence Modeling", 2023, section 4.3. More
expressive than a convolution at the same cost. It starts as one; once the matrices have left those
of the Fourier transform, every output depends on every input.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tacita.catalog.cards import method
from tacita.errors import ConfigError
from tacita.kernels.butterfly.function import block_sizes, butterfly_convolution, dft
from tacita.layers.base import Run, State
from tacita.layers.long_conv import LongConv, Start


@method(
    "butterfly-conv",
    title="Long convolution with a learnt butterfly",
    paper="https://arxiv.org/abs/2302.06646",
    year=2023,
    family="layer",
    needs=("steps",),
    summary="A long convolution whose Fourier transform is learnt too; sees the whole sequence.",
    reuses=("butterfly", "long-conv"),
)
class ButterflyConv(LongConv):
    """`LongConv` with `F_n + delta_n` in place of each matrix `F_n` of the butterfly transform.

    One `delta_n` for each size of matrix, shared by all places of that size and all channels, and apart
    for input and kernel; the inverse and the factors between the products stay those of the transform.

    spread: deviation of `delta` at the start; 0 is exactly the long convolution, 0.01 the authors'.

    All other options are those of `LongConv`. Transforms are always of the length for `max_length`,
    so that what a sequence gives does not depend on the padding beside it.

    >>> layer = ButterflyConv(4, max_length=16)
    >>> layer(torch.randn(2, 10, 4)).shape
    torch.Size([2, 10, 4])
    """

    tiny = {"max_length": 64, "spread": 0.01}  # at the start it is a convolution
    causal = False
    streams = False

    def __init__(
        self,
        d_model: int,
        *,
        channels: int = 2,
        max_length: int = 1024,
        threshold: float = 0.003,
        kernel_dropout: float = 0.2,
        start: Start = "random",
        spread: float = 0.0,
    ) -> None:
        super().__init__(
            d_model,
            channels=channels,
            max_length=max_length,
            threshold=threshold,
            kernel_dropout=kernel_dropout,
            start=start,
        )
        if spread < 0:
            raise ConfigError(f"spread={spread} is negative.", remedy="The authors' value is 0.01.")
        self.time_invariant = False
        self.size = 2 ** (2 * max_length - 1).bit_length()
        self.sizes = block_sizes(self.size)
        self.optimizer_hints = dict(LongConv.optimizer_hints)
        for side in ("signal", "kernel"):
            for n in set(self.sizes):
                self.register_parameter(f"{side}_{n}", nn.Parameter(spread * torch.randn(n, n, 2)))
                # Weight decay is right here: it draws the matrices back to the transform's.
                self.optimizer_hints[f"{side}_{n}"] = {"learning_rate": 1e-3}

    def blocks(self, side: str) -> list[Tensor]:
        """The matrices for `signal` or `kernel`, the outermost first."""
        deltas = [getattr(self, f"{side}_{n}") for n in self.sizes]
        return [dft(len(d), d) + torch.view_as_complex(d) for d in deltas]

    def mix(self, x: Tensor, run: Run) -> tuple[Tensor, State | None]:
        with torch.autocast(x.device.type, enabled=False):
            u = x.to(self.skip.dtype)
            y = butterfly_convolution(
                u.mT,
                self.taps(),
                size=self.size,
                signal_blocks=self.blocks("signal"),
                kernel_blocks=self.blocks("kernel"),
            )
            return self._join(y.movedim(-1, 1) + self.skip * u[:, :, None]).to(x.dtype), None
