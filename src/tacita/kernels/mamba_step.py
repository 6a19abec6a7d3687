"""One step of Mamba's gated block, compiled, without gradients.

A stream has no time to share the cost of a call over: torch's fifteen small operations take longer to
start than to run. Here they are one function. What bounds it: the weights of the projections, read
once a step; the exponentials of `E N` decays come next.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor
from torch.nn import functional as F

from tacita.kernels.compiled import Array, compiled, summing
from tacita.kernels.exponentials import LOG2_E, exp2, sigmoid, softplus_of

FEW = 4
"""Samples up to which a loop over rows of weights beats torch's product of matrices."""


def mamba_step(
    x: Tensor,
    window: Tensor,
    ssm: Tensor,
    in_proj: tuple[Tensor, Tensor | None],
    conv: tuple[Tensor, Tensor | None],
    x_proj: Tensor,
    dt_proj: tuple[Tensor, Tensor],
    A_log: Tensor,
    D: Tensor,
    out_proj: tuple[Tensor, Tensor | None],
    rate: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """The output `(B, D)`, and the next `window (B, W - 1, E)` and `ssm (B, E, N)`.

    Shapes, of weights and biases: `x (B, D)`; `in_proj (2 E, D)`, what is convolved and then what
    gates; `conv (E, W)`, `x_proj (R + 2 N, E)`, `dt_proj (E, R)`, `A_log (E, N)`, `D (E,)`,
    `out_proj (D, E)`. All on the CPU and of one dtype, float32 or float64.
    """
    few = len(x) <= FEW
    gated = x.new_empty(len(x), len(D))
    window_after, ssm_after = window.new_empty(window.shape), ssm.new_empty(ssm.shape)
    inside = [window, ssm, *conv, x_proj, *dt_proj, A_log, D]
    arrays = [_array(tensor, x) for tensor in inside]
    arrays.append(arrays[0].dtype.type(rate))
    arrays += (gated.numpy(), window_after.numpy(), ssm_after.numpy())
    if few:
        y = x.new_empty(len(x), len(out_proj[0]))
        outside = [_array(tensor, x) for tensor in (x, *in_proj, *out_proj)]
        _whole_step(*[*outside, y.numpy(), *arrays])
    else:
        _step(_array(F.linear(x, *in_proj), x), *arrays)
        y = F.linear(gated, *out_proj)
    return y, window_after, ssm_after


def _array(tensor: Tensor | None, like: Tensor) -> Any:
    """As numpy sees it; an absent bias is an array of size 0."""
    return (like.new_empty(0) if tensor is None else tensor.detach().contiguous()).numpy()


@compiled
def _whole_step(
    x: Array,
    in_weight: Array,
    in_bias: Array,
    out_weight: Array,
    out_bias: Array,
    y: Array,
    window: Array,
    ssm: Array,
    taps: Array,
    conv_bias: Array,
    x_proj: Array,
    dt_proj: Array,
    dt_bias: Array,
    A_log: Array,
    D: Array,
    rate: float,
    gated: Array,
    window_after: Array,
    ssm_after: Array,
) -> None:
    projected = np.empty((len(x), len(in_weight)), D.dtype)
    _product(x, in_weight, in_bias, projected)
    _step(
        projected, window, ssm, taps, conv_bias, x_proj, dt_proj, dt_bias, A_log, D, rate,
        gated, window_after, ssm_after,
    )  # fmt: skip
    _product(gated, out_weight, out_bias, y)


@compiled
def _product(x: Array, weight: Array, bias: Array, y: Array) -> None:
    for row in range(len(weight)):
        for b in range(len(x)):
            y[b, row] = _dot(weight[row], x[b])
            if bias.size:
                y[b, row] += bias[row]


@compiled
def _step(
    projected: Array,
    window: Array,
    ssm: Array,
    taps: Array,
    conv_bias: Array,
    x_proj: Array,
    dt_proj: Array,
    dt_bias: Array,
    A_log: Array,
    D: Array,
    rate: float,
    gated: Array,
    window_after: Array,
    ssm_after: Array,
) -> None:
    width, d_state = A_log.shape
    past, rank = window.shape[1], dt_proj.shape[1]
    u, step = np.empty(width, D.dtype), np.empty(width, D.dtype)
    selected, decay_rate = np.empty(len(x_proj), D.dtype), np.empty(A_log.shape, D.dtype)
    log2_e = D.dtype.type(LOG2_E)
    for e in range(width):
        for n in range(d_state):
            decay_rate[e, n] = -log2_e * exp2(A_log[e, n] * log2_e)
    for b in range(len(projected)):
        inner, z = projected[b, :width], projected[b, width:]
        for e in range(width):
            u[e] = taps[e, past] * inner[e]
        if conv_bias.size:
            for e in range(width):
                u[e] += conv_bias[e]
        for j in range(past):
            for e in range(width):
                u[e] += taps[e, j] * window[b, j, e]
        for e in range(width):
            u[e] *= sigmoid(u[e])
        for r in range(len(x_proj)):
            selected[r] = _dot(x_proj[r], u)
        B, C = selected[rank : rank + d_state], selected[rank + d_state :]
        for e in range(width):
            step[e] = dt_bias[e] + _dot(dt_proj[e], selected[:rank])
        for e in range(width):
            step[e] = softplus_of(step[e]) * rate
        for e in range(width):
            states = ssm[b, e], ssm_after[b, e]
            gated[b, e] = _advance(step[e], step[e] * u[e], decay_rate[e], B, C, *states)
        for e in range(width):
            gated[b, e] = (gated[b, e] + D[e] * u[e]) * (z[e] * sigmoid(z[e]))
        for j in range(1, past):
            window_after[b, j - 1] = window[b, j]
        if past:
            window_after[b, past - 1] = inner


@summing
def _dot(a: Array, b: Array) -> float:
    total = a.dtype.type(0)
    for i in range(len(a)):
        total += a[i] * b[i]
    return total


@summing
def _advance(
    step: float, drive: float, decay_rate: Array, B: Array, C: Array, before: Array, after: Array
) -> float:
    """The states of one channel go one step on; what comes out of them."""
    total = decay_rate.dtype.type(0)
    for n in range(len(decay_rate)):
        after[n] = exp2(step * decay_rate[n]) * before[n] + drive * B[n]
        total += after[n] * C[n]
    return total
