"""The compiled loops of the selective scan on a CPU; `cpu.py` says how work is laid out in them.

Names are those of `function.py`. Sequences come as flat arrays with `strides` over batch and time;
an absent argument has size 0. Innermost loops run over the lanes of contiguous rows, without
branches, which is what the compiler turns into vector instructions.
"""

from __future__ import annotations

import numpy as np

from tacita.kernels.compiled import Array, Number, compiled, inlined, summing
from tacita.kernels.exponentials import LN_2, LOG2_E, exp2, sigmoid, softplus_of, softplus_slope

CHUNK = 32
"""Steps between kept states: the states of a chunk fit the second cache when they come again."""
U, DELTA, B_, C_, Z, GRAD_Y = range(6)
"""Rows of `strides`."""


@compiled
def forward_rows(
    start: int,
    stop: int,
    lanes: int,
    u: Array,
    delta: Array,
    B: Array,
    C: Array,
    z: Array,
    strides: Array,
    A: Array,
    D: Array,
    delta_bias: Array,
    state: Array,
    resets: Array,
    softplus: bool,
    y: Array,
    last: Array,
    kept: Array,
) -> None:
    """Fill `y`, `last` and `kept` for rows `start` to `stop`: one sequence, one block of channels."""
    batch, width, d_state = last.shape
    length = y.size // (batch * width)
    blocks = (width + lanes - 1) // lanes
    x, rate = np.empty((d_state, lanes), A.dtype), np.empty((d_state, lanes), A.dtype)
    step, drive, total = (
        np.empty(lanes, A.dtype),
        np.empty(lanes, A.dtype),
        np.empty(lanes, A.dtype),
    )
    bias, skip = np.empty(lanes, A.dtype), np.empty(lanes, A.dtype)
    for row in range(start, stop):
        b, first = row // blocks, lanes * (row % blocks)
        w = min(lanes, width - first)
        load_channels(first, w, A, D, delta_bias, rate, skip, bias)
        load_states(b, first, w, state, x)
        step[:] = drive[:] = 0  # lanes beyond w stay at zero
        for t in range(length):
            if kept.size and t % CHUNK == 0:
                for n in range(d_state):
                    copy(x[n], kept[b, t // CHUNK, n, first : first + w])
            if resets.size and resets[b, t]:
                x[:] = 0
            u_t = lanes_of(u, strides, U, b, t, first, w)
            delta_t = lanes_of(delta, strides, DELTA, b, t, first, w)
            load_step(delta_t, u_t, bias, softplus, step, drive)
            B_t = lanes_of(B, strides, B_, b, t, 0, d_state)
            C_t = lanes_of(C, strides, C_, b, t, 0, d_state)
            total[:] = 0
            for n in range(d_state):
                advance(B_t[n], C_t[n], step, drive, rate[n], x[n], total)
            at = (b * length + t) * width + first
            y_t = y[at : at + w]
            copy(total, y_t)
            if D.size:
                for i in range(w):
                    y_t[i] += skip[i] * u_t[i]
            if z.size:
                z_t = lanes_of(z, strides, Z, b, t, first, w)
                for i in range(w):
                    y_t[i] *= z_t[i] * sigmoid(z_t[i])
        for n in range(d_state):
            for i in range(w):
                last[b, first + i, n] = x[n, i]


@inlined
def advance(
    B: Number, C: Number, step: Array, drive: Array, rate: Array, x: Array, total: Array
) -> None:
    """One state of every lane goes one step on; its part of the output is added to `total`."""
    for i in range(len(step)):
        x[i] = exp2(step[i] * rate[i]) * x[i] + drive[i] * B
        total[i] += x[i] * C


@compiled
def backward_rows(
    start: int,
    stop: int,
    lanes: int,
    u: Array,
    delta: Array,
    B: Array,
    C: Array,
    z: Array,
    grad_y: Array,
    strides: Array,
    A: Array,
    D: Array,
    delta_bias: Array,
    state: Array,
    resets: Array,
    softplus: bool,
    grad_last: Array,
    kept: Array,
    du: Array,
    ddelta: Array,
    dA: Array,
    dD: Array,
    dbias: Array,
    dstate: Array,
    dz: Array,
    first_sequence: int,
    dBC: Array,
) -> None:
    """Fill the gradients for rows `start` to `stop`; `dBC (2, sequences, L, N)` is added to."""
    batch, width, d_state = dA.shape
    length = du.size // (batch * width)
    blocks = (width + lanes - 1) // lanes
    shape = (d_state, lanes)
    rate, to_rate, carry = (
        np.empty(shape, A.dtype),
        np.empty(shape, A.dtype),
        np.empty(shape, A.dtype),
    )
    nothing = np.zeros(shape, A.dtype)
    x, decay = np.empty((CHUNK + 1, *shape), A.dtype), np.empty((CHUNK, *shape), A.dtype)
    steps, drives = np.empty((CHUNK, lanes), A.dtype), np.empty((CHUNK, lanes), A.dtype)
    totals = np.empty((CHUNK, lanes), A.dtype)
    bias, skip, grad = np.empty(lanes, A.dtype), np.empty(lanes, A.dtype), np.empty(lanes, A.dtype)
    to_drive, to_step = np.empty(lanes, A.dtype), np.empty(lanes, A.dtype)
    to_skip, to_bias = np.empty(lanes, A.dtype), np.empty(lanes, A.dtype)
    ln_2 = A.dtype.type(LN_2)
    for row in range(start, stop):
        b, first = row // blocks, lanes * (row % blocks)
        w = min(lanes, width - first)
        load_channels(first, w, A, D, delta_bias, rate, skip, bias)
        load_states(b, first, w, grad_last, carry)
        to_rate[:] = 0
        to_skip[:] = to_bias[:] = grad[:] = 0
        steps[:] = drives[:] = 0
        x[0] = 0
        for chunk in range(kept.shape[1] - 1, -1, -1):
            begin = chunk * CHUNK
            count = min(CHUNK, length - begin)
            for n in range(d_state):
                copy(kept[b, chunk, n, first : first + w], x[0, n, :w])
            for k in range(count):
                t = begin + k
                u_t = lanes_of(u, strides, U, b, t, first, w)
                delta_t = lanes_of(delta, strides, DELTA, b, t, first, w)
                load_step(delta_t, u_t, bias, softplus, steps[k], drives[k])
                B_t = lanes_of(B, strides, B_, b, t, 0, d_state)
                C_t = lanes_of(C, strides, C_, b, t, 0, d_state)
                before = nothing if resets.size and resets[b, t] else x[k]
                totals[k] = 0
                for n in range(d_state):
                    advance_keeping(
                        B_t[n],
                        C_t[n],
                        steps[k],
                        drives[k],
                        rate[n],
                        before[n],
                        decay[k, n],
                        x[k + 1, n],
                        totals[k],
                    )
            for k in range(count - 1, -1, -1):
                t = begin + k
                u_t = lanes_of(u, strides, U, b, t, first, w)
                delta_t = lanes_of(delta, strides, DELTA, b, t, first, w)
                grad_t = lanes_of(grad_y, strides, GRAD_Y, b, t, first, w)
                B_t = lanes_of(B, strides, B_, b, t, 0, d_state)
                C_t = lanes_of(C, strides, C_, b, t, 0, d_state)
                at = (b * length + t) * width + first
                copy(grad_t, grad[:w])
                if z.size:
                    z_t = lanes_of(z, strides, Z, b, t, first, w)
                    dz_t, total = dz[at : at + w], totals[k]
                    for i in range(w):
                        gate = sigmoid(z_t[i])
                        y = total[i] + skip[i] * u_t[i]
                        dz_t[i] = grad[i] * y * (gate + z_t[i] * (gate - gate * gate))
                        grad[i] *= z_t[i] * gate
                to_drive[:] = to_step[:] = 0
                erased = resets.size and resets[b, t]
                before = nothing if erased else x[k]
                for n in range(d_state):
                    dB, dC = retreat(
                        B_t[n],
                        C_t[n],
                        grad,
                        steps[k],
                        drives[k],
                        rate[n],
                        before[n],
                        x[k + 1, n],
                        decay[k, n],
                        carry[n],
                        to_rate[n],
                        to_drive,
                        to_step,
                    )
                    dBC[0, b - first_sequence, t, n] += dB
                    dBC[1, b - first_sequence, t, n] += dC
                if erased:
                    carry[:] = 0
                du_t, ddelta_t, step = du[at : at + w], ddelta[at : at + w], steps[k]
                for i in range(w):
                    du_t[i] = grad[i] * skip[i] + to_drive[i] * step[i]
                    ddelta_t[i] = to_drive[i] * u_t[i] + to_step[i] * ln_2
                if softplus:
                    for i in range(w):
                        ddelta_t[i] *= softplus_slope(delta_t[i] + bias[i])
                for i in range(w):
                    to_skip[i] += grad[i] * u_t[i]
                    to_bias[i] += ddelta_t[i]
        copy(to_skip, dD[b, first : first + w])
        copy(to_bias, dbias[b, first : first + w])
        for n in range(d_state):
            for i in range(w):
                dA[b, first + i, n] = to_rate[n, i]
                dstate[b, first + i, n] = carry[n, i]


@inlined
def advance_keeping(
    B: Number,
    C: Number,
    step: Array,
    drive: Array,
    rate: Array,
    before: Array,
    decay: Array,
    x: Array,
    total: Array,
) -> None:
    """`advance`, with the decay kept, and the state in another place than the one before."""
    for i in range(len(step)):
        decay[i] = exp2(step[i] * rate[i])
        x[i] = decay[i] * before[i] + drive[i] * B
        total[i] += x[i] * C


@summing
def retreat(
    B: Number,
    C: Number,
    grad: Array,
    step: Array,
    drive: Array,
    rate: Array,
    before: Array,
    x: Array,
    decay: Array,
    carry: Array,
    to_rate: Array,
    to_drive: Array,
    to_step: Array,
) -> tuple[Number, Number]:
    """One state of every lane goes one step back: `carry` is the gradient of the state after the step,
    then that of the one before it. The gradients of `B_t` and `C_t` sum over the lanes."""
    dB = dC = rate.dtype.type(0)
    for i in range(len(step)):
        g = carry[i] + grad[i] * C
        dB += g * drive[i]
        dC += grad[i] * x[i]
        to_drive[i] += g * B
        carry[i] = decay[i] * g
        through = carry[i] * before[i]
        to_step[i] += through * rate[i]
        to_rate[i] += through * step[i]
    return dB, dC


@inlined
def lanes_of(
    sequence: Array, strides: Array, which: int, b: int, t: int, first: int, count: int
) -> Array:
    at = b * strides[which, 0] + t * strides[which, 1] + first
    return sequence[at : at + count]


@inlined
def copy(origin: Array, into: Array) -> None:
    for i in range(min(len(origin), len(into))):
        into[i] = origin[i]


@inlined
def load_step(
    delta: Array, u: Array, bias: Array, softplus: bool, step: Array, drive: Array
) -> None:
    """The step sizes, and what drives the states before `B_t` spreads it over them."""
    if softplus:
        for i in range(len(u)):
            step[i] = softplus_of(delta[i] + bias[i])
    else:
        for i in range(len(u)):
            step[i] = delta[i] + bias[i]
    for i in range(len(u)):
        drive[i] = step[i] * u[i]


@inlined
def load_channels(
    first: int, w: int, A: Array, D: Array, delta_bias: Array, rate: Array, skip: Array, bias: Array
) -> None:
    """What a block of channels has of its own; `rate` is A for a power of 2, states before lanes."""
    rate[:] = 0
    skip[:] = bias[:] = 0
    for n in range(len(rate)):
        for i in range(w):
            rate[n, i] = A[first + i, n] * A.dtype.type(LOG2_E)
    if D.size:
        copy(D[first : first + w], skip)
    if delta_bias.size:
        copy(delta_bias[first : first + w], bias)


@inlined
def load_states(b: int, first: int, w: int, states: Array, x: Array) -> None:
    x[:] = 0
    if states.size:
        for n in range(len(x)):
            for i in range(w):
                x[n, i] = states[b, first + i, n]
