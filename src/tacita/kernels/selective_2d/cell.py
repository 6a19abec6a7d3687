"""The parts of the loops over a grid, for numba: what is computed for a cell, forward and back.

They are functions of few arrays: LLVM makes vectors of a loop only where it has checked that no array it
writes to is a part of another, and each pair of arrays is a check. Those of more arrays run over all states
and lanes of a cell at once. `_1` is along time, `_2` along variates.
"""

from __future__ import annotations

from tacita.kernels.compiled import Array, inlined, summing
from tacita.kernels.exponentials import LOG2_E, exp2
from tacita.kernels.selective.loops import copy

U, STEP_1, STEP_2, B_1, B_2, C_1, C_2, GRAD_Y = range(8)
"""Rows of `strides (8, 3)`, over samples, variates and time."""
OF_A, OF_RHO = range(2)
"""Places in `constants (2, 2, D, N)`, the second axis of which is time or variates."""


# Of a cell, forward: `(N, lanes)`, or both in one


@inlined
def decays(step: Array, rate: Array, decay: Array) -> None:
    for n in range(len(rate)):
        for i in range(len(step)):
            decay[n, i] = exp2(step[i] * rate[n, i])


@inlined
def spread(B: Array, drive: Array, drives: Array) -> None:
    """What drives a channel, over its states."""
    for n in range(len(drives)):
        for i in range(len(drive)):
            drives[n, i] = drive[i] * B[n]


@inlined
def advance(decay: Array, drive: Array, rho: Array, before: Array, other: Array, x: Array) -> None:
    """States of one kind from those before, and from `other`, those of the other kind there."""
    for i in range(len(decay)):
        held = rho[i] * other[i]
        x[i] = decay[i] * (before[i] - held) + (held + drive[i])


@inlined
def read(C: Array, x: Array, total: Array) -> None:
    for n in range(len(x)):
        for i in range(len(total)):
            total[i] += x[n, i] * C[n]


# And back


@inlined
def arrive(grad: Array, C: Array, g: Array) -> None:
    """A state's gradient by the output."""
    for n in range(len(g)):
        for i in range(len(grad)):
            g[n, i] = grad[i] * C[n]


@inlined
def join(later: Array, above: Array, g: Array) -> None:
    """... and by the step after and the variate after."""
    for i in range(len(g)):
        g[i] += later[i] + above[i]


@inlined
def retreat(
    decay: Array,
    rho: Array,
    g: Array,
    before: Array,
    other: Array,
    to_before: Array,
    to_other: Array,
    to_rho: Array,
    by_decay: Array,
) -> None:
    """Through `advance`; `by_decay` is the gradient of the decay's logarithm."""
    for i in range(len(decay)):
        through = decay[i] * g[i]
        rest = g[i] - through
        to_rho[i] += rest * other[i]
        by_decay[i] = through * (before[i] - rho[i] * other[i])
        to_before[i] = through
        to_other[i] = rho[i] * rest


@inlined
def weigh(by_decay: Array, step: Array, rate: Array, to_rate: Array, to_step: Array) -> None:
    """Through `decays`."""
    for n in range(len(rate)):
        for i in range(len(step)):
            to_rate[n, i] += by_decay[n, i] * step[i]
        for i in range(len(step)):
            to_step[i] += by_decay[n, i] * rate[n, i]


@summing
def drawn(g: Array, B: Array, drive: Array, to_drive: Array, dB: Array) -> None:
    """Through `spread`."""
    for n in range(len(g)):
        total = g.dtype.type(0)
        for i in range(len(drive)):
            total += g[n, i] * drive[i]
            to_drive[i] += g[n, i] * B[n]
        dB[n] += total


@summing
def said(grad: Array, x: Array, dC: Array) -> None:
    """Through `read`, to what reads."""
    for n in range(len(x)):
        total = x.dtype.type(0)
        for i in range(len(grad)):
            total += grad[i] * x[n, i]
        dC[n] += total


# Where what is given lies


@inlined
def order(place: int, variates: int, reverse: bool) -> tuple[int, int]:
    """The variate that is taken `place`-th, and the one before it, `variates` for none."""
    if reverse:
        return variates - 1 - place, variates if place == 0 else variates - place
    return place, variates if place == 0 else place - 1


@inlined
def at(
    values: Array, strides: Array, which: int, b: int, v: int, t: int, first: int, count: int
) -> Array:
    begin = b * strides[which, 0] + v * strides[which, 1] + t * strides[which, 2] + first
    return values[begin : begin + count]


@inlined
def load_steps(
    u: Array,
    step_1: Array,
    step_2: Array,
    strides: Array,
    b: int,
    v: int,
    t: int,
    first: int,
    w: int,
    steps: Array,
    drives: Array,
) -> None:
    """Both step sizes, and what drives the states before `B` spreads it over them."""
    u_t = at(u, strides, U, b, v, t, first, w)
    copy(at(step_1, strides, STEP_1, b, v, t, first, w), steps[0])
    copy(at(step_2, strides, STEP_2, b, v, t, first, w), steps[1])
    for axis in range(2):
        for i in range(w):
            drives[axis, i] = steps[axis, i] * u_t[i]


@inlined
def load_constants(first: int, w: int, constants: Array, rate: Array, rho: Array) -> None:
    """What a block of channels has of its own; `rate` is A for a power of 2, states before lanes."""
    rate[:] = rho[:] = 0
    for axis in range(2):
        for n in range(rate.shape[1]):
            for i in range(w):
                rate[axis, n, i] = constants[OF_A, axis, first + i, n] * rate.dtype.type(LOG2_E)
                rho[axis, n, i] = constants[OF_RHO, axis, first + i, n]


@inlined
def load_states(b: int, first: int, w: int, states: Array, axis: int, x: Array) -> None:
    """One kind of the states `(2, B, V, D, N)`, of size 0 for zeros, by variates, states and lanes."""
    x[:] = 0
    if states.size:
        for v in range(states.shape[2]):
            for n in range(x.shape[1]):
                for i in range(w):
                    x[v, n, i] = states[axis, b, v, first + i, n]
