"""The memory itself: the coefficients of the past at every step, for one line or many."""

from __future__ import annotations

import torch
from torch import Tensor

from tacita.errors import ConfigError
from tacita.kernels import fft_convolution
from tacita.layers.hippo.bases import timescale
from tacita.layers.hippo.matrices import hippo
from tacita.layers.krylov import generalised_bilinear, krylov


def discrete_memory(measure: str, size: int, step: float) -> tuple[Tensor, Tensor]:
    """`A_bar (N, N)` and `B_bar (N,)` in float64, by the bilinear rule.

    >>> discrete_memory("legs", 1, 1.0)[1]
    tensor([0.6667], dtype=torch.float64)
    """
    a, b = (torch.from_numpy(part) for part in hippo(measure, size))
    found = generalised_bilinear(a, b, torch.tensor([step], dtype=torch.float64))
    return found[0][0], found[1][0]


def remember(u: Tensor, measure: str, size: int, *, steps: float) -> Tensor:
    """`(B, L, N)`: the coefficients of the past of `u (B, L)` after each step.

    steps: how many steps the memory reaches back, as in `timescale`.

    >>> remember(torch.ones(1, 400), "legs", 2, steps=10)[0, -1].round(decimals=3).abs()
    tensor([1., 0.])
    """
    if u.ndim != 2:
        raise ConfigError(f"remember takes (B, L), not {tuple(u.shape)}.")
    A, B = discrete_memory(measure, size, timescale(measure, steps))
    responses = krylov(A, B, u.shape[1]).to(u)  # (N, L)
    return fft_convolution(u[:, None].expand(-1, size, -1), responses).mT


def scaled_step(x: Tensor, u: Tensor, A: Tensor, B: Tensor, count: Tensor) -> Tensor:
    """One update of the original HiPPO-LegS: `x (B, D, N)` after `count (B,)` steps, with `u (B, D)`.

    All of the past counts alike, and is one unit of time long, however long that is: the system is
    that of LegS divided by time. The bilinear rule, with a triangular solve for its inverse.

    >>> A, B = torch.tensor([[-1.0]]), torch.tensor([1.0])
    >>> scaled_step(torch.zeros(1, 1, 1), torch.ones(1, 1), A, B, torch.zeros(1)).flatten()
    tensor([0.6667])
    """
    k = (count + 1)[:, None, None]
    eye = torch.eye(len(A), dtype=A.dtype, device=A.device)
    driven = x + x @ A.mT / (2 * k) + u[..., None] * B / k
    inverse_of = eye - A / (2 * k)
    return torch.linalg.solve_triangular(inverse_of, driven.mT, upper=False).mT


def remember_everything(u: Tensor, size: int) -> Tensor:
    """`(B, L, N)`: as `remember`, of everything since the first step, evenly (LegS, scaled by time).

    The past at a fraction `s` of the way back to the start is `sum_n x_n p_n(-log(1 - s))`.

    >>> remember_everything(torch.ones(1, 50), 2)[0, -1].round(decimals=1).abs()
    tensor([1., 0.])
    """
    if u.ndim != 2:
        raise ConfigError(f"remember_everything takes (B, L), not {tuple(u.shape)}.")
    A, B = (torch.from_numpy(part).to(u) for part in hippo("legs", size))
    x, states = u.new_zeros(len(u), 1, size), []
    count = u.new_zeros(len(u))
    for value in u.unbind(1):
        x = scaled_step(x, value[:, None], A, B, count)
        count = count + 1
        states.append(x[:, 0])
    return torch.stack(states, 1)
