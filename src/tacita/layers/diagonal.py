"""A diagonal state-space system for each channel: what S4D and its relatives have in common.

`x_t = A x_{t-1} + B u_t`, `y_t = Re(C x_t) + D u_t` with complex states, `N` a channel. In parallel it is
a convolution with a sum of exponentials; with resets it is a scan; a step is O(N).
"""

from __future__ import annotations

import math
from abc import abstractmethod

import torch
from torch import Tensor, nn

from tacita.errors import ConfigError
from tacita.kernels import fft_convolution, linear_scan, vandermonde_product, vandermonde_transpose
from tacita.layers.base import Run, SequenceLayer, State, last_valid, reverse_valid
from tacita.layers.discretise import Rule, discretise
from tacita.layers.precision import SinglePrecision

SLOW = {"learning_rate": 1e-3, "weight_decay": 0.0}
"""State-space parameters learn slowly and do not decay: without it training diverges or forgets."""


class ModalSSM(SequenceLayer):
    """A diagonal system in discrete time; a subclass says which, in `system`, and has a skip `D (H,)`."""

    time_invariant: bool = True
    resettable: bool = True
    rescalable: bool = True
    D: Tensor

    @abstractmethod
    def system(self, rate: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
        """`log A`, `B` and `C` of the recurrence, each `(H, N)` complex."""

    def kernel(self, length: int, rate: float = 1.0) -> Tensor:
        """`(H, L)`: the impulse response, `K_l = Re(C A^l B)`, without the skip."""
        exponents, b, c = self.system(rate)
        return vandermonde_product(c * b, exponents, length)

    def mix(self, x: Tensor, run: Run) -> tuple[Tensor, State | None]:
        with torch.autocast(x.device.type, enabled=False):
            u = x.to(self.D.dtype)
            y, last = self._scan(u, run) if run.resets is not None else self._convolve(u, run)
            return (y + self.D * u).to(x.dtype), last

    def _convolve(self, u: Tensor, run: Run) -> tuple[Tensor, State | None]:
        length = u.shape[1]
        y = fft_convolution(u.mT, self.kernel(length, run.rate))
        if run.state is None and not run.return_state:
            return y.mT, None
        exponents, b, c = self.system(run.rate)
        if run.state is not None:
            begun = c * exponents.exp() * run.state["ssm"]  # (B, H, N): what the past still says
            y = y + vandermonde_product(begun, exponents, length)
        if not run.return_state:
            return y.mT, None
        last = b * vandermonde_transpose(reverse_valid(u, run.lengths).mT, exponents)
        if run.state is not None:
            gone = length if run.lengths is None else run.lengths[:, None, None]
            last = last + (exponents * gone).exp() * run.state["ssm"]
        return y.mT, {"ssm": last}

    def _scan(self, u: Tensor, run: Run) -> tuple[Tensor, State | None]:
        """The states themselves, `(B, L, H N)`: dearer, and the state can be erased on the way."""
        exponents, b, c = self.system(run.rate)
        return self._drive(u[..., None] * b, exponents, c, run)

    def _drive(
        self, driven: Tensor, exponents: Tensor, c: Tensor, run: Run
    ) -> tuple[Tensor, State | None]:
        """The scan of what enters each state, `(B, L, H, N)`, read out to `(B, L, H)`."""
        state = run.state or self.initial_state(driven.shape[0], device=driven.device)
        begun = state["ssm"].flatten(1)
        states = linear_scan(exponents.exp().flatten(), driven.flatten(2), begun, resets=run.resets)
        y = (states.view(driven.shape) * c).sum(-1).real
        if not run.return_state:
            return y, None
        return y, {"ssm": last_valid(states, begun, run.lengths).view(-1, *c.shape)}

    def zeros(self, batch_size: int, like: Tensor) -> State:
        shape = (batch_size, self.d_model, self.modes_per_channel)
        return {"ssm": like.new_zeros(shape, dtype=like.dtype.to_complex())}

    @property
    @abstractmethod
    def modes_per_channel(self) -> int:
        """`N`, the complex states of a channel."""

    def advance(self, x: Tensor, state: State, rate: float) -> tuple[Tensor, State]:
        with torch.autocast(x.device.type, enabled=False):
            exponents, b, c = self.system(rate)
            u = x.to(self.D.dtype)
            after = exponents.exp() * state["ssm"] + b * u[..., None]
            return ((c * after).sum(-1).real + self.D * u).to(x.dtype), {"ssm": after}


class DiagonalModes(SinglePrecision):
    """The parameters of `H` systems in continuous time, one of each pair of conjugate modes, and kernels.

    Shapes: `modes (H, N/2)` eigenvalues with negative real part; `B`, `C` alike; `log_step (H,)`. Complex
    parameters are stored as pairs of real numbers, for which the moments of Adam are those of the
    paper's code.

    band_limit: modes faster than this share of what the sampling can tell apart are silent, both on the
        grid of training and on that of the rate; None keeps all.
    """

    optimizer_hints = dict.fromkeys(("log_step", "log_decay", "frequency", "B"), SLOW)

    def __init__(
        self,
        modes: Tensor,
        B: Tensor,
        C: Tensor,
        log_step: Tensor,
        *,
        discretisation: Rule = "zoh",
        band_limit: float | None = None,
    ) -> None:
        super().__init__()
        if discretisation not in ("zoh", "bilinear"):
            raise ConfigError(
                f"discretisation={discretisation!r} is unknown.", remedy="Known: zoh, bilinear."
            )
        if band_limit is not None and band_limit <= 0:
            raise ConfigError(f"band_limit={band_limit} must be positive, or None for no limit.")
        self.d_model = len(modes)
        self.discretisation, self.band_limit = discretisation, band_limit
        self.log_step = nn.Parameter(log_step.float())  # (H,)
        self.log_decay = nn.Parameter((-modes.real).log().float())
        self.frequency = nn.Parameter(modes.imag.float().clone())
        self.B = nn.Parameter(torch.view_as_real(B.to(torch.complex64)).clone())
        self.C = nn.Parameter(torch.view_as_real(C.to(torch.complex64)).clone())

    def discrete(self, rate: float = 1.0) -> tuple[Tensor, Tensor]:
        """`log A_bar` and `B_bar`, both `(H, N/2)` complex."""
        step = self.log_step.exp()[:, None]
        modes = torch.complex(-self.log_decay.exp(), self.frequency)
        exponents, scale = discretise(step * rate * modes, step * rate, self.discretisation)
        b = scale * torch.view_as_complex(self.B)
        if self.band_limit is not None:
            turns = step * max(rate, 1.0) * self.frequency.abs() / (2 * math.pi)
            b = torch.where(turns < self.band_limit / 2, b, 0.0)
        return exponents, b

    def system(self, rate: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
        """`log A_bar`, `B_bar` and `2 C`: the conjugate modes say the same again."""
        return *self.discrete(rate), 2 * torch.view_as_complex(self.C)

    @property
    def modes_per_channel(self) -> int:
        """`N / 2`."""
        return self.frequency.shape[1]


class DiagonalSSM(DiagonalModes, ModalSSM):
    """`D` channels, each with `N / 2` pairs of states; subclasses choose where the modes start."""

    def __init__(
        self,
        modes: Tensor,
        B: Tensor,
        C: Tensor,
        log_step: Tensor,
        *,
        discretisation: Rule = "zoh",
    ) -> None:
        super().__init__(modes, B, C, log_step, discretisation=discretisation)
        self.D = nn.Parameter(torch.randn(self.d_model))


def pairs(d_state: int) -> int:
    """How many conjugate pairs a real state of `d_state` numbers has; `ConfigError` if it is odd.

    >>> pairs(64)
    32
    """
    if d_state < 2 or d_state % 2:
        raise ConfigError(
            f"d_state={d_state} is not an even number from 2 up.",
            remedy="States come in conjugate pairs; the usual choice is 64.",
        )
    return d_state // 2
