"""The loops of the selective scan over a grid, for numba: see `cpu.py`; `cell.py` has what a cell does."""

from __future__ import annotations

import numpy as np

from tacita.kernels.compiled import Array, compiled
from tacita.kernels.exponentials import LN_2
from tacita.kernels.selective.loops import copy
from tacita.kernels.selective_2d.cell import (
    B_1,
    B_2,
    C_1,
    C_2,
    GRAD_Y,
    OF_A,
    OF_RHO,
    U,
    advance,
    arrive,
    at,
    decays,
    drawn,
    join,
    load_constants,
    load_states,
    load_steps,
    order,
    read,
    retreat,
    said,
    spread,
    weigh,
)


@compiled
def forward_rows(
    start: int,
    stop: int,
    lanes: int,
    chunk: int,
    u: Array,
    step_1: Array,
    step_2: Array,
    B1: Array,
    B2: Array,
    C1: Array,
    C2: Array,
    strides: Array,
    constants: Array,
    states: Array,
    reverse: bool,
    y: Array,
    last: Array,
    kept: Array,
) -> None:
    """Fill `y`, `last` and `kept` for rows `start` to `stop`: one sample, one block of channels.

    `y (B, V, T, D)`; `states`, `last (2, B, V, D, N)`; `kept (B, chunks, 2, V, N, D)`.
    """
    _, variates, length, width = y.shape
    d_state, dtype = constants.shape[3], constants.dtype
    blocks = (width + lanes - 1) // lanes
    shape, all_lanes = (d_state, lanes), d_state * lanes
    # The states of a variate at one time, and at the last place of no variate.
    x_1, x_2 = (
        np.empty((variates + 1, all_lanes), dtype),
        np.empty((variates + 1, all_lanes), dtype),
    )
    new_1, decay, drive = (
        np.empty(all_lanes, dtype),
        np.empty(all_lanes, dtype),
        np.empty(all_lanes, dtype),
    )
    rate, rho = np.empty((2, *shape), dtype), np.empty((2, all_lanes), dtype)
    steps, drives = np.zeros((2, lanes), dtype), np.zeros((2, lanes), dtype)
    total = np.empty(lanes, dtype)
    by_state_1, by_state_2 = x_1.reshape(-1, *shape), x_2.reshape(-1, *shape)
    decay_by_state, drive_by_state = decay.reshape(shape), drive.reshape(shape)
    for row in range(start, stop):
        b, first = row // blocks, lanes * (row % blocks)
        w = min(lanes, width - first)
        load_constants(first, w, constants, rate, rho.reshape((2, *shape)))
        load_states(b, first, w, states, 0, by_state_1)
        load_states(b, first, w, states, 1, by_state_2)
        steps[:] = drives[:] = 0  # lanes beyond w stay at zero
        for t in range(length):
            if kept.size and t % chunk == 0:
                border = kept[b, t // chunk]
                for v in range(variates):
                    for n in range(d_state):
                        copy(by_state_1[v, n], border[0, v, n, first : first + w])
                        copy(by_state_2[v, n], border[1, v, n, first : first + w])
            for place in range(variates):
                v, before = order(place, variates, reverse)
                load_steps(u, step_1, step_2, strides, b, v, t, first, w, steps, drives)
                decays(steps[0], rate[0], decay_by_state)
                spread(at(B1, strides, B_1, b, v, t, 0, d_state), drives[0], drive_by_state)
                advance(decay, drive, rho[0], x_1[v], x_2[v], new_1)
                decays(steps[1], rate[1], decay_by_state)
                spread(at(B2, strides, B_2, b, v, t, 0, d_state), drives[1], drive_by_state)
                advance(decay, drive, rho[1], x_2[before], x_1[before], x_2[v])
                copy(new_1, x_1[v])
                total[:] = 0
                read(at(C1, strides, C_1, b, v, t, 0, d_state), by_state_1[v], total)
                read(at(C2, strides, C_2, b, v, t, 0, d_state), by_state_2[v], total)
                copy(total, y[b, v, t, first : first + w])
        for v in range(variates):
            for n in range(d_state):
                for i in range(w):
                    last[0, b, v, first + i, n] = by_state_1[v, n, i]
                    last[1, b, v, first + i, n] = by_state_2[v, n, i]


@compiled
def backward_rows(
    start: int,
    stop: int,
    lanes: int,
    chunk: int,
    u: Array,
    step_1: Array,
    step_2: Array,
    B1: Array,
    B2: Array,
    C1: Array,
    C2: Array,
    grad_y: Array,
    strides: Array,
    constants: Array,
    reverse: bool,
    grad_last: Array,
    kept: Array,
    du: Array,
    dsteps: Array,
    dconstants: Array,
    dstates: Array,
    first_sample: int,
    dBC: Array,
) -> None:
    """Fill the gradients for rows `start` to `stop`; `dBC (4, samples, V, T, N)` is added to.

    `du (B, V, T, D)`, `dsteps (2, B, V, T, D)`, `dconstants (2, 2, B, D, N)`, `dstates (2, B, V, D, N)`.
    """
    _, variates, length, width = du.shape
    d_state, dtype = constants.shape[3], constants.dtype
    blocks = (width + lanes - 1) // lanes
    shape, all_lanes = (d_state, lanes), d_state * lanes
    # The states of a chunk, the first before it, and at the last place of no variate; their decays.
    x_1 = np.zeros((chunk + 1, variates + 1, all_lanes), dtype)
    x_2 = np.zeros((chunk + 1, variates + 1, all_lanes), dtype)
    decay = np.empty((chunk, variates, 2, all_lanes), dtype)
    # What comes back from the step after, and from the variate after.
    later_1, later_2 = (
        np.empty((variates, all_lanes), dtype),
        np.empty((variates, all_lanes), dtype),
    )
    above_1, above_2 = np.empty(all_lanes, dtype), np.empty(all_lanes, dtype)
    drive, by_decay = np.empty(all_lanes, dtype), np.empty(all_lanes, dtype)
    g_1, g_2 = np.empty(all_lanes, dtype), np.empty(all_lanes, dtype)
    rate, rho = np.empty((2, *shape), dtype), np.empty((2, all_lanes), dtype)
    to_rate, to_rho = np.empty((2, *shape), dtype), np.empty((2, all_lanes), dtype)
    steps = np.zeros((chunk, variates, 2, lanes), dtype)
    drives = np.zeros((chunk, variates, 2, lanes), dtype)
    grad, to_drive, to_step = (
        np.zeros(lanes, dtype),
        np.empty((2, lanes), dtype),
        np.empty((2, lanes), dtype),
    )
    states_1 = x_1.reshape(chunk + 1, variates + 1, *shape)
    states_2 = x_2.reshape(chunk + 1, variates + 1, *shape)
    decay_by_state = decay.reshape(chunk, variates, 2, *shape)
    later_by_state_1, later_by_state_2 = later_1.reshape(-1, *shape), later_2.reshape(-1, *shape)
    drive_by_state, by_decay_by_state = drive.reshape(shape), by_decay.reshape(shape)
    g_by_state_1, g_by_state_2 = g_1.reshape(shape), g_2.reshape(shape)
    ln_2 = dtype.type(LN_2)
    for row in range(start, stop):
        b, first = row // blocks, lanes * (row % blocks)
        w = min(lanes, width - first)
        load_constants(first, w, constants, rate, rho.reshape((2, *shape)))
        load_states(b, first, w, grad_last, 0, later_by_state_1)
        load_states(b, first, w, grad_last, 1, later_by_state_2)
        to_rate[:] = to_rho[:] = 0
        grad[:] = 0
        steps[:] = drives[:] = 0
        for part in range(kept.shape[1] - 1, -1, -1):
            begin = part * chunk
            count = min(chunk, length - begin)
            x_1[0] = x_2[0] = 0
            for v in range(variates):
                for n in range(d_state):
                    copy(kept[b, part, 0, v, n, first : first + w], states_1[0, v, n])
                    copy(kept[b, part, 1, v, n, first : first + w], states_2[0, v, n])
            for k in range(count):
                t = begin + k
                for place in range(variates):
                    v, before = order(place, variates, reverse)
                    load_steps(
                        u, step_1, step_2, strides, b, v, t, first, w, steps[k, v], drives[k, v]
                    )
                    decays(steps[k, v, 0], rate[0], decay_by_state[k, v, 0])
                    spread(
                        at(B1, strides, B_1, b, v, t, 0, d_state), drives[k, v, 0], drive_by_state
                    )
                    advance(decay[k, v, 0], drive, rho[0], x_1[k, v], x_2[k, v], x_1[k + 1, v])
                    decays(steps[k, v, 1], rate[1], decay_by_state[k, v, 1])
                    spread(
                        at(B2, strides, B_2, b, v, t, 0, d_state), drives[k, v, 1], drive_by_state
                    )
                    advance(
                        decay[k, v, 1], drive, rho[1], x_2[k + 1, before], x_1[k + 1, before],
                        x_2[k + 1, v],
                    )  # fmt: skip
            for k in range(count - 1, -1, -1):
                t = begin + k
                above_1[:] = above_2[:] = 0
                for place in range(variates - 1, -1, -1):
                    v, before = order(place, variates, reverse)
                    here = b - first_sample
                    copy(at(grad_y, strides, GRAD_Y, b, v, t, first, w), grad)
                    arrive(grad, at(C1, strides, C_1, b, v, t, 0, d_state), g_by_state_1)
                    arrive(grad, at(C2, strides, C_2, b, v, t, 0, d_state), g_by_state_2)
                    join(later_1[v], above_1, g_1)
                    join(later_2[v], above_2, g_2)
                    retreat(
                        decay[k, v, 0], rho[0], g_1, x_1[k, v], x_2[k, v], later_1[v], later_2[v],
                        to_rho[0], by_decay,
                    )  # fmt: skip
                    to_drive[:] = to_step[:] = 0
                    weigh(by_decay_by_state, steps[k, v, 0], rate[0], to_rate[0], to_step[0])
                    drawn(
                        g_by_state_1, at(B1, strides, B_1, b, v, t, 0, d_state), drives[k, v, 0],
                        to_drive[0], dBC[0, here, v, t],
                    )  # fmt: skip
                    said(grad, states_1[k + 1, v], dBC[2, here, v, t])
                    retreat(
                        decay[k, v, 1], rho[1], g_2, x_2[k + 1, before], x_1[k + 1, before], above_2,
                        above_1, to_rho[1], by_decay,
                    )  # fmt: skip
                    weigh(by_decay_by_state, steps[k, v, 1], rate[1], to_rate[1], to_step[1])
                    drawn(
                        g_by_state_2, at(B2, strides, B_2, b, v, t, 0, d_state), drives[k, v, 1],
                        to_drive[1], dBC[1, here, v, t],
                    )  # fmt: skip
                    said(grad, states_2[k + 1, v], dBC[3, here, v, t])
                    u_t = at(u, strides, U, b, v, t, first, w)
                    du_t = du[b, v, t, first : first + w]
                    dstep_1 = dsteps[0, b, v, t, first : first + w]
                    dstep_2 = dsteps[1, b, v, t, first : first + w]
                    for i in range(w):
                        drive_1, drive_2 = to_drive[0, i], to_drive[1, i]
                        du_t[i] = drive_1 * steps[k, v, 0, i] + drive_2 * steps[k, v, 1, i]
                        dstep_1[i] = drive_1 * u_t[i] + to_step[0, i] * ln_2
                        dstep_2[i] = drive_2 * u_t[i] + to_step[1, i] * ln_2
        to_rho_by_state = to_rho.reshape((2, *shape))
        for axis in range(2):
            for n in range(d_state):
                for i in range(w):
                    dconstants[OF_A, axis, b, first + i, n] = to_rate[axis, n, i]
                    dconstants[OF_RHO, axis, b, first + i, n] = to_rho_by_state[axis, n, i]
        for v in range(variates):
            for n in range(d_state):
                for i in range(w):
                    dstates[0, b, v, first + i, n] = later_by_state_1[v, n, i]
                    dstates[1, b, v, first + i, n] = later_by_state_2[v, n, i]
