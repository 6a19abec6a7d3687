"""DSS: a diagonal state space whose kernel is a softmax over time, shared modes for all channels.

Gupta, Gu and Berant, "Diagonal State Spaces are as Effective as Structured State Spaces", 2022. Each mode's
exponential is divided by its sum over the training length, so that it can neither vanish nor explode
there, whatever the sign of its decay; this ties the layer to that length. The `exp` form has no such
tie: it is S4D with one set of modes for all channels. The work is that of S4D.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from tacita.catalog.cards import method
from tacita.errors import ConfigError
from tacita.kernels import vandermonde_product
from tacita.layers.diagonal import SLOW, ModalSSM
from tacita.layers.discretise import log_steps
from tacita.layers.hippo import legs_modes


@method(
    "dss",
    title="Diagonal state-space layer with a softmax kernel (DSS)",
    paper="https://arxiv.org/abs/2203.14343",
    year=2022,
    family="layer",
    needs=("steps",),
    summary="Mixes time by a kernel that is normalised over the training length; S4D without that tie.",
    reuses=("fft_convolution", "vandermonde"),
)
class DSS(ModalSSM):
    """`K_l = Re sum_n W_n / A_n softmax_l(delta A_n l)` over `max_length` steps (proposition 1).

    d_model: channels, each with a step size and weights of its own.
    d_state: complex modes, the same for all channels; 64 as in the paper.
    max_length: the length `L` of training, over which the softmax normalises; longer input is refused.
    form: `softmax`, or `exp`: decaying modes without normalisation, for any length and rate.
    dt_min, dt_max: step sizes start between them, uniform in the logarithm.

    With `softmax` a mode may grow; in single precision its streaming state overflows beyond
    `e^88` from the first step to the last. Raises `ConfigError` for an unknown form.

    Differs from the paper: the code's second step size for the imaginary parts is left out; the softmax
    runs over `max_length` steps for shorter inputs too, so that the layer stays one system.

    >>> layer = DSS(4, d_state=8, max_length=100)
    >>> layer(torch.randn(2, 10, 4)).shape
    torch.Size([2, 10, 4])
    """

    tiny = {"d_state": 4, "max_length": 64}
    optimizer_hints = dict.fromkeys(("log_step", "decay", "frequency", "W"), SLOW)

    def __init__(
        self,
        d_model: int,
        *,
        d_state: int = 64,
        max_length: int = 1024,
        form: Literal["softmax", "exp"] = "softmax",
        dt_min: float = 1e-3,
        dt_max: float = 0.1,
    ) -> None:
        super().__init__()
        if form not in ("softmax", "exp"):
            raise ConfigError(f"form={form!r} is unknown.", remedy="Known: softmax, exp.")
        if d_state < 1 or max_length < 1:
            raise ConfigError(
                f"d_state={d_state} and max_length={max_length} must be positive.",
                remedy="Give the length of the longest training sequence; 64 modes are usual.",
            )
        self.d_model, self.form, self.length = d_model, form, max_length
        if form == "softmax":
            self.max_length = max_length
            self.rescalable = False
        modes = torch.from_numpy(legs_modes(2 * d_state)[0])
        decay = modes.real if form == "softmax" else (-modes.real).log()
        self.log_step = nn.Parameter(log_steps(d_model, dt_min, dt_max))
        self.decay = nn.Parameter(decay.float())  # the real part, or the logarithm of its size
        self.frequency = nn.Parameter(modes.imag.float())
        self.W = nn.Parameter(torch.view_as_real(torch.randn(d_model, d_state, dtype=torch.cfloat)))
        self.D = nn.Parameter(torch.randn(d_model))

    def system(self, rate: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
        """A growing mode has its input scaled down, so that its kernel is 1 at the last step."""
        modes = self.modes()
        exponents = (self.log_step.exp() * rate)[:, None] * modes
        weights = torch.view_as_complex(self.W) * reciprocal(modes)
        if self.form == "exp":
            return exponents, torch.ones_like(exponents), weights * torch.expm1(exponents)
        growing = exponents.real > 0
        falling = torch.where(growing, -exponents, exponents)
        share = torch.expm1(falling) * reciprocal(torch.expm1(falling * self.length))
        entering = torch.where(growing, falling * (self.length - 1), 0.0).exp()
        return exponents, entering, weights * share

    def kernel(self, length: int, rate: float = 1.0) -> Tensor:
        if self.form == "exp":
            return super().kernel(length, rate)
        # Growing modes are summed from the last step back, in which direction they decay.
        exponents, _, weights = self.system(rate)
        growing = exponents.real > 0
        falling = torch.where(growing, -exponents, exponents)
        ahead = vandermonde_product(weights.masked_fill(growing, 0.0), falling, length)
        back = vandermonde_product(weights.masked_fill(~growing, 0.0), falling, self.length)
        return ahead + back.flip(-1)[:, :length]

    def modes(self) -> Tensor:
        """`(N,)` eigenvalues in continuous time."""
        return torch.complex(
            self.decay if self.form == "softmax" else -self.decay.exp(), self.frequency
        )

    @property
    def modes_per_channel(self) -> int:
        """`N`; a real output takes the real part, so no mode needs its conjugate."""
        return self.frequency.shape[0]


def reciprocal(z: Tensor) -> Tensor:
    """`1 / z`, but finite at 0: `conj(z) / (|z|^2 + 1e-7)`, as in the paper's appendix.

    >>> reciprocal(torch.zeros(1, dtype=torch.complex64)).abs()
    tensor([0.])
    """
    return z.conj() / (z.real.square() + z.imag.square() + 1e-7)
