"""S4D: a state-space layer whose matrix is diagonal, so that its kernel is a sum of exponentials.

Gu et al., "On the Parameterization and Initialization of Diagonal State Space Models", 2022. Almost
any system can be diagonalised; what decides is where the diagonal starts. The layer to begin with for
smooth signals and long memory: `2 H N L` work for a kernel that needs no special function, O(N) a step.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from tacita.catalog.cards import method
from tacita.errors import ConfigError
from tacita.layers.diagonal import DiagonalSSM, pairs
from tacita.layers.discretise import Rule, log_steps
from tacita.layers.hippo import legs_modes

Start = Literal["legs", "inv", "lin", "real", "random"]


@method(
    "s4d",
    title="Diagonal state-space layer (S4D)",
    paper="https://arxiv.org/abs/2206.11893",
    year=2022,
    family="layer",
    needs=("steps",),
    summary="Mixes time by a long convolution that is also a small recurrence; the first choice for signals.",
    reuses=("fft_convolution", "vandermonde"),
    claim="Started from HiPPO's frequencies it learns a delay of 128 steps; from random or no ones it fails.",
)
class S4D(DiagonalSSM):
    """A diagonal system a channel: `y = 2 Re(C x) + D u`, `x' = A x + B u`, discretised.

    d_model: channels.
    d_state: state size `N` of each channel, in real numbers; 64 as in the paper.
    start: where the eigenvalues start (table 1): `legs`, the normal part of HiPPO's matrix; `inv` and
        `lin`, its asymptote and that of the Fourier basis; `real`, without frequencies; `random`.
    discretisation: `zoh` or `bilinear`; they differ little (table 3).
    dt_min, dt_max: step sizes start between them, uniform in the logarithm; a channel remembers some
        `1 / dt` steps.

    Raises `ConfigError` for an odd `d_state`. Differs from the paper: the imaginary part of `B` is not
    clipped; weights of `C` are standard complex normal, as in its code.

    >>> layer = S4D(4, d_state=8)
    >>> y, state = layer(torch.randn(2, 10, 4), return_state=True)
    >>> layer.step(torch.randn(2, 4), state)[0].shape
    torch.Size([2, 4])
    """

    tiny = {"d_state": 4}

    def __init__(
        self,
        d_model: int,
        *,
        d_state: int = 64,
        start: Start = "legs",
        discretisation: Rule = "zoh",
        dt_min: float = 1e-3,
        dt_max: float = 0.1,
    ) -> None:
        modes, b = starting_modes(start, d_state)
        shape = (d_model, pairs(d_state))
        super().__init__(
            modes.expand(shape),
            b.expand(shape),
            torch.randn(shape, dtype=torch.complex64),
            log_steps(d_model, dt_min, dt_max),
            discretisation=discretisation,
        )


def starting_modes(start: str, d_state: int) -> tuple[Tensor, Tensor]:
    """`(N/2,)` eigenvalues and input weights of an initialisation, complex128.

    Raises `ConfigError` for an unknown name.

    >>> starting_modes("lin", 4)[0].imag
    tensor([0.0000, 3.1416], dtype=torch.float64)
    """
    count = pairs(d_state)
    n = torch.arange(count, dtype=torch.float64)
    decay, ones = torch.full_like(n, 0.5), torch.ones(count, dtype=torch.complex128)
    if start == "legs":
        modes, b = legs_modes(d_state)
        return torch.from_numpy(modes), torch.from_numpy(b)
    if start == "inv":
        return torch.complex(-decay, d_state / math.pi * (d_state / (2 * n + 1) - 1)), ones
    if start == "lin":
        return torch.complex(-decay, math.pi * n), ones
    if start == "real":
        return torch.complex(-(n + 1), torch.zeros_like(n)), ones
    if start == "random":
        spread = torch.randn(count, dtype=torch.float64).exp()
        return torch.complex(-torch.rand(count, dtype=torch.float64), spread), ones
    raise ConfigError(f"start={start!r} is unknown.", remedy="Known: legs, inv, lin, real, random.")
