"""LSSL: a state-space layer with its matrices written out: recurrence, convolution, differential equation.

Gu et al., "Combining Recurrent, Convolutional, and Continuous-time Models with Linear State-Space
Layers", 2021. The ancestor of S4 and the dense form that the faster layers are tested against: for small
states, short or irregular sequences and trust. `O(H N^2 (N + L))` work and `O(H N L)` memory.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from tacita.catalog.cards import method
from tacita.errors import ConfigError
from tacita.kernels import fft_convolution
from tacita.kernels.lengths import enough
from tacita.layers.base import Run, SequenceLayer, State, reverse_valid
from tacita.layers.diagonal import SLOW
from tacita.layers.discretise import log_steps
from tacita.layers.hippo import hippo
from tacita.layers.krylov import advance_by, generalised_bilinear, krylov

SLOWER = {"learning_rate": 1e-4, "weight_decay": 0.0}
"""What the paper's code gives the matrix; step sizes get 1e-3."""
FAMILY = ("left", "right", "lower", "diagonal", "upper", "shift", "drive")


@method(
    "lssl",
    title="Linear state-space layer (LSSL)",
    paper="https://arxiv.org/abs/2110.13985",
    year=2021,
    family="layer",
    needs=("steps",),
    summary="Mixes time by a dense state-space system, exact between irregular steps; for small states.",
    claim="At half the sampling rate, and told of it, it tells motions and their speed nearly as well (83% "
    "after 89%); untold it falls to 45%, and a CNN from 98% to 26%.",
    reuses=("fft_convolution", "hippo", "krylov"),
)
class LSSL(SequenceLayer):
    """One dense system a channel: `x' = A x + B u`, `y = C x + D u`, discretised with its own step size.

    d_model: channels `H`.
    d_state: state size `N`; the paper's is 128 or more, which asks for much memory.
    measure: where the system starts: HiPPO's `legs`, `legt` or `lagt`.
    learn: `none` keeps `A`, `B` and step sizes, `shared` learns one `A` and `B` for all channels, and
        `per_feature` one for each. What is learned is `A = -P (T^-1 + diag c) Q` with a tridiagonal `T`,
        which all three measures are (theorem 2 of the paper).
    alpha: the rule of discretisation: 0 is Euler's, 1 the backward one, one half the bilinear.
    dt_min, dt_max: step sizes start between them, uniform in the logarithm.
    memory_limit: the most bytes for the `(H, N, L)` powers of a sequence.

    With irregular steps give `step` the time since the last one as its `rate`. Raises `ConfigError` for an
    unknown option, and for a sequence whose powers exceed the limit. Differs from the paper: one output a
    channel; no noise on the diagonal of `T`.

    >>> layer = LSSL(4, d_state=8)
    >>> y, state = layer(torch.randn(2, 10, 4), return_state=True)
    >>> layer.step(torch.randn(2, 4), state, rate=0.5)[0].shape
    torch.Size([2, 4])
    """

    tiny = {"d_state": 4}
    time_invariant = True
    rescalable = True
    A: Tensor
    B: Tensor
    log_step: Tensor
    left: Tensor
    right: Tensor
    lower: Tensor
    diagonal: Tensor
    upper: Tensor
    shift: Tensor
    drive: Tensor

    def __init__(
        self,
        d_model: int,
        *,
        d_state: int = 32,
        measure: Literal["legs", "legt", "lagt"] = "legs",
        learn: Literal["none", "shared", "per_feature"] = "shared",
        alpha: float = 0.5,
        dt_min: float = 1e-3,
        dt_max: float = 0.1,
        memory_limit: float = 1e9,
    ) -> None:
        super().__init__()
        if learn not in ("none", "shared", "per_feature"):
            raise ConfigError(
                f"learn={learn!r} is unknown.", remedy="Known: none, shared, per_feature."
            )
        if not 0 <= alpha <= 1:
            raise ConfigError(f"alpha={alpha} is not from 0 to 1.", remedy="The default is 0.5.")
        self.d_model, self.d_state = d_model, d_state
        self.learn, self.alpha, self.memory_limit = learn, alpha, memory_limit
        steps = log_steps(d_model, dt_min, dt_max)
        parts = tridiagonal_form(measure, d_state)
        if learn == "none":
            A, B = (torch.from_numpy(part).float() for part in hippo(measure, d_state))
            self.register_buffer("A", A[None])
            self.register_buffer("B", B[None])
            self.register_buffer("log_step", steps)
        else:
            systems = 1 if learn == "shared" else d_model
            for name, value in zip(FAMILY, parts, strict=True):
                setattr(self, name, nn.Parameter(value.float().expand(systems, -1).clone()))
            self.log_step = nn.Parameter(steps)
            self.optimizer_hints = {**dict.fromkeys(FAMILY, SLOWER), "log_step": SLOW}
        self.C = nn.Parameter(torch.randn(d_model, d_state))
        self.D = nn.Parameter(torch.randn(d_model))

    def system(self) -> tuple[Tensor, Tensor]:
        """`A (S, N, N)` and `B (S, N)` in continuous time; `S` is 1 where channels share them."""
        if self.learn == "none":
            return self.A, self.B
        T = (
            torch.diag_embed(self.diagonal)
            + torch.diag_embed(self.lower, -1)
            + torch.diag_embed(self.upper, 1)
        )
        inner = torch.linalg.inv(T) + torch.diag_embed(self.shift)
        A = -self.left[:, :, None] * inner * self.right[:, None]
        return A, self.left * self.drive

    def discrete(self, rate: float = 1.0) -> tuple[Tensor, Tensor]:
        """`A_bar (H, N, N)` and `B_bar (H, N)`."""
        A, B = self.system()
        step = self.log_step.exp() * rate
        return generalised_bilinear(A, B.expand(len(step), -1), step, self.alpha)

    def kernel(self, length: int, rate: float = 1.0) -> Tensor:
        """`(H, L)`: the impulse response `K_l = C A_bar^l B_bar`, without the skip."""
        return torch.einsum("hn,hnl->hl", self.C, krylov(*self.discrete(rate), length))

    def mix(self, x: Tensor, run: Run) -> tuple[Tensor, State | None]:
        length = x.shape[1]
        self._check_size(length)
        with torch.autocast(x.device.type, enabled=False):
            u = x.to(self.D.dtype)
            A, B = self.discrete(run.rate)
            columns = krylov(A, B, length)  # (H, N, L)
            y = fft_convolution(u.mT, torch.einsum("hn,hnl->hl", self.C, columns))
            if run.state is not None:
                rows = krylov(A.mT, self.C, length)  # C A_bar^l
                begun = (A @ run.state["ssm"][..., None]).squeeze(-1)
                y = y + torch.einsum("hnl,bhn->bhl", rows, begun)
            y = (y.mT + self.D * u).to(x.dtype)
            if not run.return_state:
                return y, None
            recent = reverse_valid(u, run.lengths).mT  # the last valid step first
            last = torch.einsum("bhl,hnl->bhn", recent, columns)
            if run.state is not None:
                before = run.state["ssm"]
                steps = torch.full_like(before[:, 0, 0], length, dtype=torch.int64)
                gone = steps if run.lengths is None else run.lengths
                last = last + advance_by(A, before, gone, length)
            return y, {"ssm": last}

    def zeros(self, batch_size: int, like: Tensor) -> State:
        return {"ssm": like.new_zeros(batch_size, self.d_model, self.d_state)}

    def advance(self, x: Tensor, state: State, rate: float) -> tuple[Tensor, State]:
        """One step from the continuous system, so that each may be of its own length in time."""
        with torch.autocast(x.device.type, enabled=False):
            u = x.to(self.D.dtype)
            A, B = self.discrete(rate)
            after = (A @ state["ssm"][..., None]).squeeze(-1) + B * u[..., None]
            y = (self.C * after).sum(-1) + self.D * u
            return y.to(x.dtype), {"ssm": after}

    def _check_size(self, length: int) -> None:
        longest = enough(length)
        needed = self.d_model * self.d_state * longest * self.D.element_size()
        if needed > self.memory_limit:
            raise ConfigError(
                f"the powers of {self.d_model} systems of {self.d_state} states over {longest} steps are "
                f"{needed / 1e9:.1f} GB, and memory_limit is {self.memory_limit / 1e9:.1f} GB.",
                remedy="Use s4d or s4, which need no such table, or raise memory_limit.",
            )


