"""Mamba: a gated state-space layer that chooses by content what to remember and what to pass over.

Gu and Dao, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces", COLM 2024. The step
size and the maps into and out of the state are functions of the input, so a step can write, keep or
erase. For text, DNA, events and other streams of things; one layer is attention and MLP in one.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tacita.catalog.cards import method
from tacita.errors import ConfigError
from tacita.kernels import causal_conv, selective_scan
from tacita.layers.base import Run, SequenceLayer, State
from tacita.layers.discretise import log_steps
from tacita.layers.finite import remember

SMALLEST_STEP = 1e-4
"""No step size starts below this, whatever the range."""


@method(
    "mamba",
    title="Selective state-space layer (Mamba)",
    paper="https://arxiv.org/abs/2312.00752",
    year=2024,
    family="layer",
    needs=("steps",),
    summary="Mixes time by a recurrence that selects by content; linear in length, constant memory a step.",
    reuses=("selective_scan", "causal_conv"),
    claim="Copies scattered tokens out of texts four times as long as in training, where the same layer "
    "without selection does not: 98.3% against 44.0%, chance 20%.",
)
class Mamba(SequenceLayer):
    """The gated block: project, convolve the last few steps, scan selectively, gate, project back.

    d_model: channels `D`.
    d_state: state size `N` of each inner channel.
    d_conv: steps that the short convolution sees.
    expand: inner channels `E`, as a multiple of `d_model`.
    dt_rank: rank of the step size's projection; by default `d_model / 16`, rounded up.
    dt_min, dt_max: step sizes start between them, uniform in the logarithm.
    bias, conv_bias: whether the two outer projections, and the convolution, have biases.
    inner_norm: RMS norms on what selects (step size, `B` and `C`), against spikes of the loss in large
        models; as in Jamba (Lieber et al., 2024).
    selective: without it the step size, `B` and `C` do not depend on the input: the paper's ablation.
    depth: blocks in the stack; the output starts `1 / sqrt(depth)` as large, one residual a block.

    Defaults are the paper's, names and shapes of parameters those of Mamba in `transformers`. It mixes
    channels too, so nothing follows it in a block. Raises `ConfigError` for sizes that are not positive.

    >>> layer = Mamba(8, d_state=4)
    >>> y, state = layer(torch.randn(2, 10, 8), return_state=True)
    >>> layer.step(torch.randn(2, 8), state)[0].shape
    torch.Size([2, 8])
    """

    tiny = {"d_state": 4}
    resettable = True
    rescalable = True
    channel_mixer = "none"
    optimizer_hints = {"A_log": {"weight_decay": 0.0}, "D": {"weight_decay": 0.0}}

    def __init__(
        self,
        d_model: int,
        *,
        d_state: int = 16,
        d_conv: int = 4,
        expand: int = 2,
        dt_rank: int | None = None,
        dt_min: float = 1e-3,
        dt_max: float = 0.1,
        bias: bool = False,
        conv_bias: bool = True,
        inner_norm: bool = False,
        selective: bool = True,
        depth: int = 1,
    ) -> None:
        super().__init__()
        rank = math.ceil(d_model / 16) if dt_rank is None else dt_rank
        sizes = {"d_model": d_model, "d_state": d_state, "d_conv": d_conv, "expand": expand}
        for name, value in {**sizes, "dt_rank": rank, "depth": depth}.items():
            if value < 1:
                raise ConfigError(f"{name}={value} must be positive.")
        if inner_norm and not selective:
            raise ConfigError("inner_norm=True is a norm of what selects, and selective=False.")
        width = expand * d_model
        self.d_model, self.d_state, self.d_conv, self.rank = d_model, d_state, d_conv, rank
        self.selective = selective
        self.in_proj = nn.Linear(d_model, 2 * width, bias=bias)
        self.conv1d = nn.Conv1d(width, width, d_conv, groups=width, bias=conv_bias)
        steps = log_steps(width, dt_min, dt_max).exp().clamp_min(SMALLEST_STEP)
        start = steps + (-torch.expm1(-steps)).log()  # its softplus is `steps`
        if selective:
            self.x_proj = nn.Linear(width, rank + 2 * d_state, bias=False)
            self.dt_proj = nn.Linear(rank, width)
            nn.init.uniform_(self.dt_proj.weight, -(rank**-0.5), rank**-0.5)
            self.dt_proj.bias = nn.Parameter(start)
            self.dt_norm, self.b_norm, self.c_norm = (
                nn.RMSNorm(size, eps=1e-6) if inner_norm else nn.Identity()
                for size in (rank, d_state, d_state)
            )
        else:
            self.dt_bias = nn.Parameter(start)
            self.B = nn.Parameter(torch.ones(d_state))
            self.C = nn.Parameter(torch.randn(d_state))
        self.A_log = nn.Parameter(torch.arange(1.0, d_state + 1).log().repeat(width, 1))
        self.D = nn.Parameter(torch.ones(width))
        self.out_proj = nn.Linear(width, d_model, bias=bias)
        with torch.no_grad():
            self.out_proj.weight.div_(math.sqrt(depth))

    def mix(self, x: Tensor, run: Run) -> tuple[Tensor, State | None]:
        begun = run.state or {}
        inner, z = self._enter(x)
        u = F.silu(
            causal_conv(
                inner, self._taps, self.conv1d.bias, state=begun.get("conv"), resets=run.resets
            )
        )
        delta, B, C = self._select(u)
        bias: Tensor | None = self._dt_bias
        frozen = run.return_state and run.lengths is not None
        if frozen or run.rate != 1.0:
            delta, bias = self._step_size(delta, run.rate), None
        if frozen:  # a step of size 0 leaves the state as it is
            assert run.lengths is not None
            steps = torch.arange(x.shape[1], device=x.device)
            delta = torch.where((steps < run.lengths[:, None])[:, :, None], delta, 0.0)
        y, ssm = selective_scan(
            u,
            delta,
            self._A,
            B,
            C,
            self.D,
            z,
            bias,
            delta_softplus=bias is not None,
            state=begun.get("ssm"),
            return_state=True,
            resets=run.resets,
        )
        y = self.out_proj(y).to(x.dtype)
        if not run.return_state:
            return y, None
        inner = inner.to(self._real)
        window = begun.get("conv", inner.new_zeros(x.shape[0], self.d_conv - 1, inner.shape[2]))
        return y, {"conv": remember(window, inner, run.lengths, run.resets), "ssm": ssm}

    def zeros(self, batch_size: int, like: Tensor) -> State:
        """`conv (B, W - 1, E)`: the last inputs of the convolution; `ssm (B, E, N)`."""
        width = len(self.D)
        return {
            "conv": like.new_zeros(batch_size, self.d_conv - 1, width),
            "ssm": like.new_zeros(batch_size, width, self.d_state),
        }

    def advance(self, x: Tensor, state: State, rate: float) -> tuple[Tensor, State]:
        if self._can_be_compiled(x, state):
            return self._advance_compiled(x, state, rate)
        inner, z = self._enter(x)
        window = torch.cat([state["conv"], inner[:, None].to(state["conv"].dtype)], 1)
        mixed = (window * self._taps.T).sum(1)
        if self.conv1d.bias is not None:
            mixed = mixed + self.conv1d.bias
        u = F.silu(mixed.to(inner.dtype))  # as wide as it is in parallel
        delta, B, C = self._select(u)
        step = self._step_size(delta, rate)
        ssm = torch.exp(step[..., None] * self._A) * state["ssm"]
        ssm = ssm + (step * u)[..., None] * B[:, None]
        y = (ssm * C[:, None]).sum(-1) + self.D * u
        y = self.out_proj((y * F.silu(z.to(y.dtype))).to(u.dtype))
        return y.to(x.dtype), {"conv": window[:, 1:], "ssm": ssm}

    def _can_be_compiled(self, x: Tensor, state: State) -> bool:
        """Whether the compiled step can run: no gradients, on a CPU, all in one dtype, plain Mamba."""
        return (
            not torch.is_grad_enabled()
            and x.device.type == "cpu"
            and x.dtype == state["conv"].dtype == state["ssm"].dtype == self.D.dtype
            and x.dtype == self.in_proj.weight.dtype
            and self.selective
            and isinstance(self.dt_norm, nn.Identity)
            and not torch.compiler.is_compiling()
            and not torch.is_autocast_enabled("cpu")
        )

    def _advance_compiled(self, x: Tensor, state: State, rate: float) -> tuple[Tensor, State]:
        from tacita.kernels.mamba_step import mamba_step  # numba takes a second to import

        y, window, ssm = mamba_step(
            x,
            state["conv"],
            state["ssm"],
            (self.in_proj.weight, self.in_proj.bias),
            (self._taps, self.conv1d.bias),
            self.x_proj.weight,
            (self.dt_proj.weight, self.dt_proj.bias),
            self.A_log,
            self.D,
            (self.out_proj.weight, self.out_proj.bias),
            rate,
        )
        return y, {"conv": window, "ssm": ssm}

    def _enter(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What is convolved and what gates, `(..., E)` each: two products, and no split to undo."""
        x = x.to(self.in_proj.weight.dtype)
        bias = self.in_proj.bias
        biases = (None, None) if bias is None else bias.chunk(2)
        inner, z = (
            F.linear(x, weight, own)
            for weight, own in zip(self.in_proj.weight.chunk(2), biases, strict=True)
        )
        return inner, z

    def _select(self, u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The step size before bias and softplus `(..., E)`, and `B` and `C`, `(..., N)` both."""
        if not self.selective:
            B, C = (each.expand(*u.shape[:-1], -1) for each in (self.B, self.C))
            return torch.zeros_like(u), B, C
        low, B, C = self.x_proj(u).split([self.rank, self.d_state, self.d_state], -1)
        return F.linear(self.dt_norm(low), self.dt_proj.weight), self.b_norm(B), self.c_norm(C)

    def _step_size(self, delta: Tensor, rate: float) -> Tensor:
        return F.softplus(delta.to(self._real) + self._dt_bias) * rate

    @property
    def _A(self) -> Tensor:
        return -self.A_log.to(self._real).exp()

    @property
    def _taps(self) -> Tensor:
        """`(E, W)`, the last one for the present step."""
        return self.conv1d.weight[:, 0]

    @property
    def _dt_bias(self) -> Tensor:
        return self.dt_proj.bias if self.selective else self.dt_bias

    @property
    def _real(self) -> torch.dtype:
        """The dtype of states and step sizes: that of the weights, and single precision at least."""
        return torch.promote_types(self.D.dtype, torch.float32)
