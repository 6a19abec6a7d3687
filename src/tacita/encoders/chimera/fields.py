"""A two-dimensional selective state space model: a head of Chimera, in both directions over variates.

    d/dt h1 = A_1 h1 + A_2 h2 + B_1 x        time, causal
    d/dv h2 = A_3 h1 + A_4 h2 + B_2 x        variates, from the first to the last and back
    y = C_1 h1 + C_2 h2

Each axis has step sizes, B and C of its own, functions of the input. Behrouz et al., 2024, section 3.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from tacita.kernels import selective_scan, selective_scan_2d
from tacita.layers.base import State
from tacita.layers.discretise import log_steps

Variates = Literal["coupled", "added", "apart"]
"""How variates are seen: by both fields, each an input of the other; by fields that are only added
(A_2 = A_3 = 0); or not at all, each by a scan along time of its own."""

COUPLING = 0.1
"""What a field takes of the other at first, of what it would take to follow it."""
VARIATE_STEPS = (0.01, 1.0)
"""Between which step sizes along variates start: a small one keeps the variates before, a large one not."""


class Selected(NamedTuple):
    """What one axis is at every cell: `step (B, V, T, D)`, `A` and `rho (D, N)`, `B` and `C (B, V, T, N)`."""

    step: Tensor
    A: Tensor
    rho: Tensor
    B: Tensor
    C: Tensor


class Axis(nn.Module):
    """The parameters of one axis.

    steps: between which the step sizes start, uniform in the logarithm.
    selective: whether step sizes, B and C depend on the input.
    coupled: whether this field takes of the other.
    """

    def __init__(
        self,
        width: int,
        d_state: int,
        steps: tuple[float, float],
        *,
        selective: bool,
        coupled: bool,
    ) -> None:
        super().__init__()
        self.rank, self.d_state = math.ceil(width / 16), d_state
        self.select = nn.Linear(width, self.rank + 2 * d_state, bias=False) if selective else None
        start = log_steps(width, *steps).exp()
        start = start + (-torch.expm1(-start)).log()  # its softplus is the step
        if selective:
            self.step = nn.Linear(self.rank, width)
            nn.init.uniform_(self.step.weight, -(self.rank**-0.5), self.rank**-0.5)
            self.step.bias = nn.Parameter(start)
        else:
            self.bias = nn.Parameter(start)
            self.B = nn.Parameter(torch.ones(d_state))
            self.C = nn.Parameter(torch.randn(d_state))
        self.A_log = nn.Parameter(torch.arange(1.0, d_state + 1).log().repeat(width, 1))
        self.coupling = (
            nn.Parameter(torch.full((width, d_state), math.log(COUPLING / (1 - COUPLING))))
            if coupled
            else None
        )
        undecayed = ("A_log", "coupling") if coupled else ("A_log",)
        self.optimizer_hints = {name: {"weight_decay": 0.0} for name in undecayed}

    def forward(self, u: Tensor) -> Selected:
        """What this axis is at the cells of `u (B, V, T, D)`."""
        real = torch.promote_types(self.A_log.dtype, torch.float32)
        A = -self.A_log.to(real).exp()
        # Stability: what a field keeps of itself and what it takes of the other are a, and rho (1 - a) with
        # rho below 1, so that the larger of the two fields never grows by itself.
        rho = torch.zeros_like(A) if self.coupling is None else self.coupling.to(real).sigmoid()
        if self.select is None:
            step = functional.softplus(self.bias.to(real)).expand_as(u)
            B, C = (each.to(real).expand(*u.shape[:-1], -1) for each in (self.B, self.C))
            return Selected(step, A, rho, B, C)
        low, B, C = self.select(u).split([self.rank, self.d_state, self.d_state], -1)
        bias = self.step.bias.to(real)
        step = functional.softplus(functional.linear(low, self.step.weight).to(real) + bias)
        return Selected(step, A, rho, B, C)


class Fields(nn.Module):
    """`(B, V, T, D)` to the same: a scan over the grid for each direction over variates, and their sum.

    The directions have A_3, A_4, B_2 and C_2 of their own, and share what is along time.

    steps: between which the step sizes along time start.
    """

    optimizer_hints = {"D": {"weight_decay": 0.0}}

    def __init__(
        self,
        width: int,
        d_state: int,
        steps: tuple[float, float],
        *,
        variates: Variates,
        bidirectional: bool,
        selective: bool,
    ) -> None:
        super().__init__()
        coupled = variates == "coupled"
        self.time = Axis(width, d_state, steps, selective=selective, coupled=coupled)
        directions = 0 if variates == "apart" else 1 + bidirectional
        self.across = nn.ModuleList(
            Axis(width, d_state, VARIATE_STEPS, selective=selective, coupled=coupled)
            for _ in range(directions)
        )
        self.D = nn.Parameter(torch.ones(width))

    def forward(self, u: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """`y`, and the states `(B, V, D, N)` after the last step, by names that are theirs."""
        time = self.time(u)
        last: State = {}
        y = self.D * u
        if not self.across:
            along = [each.flatten(0, 1) for each in (u, time.step, time.B, time.C)]
            begun = None if state is None else state["apart"].flatten(0, 1)
            found, after = selective_scan(
                along[0], along[1], time.A, along[2], along[3], state=begun, return_state=True
            )
            return y + found.view(u.shape), {"apart": after.view(*u.shape[:2], *after.shape[1:])}
        for name, axis in zip(("onwards", "back"), self.across, strict=False):
            across = axis(u)
            names = f"{name}.time", f"{name}.variates"
            found, fields = selective_scan_2d(
                u,
                (time.step, across.step),
                (time.A, across.A),
                (time.rho, across.rho),
                (time.B, across.B),
                (time.C, across.C),
                None if state is None else (state[names[0]], state[names[1]]),
                reverse=name == "back",
            )
            y = y + found
            last |= dict(zip(names, fields, strict=True))
        return y, last

    def initial_state(self, batch_size: int, variates: int) -> State:
        """The states before the first step."""
        shape = batch_size, variates, *self.time.A_log.shape
        zeros = self.time.A_log.new_zeros(
            shape, dtype=torch.promote_types(self.time.A_log.dtype, torch.float32)
        )
        if not self.across:
            return {"apart": zeros}
        names = ("onwards", "back")[: len(self.across)]
        return {f"{name}.{kind}": zeros for name in names for kind in ("time", "variates")}