def tridiagonal_form(measure: str, size: int) -> tuple[Tensor, ...]:
    """`P, Q (N,)`, the three diagonals of `T`, `c` and `b (N,)`, of `A = -P (T^-1 + c) Q`, `B = P b`.

    Raises `ConfigError` for another measure, and for fewer than two states.

    >>> [part.tolist() for part in tridiagonal_form("lagt", 2)[2:5]]
    [[-1.0], [1.0, 1.0], [0.0]]
    """
    if measure not in ("legs", "legt", "lagt"):
        raise ConfigError(f"measure={measure!r} is unknown.", remedy="Known: legs, legt, lagt.")
    if size < 2:
        raise ConfigError(f"d_state={size} is less than 2.", remedy="The default is 32.")
    n = torch.arange(size, dtype=torch.float64)
    one, between = torch.ones_like(n), torch.ones_like(n[1:])
    root = one if measure == "lagt" else (2 * n + 1).sqrt()
    if measure == "legt":
        ends = torch.zeros_like(n)
        ends[0] = ends[-1] = 0.5
        return root, root, -between / 2, ends, between / 2, torch.zeros_like(n), one
    shift = -n / (2 * n + 1) if measure == "legs" else -one / 2
    return root, root, -between, one, torch.zeros_like(between), shift, one
