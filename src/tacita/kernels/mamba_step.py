"""One step of Mamba's gated block between its two projections, compiled, without gradients.

A stream has no time to share the cost of a call over: torch's fifteen small operations take longer to
start than to run. Here they are one function. What bounds it: the weights of the projections, read
once a step; the exponentials of `E N` decays come next.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from tacita.kernels.selective.loops import (
    LOG2_E,
    compiled,
    exp2,
    sigmoid,
    softplus_of,
    summing,
)

Array = np.ndarray[Any, Any]


def mamba_step(
    projected: Tensor,
    window: Tensor,
    ssm: Tensor,
    taps: Tensor,
    conv_bias: Tensor | None,
    x_proj: Tensor,
    dt_proj: Tensor,
    dt_bias: Tensor,
    A_log: Tensor,
    D: Tensor,
    rate: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """The gated output `(B, E)`, and the next `window (B, W - 1, E)` and `ssm (B, E, N)`.

    Shapes: `projected (B, 2 E)`, what is convolved and then what gates; `taps (E, W)`,
    `x_proj (R + 2 N, E)`, `dt_proj (E, R)`, `A_log (E, N)`, the rest `(E,)`. All on the CPU and of one
    dtype, float32 or float64.
    """
    batch, width = len(projected), len(D)
    y = projected.new_empty(batch, width)
    window_after, ssm_after = window.new_empty(window.shape), ssm.new_empty(ssm.shape)
    bias = projected.new_empty(0) if conv_bias is None else conv_bias
    given = (projected, window, ssm, taps, bias, x_proj, dt_proj, dt_bias, A_log, D)
    arrays: list[Any] = [tensor.detach().contiguous().numpy() for tensor in given]
    arrays.append(arrays[0].dtype.type(rate))
    arrays += (y.numpy(), window_after.numpy(), ssm_after.numpy())
    _step(*arrays)
    return y, window_after, ssm_after


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
    y: Array,
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
            y[b, e] = _advance(step[e], step[e] * u[e], decay_rate[e], B, C, *states)
        for e in range(width):
            y[b, e] = (y[b, e] + D[e] * u[e]) * (z[e] * sigmoid(z[e]))
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
