"""A diagonal state-space system for each channel: what S4D and its relatives have in common.

`x' = A x + B u`, `y = 2 Re(C x) + D u` with `N / 2` complex states a channel, one of each conjugate pair.
In parallel it is a convolution with a sum of exponentials; with resets it is a scan; a step is O(N).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tacita.errors import ConfigError
from tacita.kernels import fft_convolution, linear_scan, vandermonde_product, vandermonde_transpose
from tacita.layers.base import Run, SequenceLayer, State, last_valid, reverse_valid
from tacita.layers.discretise import Rule, discretise

SLOW = {"learning_rate": 1e-3, "weight_decay": 0.0}
"""State-space parameters learn slowly and do not decay: without it training diverges or forgets."""


class DiagonalSSM(SequenceLayer):
    """`D` channels, each with `N / 2` complex states; subclasses choose where the modes start.

    Shapes: `modes (H, N/2)` eigenvalues with negative real part; `B`, `C` alike. Complex parameters
    are stored as pairs of real numbers, for which the moments of Adam are those of the paper's code.
    """

    time_invariant: bool = True
    resettable: bool = True
    rescalable: bool = True
    optimizer_hints = dict.fromkeys(("log_step", "log_decay", "frequency", "B"), SLOW)

    def __init__(
        self,
        modes: Tensor,
        B: Tensor,
        C: Tensor,
        log_step: Tensor,
        *,
        discretisation: Rule = "zoh",
    ) -> None:
        super().__init__()
        if discretisation not in ("zoh", "bilinear"):
            raise ConfigError(
                f"discretisation={discretisation!r} is unknown.", remedy="Known: zoh, bilinear."
            )
        self.d_model = len(modes)
        self.discretisation = discretisation
        self.log_step = nn.Parameter(log_step.float())  # (H,)
        self.log_decay = nn.Parameter((-modes.real).log().float())
        self.frequency = nn.Parameter(modes.imag.float().clone())
        self.B = nn.Parameter(torch.view_as_real(B.to(torch.complex64)).clone())
        self.C = nn.Parameter(torch.view_as_real(C.to(torch.complex64)).clone())
        self.D = nn.Parameter(torch.randn(self.d_model))

    def discrete(self, rate: float = 1.0) -> tuple[Tensor, Tensor]:
        """`log A_bar` and `B_bar`, both `(H, N/2)` complex."""
        step = self.log_step.exp()[:, None] * rate
        modes = torch.complex(-self.log_decay.exp(), self.frequency)
        exponents, scale = discretise(step * modes, step, self.discretisation)
        return exponents, scale * torch.view_as_complex(self.B)

    def kernel(self, length: int, rate: float = 1.0) -> Tensor:
        """`(H, L)`: the impulse response, `K_l = 2 Re(C A_bar^l B_bar)`, without the skip."""
        exponents, b = self.discrete(rate)
        return 2 * vandermonde_product(torch.view_as_complex(self.C) * b, exponents, length)

    def mix(self, x: Tensor, run: Run) -> tuple[Tensor, State | None]:
        with torch.autocast(x.device.type, enabled=False):
            u = x.to(self.D.dtype)
            y, last = self._scan(u, run) if run.resets is not None else self._convolve(u, run)
            return (y + self.D * u).to(x.dtype), last

    def _convolve(self, u: Tensor, run: Run) -> tuple[Tensor, State | None]:
        length = u.shape[1]
        exponents, b = self.discrete(run.rate)
        c = torch.view_as_complex(self.C)
        y = fft_convolution(u.mT, 2 * vandermonde_product(c * b, exponents, length))
        if run.state is not None:
            begun = c * exponents.exp() * run.state["ssm"]  # (B, H, N/2): what the past still says
            y = y + 2 * vandermonde_product(begun, exponents, length)
        if not run.return_state:
            return y.mT, None
        last = b * vandermonde_transpose(reverse_valid(u, run.lengths).mT, exponents)
        if run.state is not None:
            gone = length if run.lengths is None else run.lengths[:, None, None]
            last = last + (exponents * gone).exp() * run.state["ssm"]
        return y.mT, {"ssm": last}

    def _scan(self, u: Tensor, run: Run) -> tuple[Tensor, State | None]:
        """The states themselves, `(B, L, H N/2)`: dearer, and the state can be erased on the way."""
        exponents, b = self.discrete(run.rate)
        begun = self._begin(u, run).flatten(1)
        driven = (u[..., None] * b).flatten(2)
        states = linear_scan(exponents.exp().flatten(), driven, begun, resets=run.resets)
        by_channel = states.view(*u.shape, -1)
        y = 2 * (by_channel * torch.view_as_complex(self.C)).sum(-1).real
        if not run.return_state:
            return y, None
        return y, {"ssm": last_valid(states, begun, run.lengths).view(-1, *b.shape)}

    def _begin(self, u: Tensor, run: Run) -> Tensor:
        state = run.state or self.initial_state(u.shape[0], device=u.device)
        return state["ssm"]

    def initial_state(
        self,
        batch_size: int,
        *,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> State:
        real = dtype or self.D.dtype
        kind = torch.complex128 if real == torch.float64 else torch.complex64
        shape = (batch_size, *self.frequency.shape)
        return {"ssm": torch.zeros(shape, dtype=kind, device=device or self.D.device)}

    def advance(self, x: Tensor, state: State, rate: float) -> tuple[Tensor, State]:
        exponents, b = self.discrete(rate)
        u = x.to(self.D.dtype)
        after = exponents.exp() * state["ssm"] + b * u[..., None]
        y = 2 * (torch.view_as_complex(self.C) * after).sum(-1).real + self.D * u
        return y.to(x.dtype), {"ssm": after}


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
