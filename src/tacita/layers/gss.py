"""GSS: a gated layer whose state space runs over a quarter of the width and needs no step size.

Mehta et al., "Long Range Language Modeling via Gated State Spaces", 2022. A narrow branch is mixed over
time by a diagonal state space, brought back to a wide one, and multiplied by a gate made from the same
step: most of the work is matrix products, and the transforms see `D / 4` channels only.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from tacita.catalog.cards import method
from tacita.errors import ConfigError
from tacita.layers.base import Run, SequenceLayer, State
from tacita.layers.diagonal import SLOW, ModalSSM
from tacita.layers.discretise import phi


@method(
    "gss",
    title="Gated state-space layer (GSS)",
    paper="https://arxiv.org/abs/2206.13947",
    year=2022,
    family="layer",
    needs=("steps",),
    summary="A gate over a state space on a quarter of the channels: cheap long memory for tokens.",
    reuses=("fft_convolution", "vandermonde"),
)
class GSS(SequenceLayer):
    """`y = W_o (gelu(W_1 u) * W_3 SSM(gelu(W_2 u)))`; the norm and the residual are the block's.

    d_model: channels.
    d_state: complex modes of the state space, shared by its channels; 512 in the paper.
    d_gate: channels of the gate; by default 4 times d_model, as in the paper.
    d_inner: channels of the state space; by default a quarter of d_model, as in the paper.

    Raises `ConfigError` for sizes that are not positive. Differs from the paper: the kernel is as long as
    the sequence, not cut at a length of training. Differs from common code of others (the authors' was not
    at hand): there a second norm stands between the narrow map and the state space, so that the skip `D u` is
    of the normalised input too; the last map has a bias; and the state space has 256 channels whatever
    `d_model` is.

    >>> GSS(8, d_state=16)(torch.randn(2, 10, 8)).shape
    torch.Size([2, 10, 8])
    """

    tiny = {"d_state": 4}
    resettable: bool = True
    rescalable: bool = True
    channel_mixer: str = "none"

    def __init__(
        self,
        d_model: int,
        *,
        d_state: int = 512,
        d_gate: int | None = None,
        d_inner: int | None = None,
    ) -> None:
        super().__init__()
        wide = 4 * d_model if d_gate is None else d_gate
        narrow = max(1, d_model // 4) if d_inner is None else d_inner
        if min(wide, narrow, d_state) < 1:
            raise ConfigError(
                f"d_gate={wide}, d_inner={narrow} and d_state={d_state} must be positive.",
                remedy="Leave them out for the paper's proportions.",
            )
        self.d_model = d_model
        self.gate = nn.Linear(d_model, wide, bias=False)
        self.enter = nn.Linear(d_model, narrow, bias=False)
        self.ssm = UnscaledSSM(narrow, d_state)
        self.widen = nn.Linear(narrow, wide, bias=False)
        self.leave = nn.Linear(wide, d_model, bias=False)

    def mix(self, x: Tensor, run: Run) -> tuple[Tensor, State | None]:
        u = x.to(self.gate.weight.dtype)
        y, last = self.ssm.mix(functional.gelu(self.enter(u)), run)
        return self._gated(u, y).to(x.dtype), last

    def zeros(self, batch_size: int, like: Tensor) -> State:
        return self.ssm.zeros(batch_size, like)

    def advance(self, x: Tensor, state: State, rate: float) -> tuple[Tensor, State]:
        u = x.to(self.gate.weight.dtype)
        y, after = self.ssm.advance(functional.gelu(self.enter(u)), state, rate)
        return self._gated(u, y).to(x.dtype), after

    def _gated(self, x: Tensor, y: Tensor) -> Tensor:
        return self.leave(functional.gelu(self.gate(x)) * self.widen(y))


class UnscaledSSM(ModalSSM):
    """DSS-exp with a step of 1 and modes drawn at random, which the paper found to be as good.

    `lambda_n = -exp(a_n) + i exp(b_n)` shared by all channels, with `a` and `b` standard normal; the weights
    `C` are too, as real pairs.
    """

    optimizer_hints = dict.fromkeys(("log_decay", "log_frequency", "C"), SLOW)

    def __init__(self, d_model: int, d_state: int) -> None:
        super().__init__()
        self.d_model = d_model
        self.log_decay = nn.Parameter(torch.randn(d_state))
        self.log_frequency = nn.Parameter(torch.randn(d_state))
        self.C = nn.Parameter(torch.randn(d_model, d_state, 2))
        self.D = nn.Parameter(torch.randn(d_model))

    def system(self, rate: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
        modes = torch.complex(-self.log_decay.exp(), self.log_frequency.exp()) * rate
        b = rate * phi(modes)
        shape = self.C.shape[:2]
        return modes.expand(shape), b.expand(shape), torch.view_as_complex(self.C)

    @property
    def modes_per_channel(self) -> int:
        """`N`; the output takes the real part, so no mode needs its conjugate."""
        return len(self.log_decay)
