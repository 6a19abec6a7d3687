"""The selective scan over a grid with triton: a program walks over time, and at each step over the variates.

A program is one sample and a block of its channels. The states of all variates, `(V, channels, N)` of either
kind, lie where the last ones are returned, and stay in the caches; those of the variate before are in
registers. Forward keeps the states before every chunk of time; backward goes from the last chunk to the
first, computes the states of a chunk again into a scratch that every chunk uses anew, and walks back.

What bounds it: the latency of a cell, from its loads over two exponentials to the next cell, while programs
are few (`B D / 32`); then the exponentials, two for each of `B V T D N` numbers and four going backward.
Sums over blocks of channels and over the batch are of partial results, taken in one order. Never timed on a
GPU; its numbers are checked under triton's interpreter, and that it compiles, without one.
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

CHUNK = 16
"""Steps between two states that are kept: the scratch of backward grows with it."""

BLOCK = 32
"""The most channels of a program."""

HELD = 8
"""Bytes of one kind of state that a thread holds, and backward some twenty times as many."""

WARPS = 8
"""The most of a program, so that each thread may have all the registers that there can be."""

Pair = Sequence[Tensor]
"""Along time, along variates."""


def forward(
    u: Tensor,
    steps: Pair,
    A: Pair,
    rho: Pair,
    B: Pair,
    C: Pair,
    states: Pair | None,
    *,
    reverse: bool,
    keep: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """As `function.py` describes it; kept are the states `(B, chunks, 2, V, D, N)` before each chunk."""
    batch, variates, length, width = u.shape
    d_state = A[0].shape[1]
    y = u.new_empty(u.shape)
    last = _columns(states, u, d_state)
    chunks = triton.cdiv(length, CHUNK)
    kept = u.new_empty(batch, chunks, 2, variates, width, d_state) if keep else None
    arrays = _dense(u, *steps, *A, *rho, *B, *C)
    options = _options(A[0], reverse)
    grid = batch, triton.cdiv(width, options["BLOCK"])
    sizes = variates, length, width, d_state
    with torch.cuda.device_of(u):  # type: ignore[no-untyped-call]
        _forward[grid](*arrays, y, *last, y if kept is None else kept, *sizes, **options, KEEP=keep)
    return y, last[0], last[1], kept


def backward(
    grad_y: Tensor,
    grad_last: Sequence[Tensor | None],
    u: Tensor,
    steps: Pair,
    A: Pair,
    rho: Pair,
    B: Pair,
    C: Pair,
    kept: Tensor,
    *,
    reverse: bool,
) -> tuple[Tensor, ...]:
    """The gradients of the thirteen arguments, as `function.py` describes it."""
    batch, variates, length, width = u.shape
    d_state = A[0].shape[1]
    options = _options(A[0], reverse)
    blocks = triton.cdiv(width, options["BLOCK"])
    of_cells = [u.new_empty(u.shape) for _ in range(3)]
    constants = [u.new_empty(batch, width, d_state) for _ in range(4)]
    maps = [u.new_empty(blocks, batch, variates, length, d_state) for _ in range(4)]
    dstates = _columns(grad_last, u, d_state)
    scratch = u.new_empty(batch, CHUNK + 1, 2, variates, width, d_state)
    arrays = _dense(u, *steps, *A, *rho, *B, *C, grad_y)
    results = *of_cells, *constants, *maps, *dstates
    sizes = batch, variates, length, width, d_state
    with torch.cuda.device_of(u):  # type: ignore[no-untyped-call]
        _backward[batch, blocks](*arrays, kept, scratch, *results, *sizes, **options)
    return (*of_cells, *(each.sum(0) for each in (*constants, *maps)), *dstates)


def _columns(given: Sequence[Tensor | None] | None, u: Tensor, d_state: int) -> list[Tensor]:
    """`(B, V, D, N)` of either kind, which the kernel writes over: copies of what is given, or zeros."""
    shape = u.shape[0], u.shape[1], u.shape[3], d_state
    copies = [u.new_zeros(shape) for _ in range(2)]
    for copy, each in zip(copies, given or (), strict=False):
        if each is not None:
            copy.copy_(each.detach())
    return copies


def _dense(*tensors: Tensor) -> list[Tensor]:
    return [each.detach().contiguous() for each in tensors]


def _options(A: Tensor, reverse: bool) -> dict[str, Any]:
    wide = triton.next_power_of_2(A.shape[1])
    each = HELD // A.element_size()
    block = max(1, min(BLOCK, 32 * WARPS * each // wide))
    return {
        "REVERSE": reverse,
        "BLOCK": block,
        "WIDE": wide,
        "CHUNK": CHUNK,
        "num_warps": max(1, min(WARPS, block * wide // (32 * each))),
    }


@triton.jit
def _forward(
    u,
    step_1,
    step_2,
    A_1,
    A_2,
    rho_1,
    rho_2,
    B_1,
    B_2,
    C_1,
    C_2,
    y,
    last_1,
    last_2,
    kept,
    variates,
    length,
    width,
    d_state,
    REVERSE: tl.constexpr,
    BLOCK: tl.constexpr,
    WIDE: tl.constexpr,
    CHUNK: tl.constexpr,
    KEEP: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    d = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    n = tl.arange(0, WIDE)
    d_in, n_in = d < width, n < d_state
    both = d[:, None] * d_state + n[None, :]
    both_in = d_in[:, None] & n_in[None, :]
    size = width * d_state
    a_1 = tl.load(A_1 + both, mask=both_in, other=0.0)
    a_2 = tl.load(A_2 + both, mask=both_in, other=0.0)
    r_1 = tl.load(rho_1 + both, mask=both_in, other=0.0)
    r_2 = tl.load(rho_2 + both, mask=both_in, other=0.0)
    chunks = tl.cdiv(length, CHUNK)
    for t in range(length):
        below_1 = tl.zeros((BLOCK, WIDE), u.dtype.element_ty)
        below_2 = tl.zeros((BLOCK, WIDE), u.dtype.element_ty)
        for place in range(variates):
            v = place
            if REVERSE:
                v = variates - 1 - place
            own = (row * variates + v) * size + both
            x_1 = tl.load(last_1 + own, mask=both_in, other=0.0)
            x_2 = tl.load(last_2 + own, mask=both_in, other=0.0)
            if KEEP:
                border = kept + ((row * chunks + t // CHUNK) * 2 * variates + v) * size + both
                on_border = both_in & (t % CHUNK == 0)
                tl.store(border, x_1, mask=on_border)
                tl.store(border + variates * size, x_2, mask=on_border)
            cell = (row * variates + v) * length + t
            u_t = tl.load(u + cell * width + d, mask=d_in, other=0.0)
            s_1 = tl.load(step_1 + cell * width + d, mask=d_in, other=0.0)
            s_2 = tl.load(step_2 + cell * width + d, mask=d_in, other=0.0)
            b_1 = tl.load(B_1 + cell * d_state + n, mask=n_in, other=0.0)
            b_2 = tl.load(B_2 + cell * d_state + n, mask=n_in, other=0.0)
            c_1 = tl.load(C_1 + cell * d_state + n, mask=n_in, other=0.0)
            c_2 = tl.load(C_2 + cell * d_state + n, mask=n_in, other=0.0)
            held_1, held_2 = r_1 * x_2, r_2 * below_1
            x_1 = tl.exp(s_1[:, None] * a_1) * (x_1 - held_1) + held_1
            x_1 += (s_1 * u_t)[:, None] * b_1[None, :]
            x_2 = tl.exp(s_2[:, None] * a_2) * (below_2 - held_2) + held_2
            x_2 += (s_2 * u_t)[:, None] * b_2[None, :]
            y_t = tl.sum(x_1 * c_1[None, :] + x_2 * c_2[None, :], 1)
            tl.store(y + cell * width + d, y_t, mask=d_in)
            tl.store(last_1 + own, x_1, mask=both_in)
            tl.store(last_2 + own, x_2, mask=both_in)
            below_1, below_2 = x_1, x_2
        tl.debug_barrier()  # the states are written before the next step reads them


@triton.jit
def _backward(
    u,
    step_1,
    step_2,
    A_1,
    A_2,
    rho_1,
    rho_2,
    B_1,
    B_2,
    C_1,
    C_2,
    grad_y,
    kept,
    scratch,
    du,
    dstep_1,
    dstep_2,
    dA_1,
    dA_2,
    drho_1,
    drho_2,
    dB_1,
    dB_2,
    dC_1,
    dC_2,
    later_1,
    later_2,
    batch,
    variates,
    length,
    width,
    d_state,
    REVERSE: tl.constexpr,
    BLOCK: tl.constexpr,
    WIDE: tl.constexpr,
    CHUNK: tl.constexpr,
):
    """`later` is what comes back from the step after, at first the last states' gradient, in the end the
    first ones'; `above` from the variate after. Slot `i` of the scratch has the states before step `i`."""
    row = tl.program_id(0).to(tl.int64)
    block = tl.program_id(1).to(tl.int64)
    d = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    n = tl.arange(0, WIDE)
    d_in, n_in = d < width, n < d_state
    both = d[:, None] * d_state + n[None, :]
    both_in = d_in[:, None] & n_in[None, :]
    size = width * d_state
    slot = 2 * variates * size
    own = scratch + row * (CHUNK + 1) * slot + both
    a_1 = tl.load(A_1 + both, mask=both_in, other=0.0)
    a_2 = tl.load(A_2 + both, mask=both_in, other=0.0)
    r_1 = tl.load(rho_1 + both, mask=both_in, other=0.0)
    r_2 = tl.load(rho_2 + both, mask=both_in, other=0.0)
    sum_a_1 = tl.zeros((BLOCK, WIDE), u.dtype.element_ty)
    sum_a_2 = tl.zeros((BLOCK, WIDE), u.dtype.element_ty)
    sum_r_1 = tl.zeros((BLOCK, WIDE), u.dtype.element_ty)
    sum_r_2 = tl.zeros((BLOCK, WIDE), u.dtype.element_ty)
    chunks = tl.cdiv(length, CHUNK)
    for back in range(chunks):
        chunk = chunks - 1 - back
        begin = chunk * CHUNK
        inside = tl.minimum(CHUNK, length - begin)
        for v in range(variates):
            border = kept + ((row * chunks + chunk) * 2 * variates + v) * size + both
            x_1 = tl.load(border, mask=both_in, other=0.0)
            x_2 = tl.load(border + variates * size, mask=both_in, other=0.0)
            tl.store(own + v * size, x_1, mask=both_in)
            tl.store(own + (variates + v) * size, x_2, mask=both_in)
        tl.debug_barrier()
        for i in range(inside):
            below_1 = tl.zeros((BLOCK, WIDE), u.dtype.element_ty)
            below_2 = tl.zeros((BLOCK, WIDE), u.dtype.element_ty)
            for place in range(variates):
                v = place
                if REVERSE:
                    v = variates - 1 - place
                before = own + i * slot + v * size
                x_1 = tl.load(before, mask=both_in, other=0.0)
                x_2 = tl.load(before + variates * size, mask=both_in, other=0.0)
                cell = (row * variates + v) * length + begin + i
                u_t = tl.load(u + cell * width + d, mask=d_in, other=0.0)
                s_1 = tl.load(step_1 + cell * width + d, mask=d_in, other=0.0)
                s_2 = tl.load(step_2 + cell * width + d, mask=d_in, other=0.0)
                b_1 = tl.load(B_1 + cell * d_state + n, mask=n_in, other=0.0)
                b_2 = tl.load(B_2 + cell * d_state + n, mask=n_in, other=0.0)
                held_1, held_2 = r_1 * x_2, r_2 * below_1
                x_1 = tl.exp(s_1[:, None] * a_1) * (x_1 - held_1) + held_1
                x_1 += (s_1 * u_t)[:, None] * b_1[None, :]
                x_2 = tl.exp(s_2[:, None] * a_2) * (below_2 - held_2) + held_2
                x_2 += (s_2 * u_t)[:, None] * b_2[None, :]
                tl.store(before + slot, x_1, mask=both_in)
                tl.store(before + slot + variates * size, x_2, mask=both_in)
                below_1, below_2 = x_1, x_2
            tl.debug_barrier()
        for j in range(inside):
            i = inside - 1 - j
            above_1 = tl.zeros((BLOCK, WIDE), u.dtype.element_ty)
            above_2 = tl.zeros((BLOCK, WIDE), u.dtype.element_ty)
            for place in range(variates):
                v = variates - 1 - place
                previous = v - 1
                if REVERSE:
                    v = place
                    previous = v + 1
                inner = both_in & (place < variates - 1)
                before = own + i * slot + v * size
                x_1 = tl.load(before, mask=both_in, other=0.0)
                x_2 = tl.load(before + variates * size, mask=both_in, other=0.0)
                now_1 = tl.load(before + slot, mask=both_in, other=0.0)
                now_2 = tl.load(before + slot + variates * size, mask=both_in, other=0.0)
                below = own + (i + 1) * slot + previous * size
                below_1 = tl.load(below, mask=inner, other=0.0)
                below_2 = tl.load(below + variates * size, mask=inner, other=0.0)
                cell = (row * variates + v) * length + begin + i
                g = tl.load(grad_y + cell * width + d, mask=d_in, other=0.0)
                u_t = tl.load(u + cell * width + d, mask=d_in, other=0.0)
                s_1 = tl.load(step_1 + cell * width + d, mask=d_in, other=0.0)
                s_2 = tl.load(step_2 + cell * width + d, mask=d_in, other=0.0)
                b_1 = tl.load(B_1 + cell * d_state + n, mask=n_in, other=0.0)
                b_2 = tl.load(B_2 + cell * d_state + n, mask=n_in, other=0.0)
                c_1 = tl.load(C_1 + cell * d_state + n, mask=n_in, other=0.0)
                c_2 = tl.load(C_2 + cell * d_state + n, mask=n_in, other=0.0)
                column = (row * variates + v) * size + both
                G_1 = tl.load(later_1 + column, mask=both_in, other=0.0)
                G_2 = tl.load(later_2 + column, mask=both_in, other=0.0)
                G_1 += above_1 + g[:, None] * c_1[None, :]
                G_2 += above_2 + g[:, None] * c_2[None, :]
                through_1 = tl.exp(s_1[:, None] * a_1) * G_1
                through_2 = tl.exp(s_2[:, None] * a_2) * G_2
                rest_1, rest_2 = G_1 - through_1, G_2 - through_2
                by_decay_1 = through_1 * (x_1 - r_1 * x_2)
                by_decay_2 = through_2 * (below_2 - r_2 * below_1)
                sum_a_1 += by_decay_1 * s_1[:, None]
                sum_a_2 += by_decay_2 * s_2[:, None]
                sum_r_1 += rest_1 * x_2
                sum_r_2 += rest_2 * below_1
                drive_1 = tl.sum(G_1 * b_1[None, :], 1)
                drive_2 = tl.sum(G_2 * b_2[None, :], 1)
                tl.store(du + cell * width + d, drive_1 * s_1 + drive_2 * s_2, mask=d_in)
                ds_1 = drive_1 * u_t + tl.sum(by_decay_1 * a_1, 1)
                ds_2 = drive_2 * u_t + tl.sum(by_decay_2 * a_2, 1)
                tl.store(dstep_1 + cell * width + d, ds_1, mask=d_in)
                tl.store(dstep_2 + cell * width + d, ds_2, mask=d_in)
                part = (block * batch * variates * length + cell) * d_state + n
                tl.store(dB_1 + part, tl.sum(G_1 * (s_1 * u_t)[:, None], 0), mask=n_in)
                tl.store(dB_2 + part, tl.sum(G_2 * (s_2 * u_t)[:, None], 0), mask=n_in)
                tl.store(dC_1 + part, tl.sum(now_1 * g[:, None], 0), mask=n_in)
                tl.store(dC_2 + part, tl.sum(now_2 * g[:, None], 0), mask=n_in)
                tl.store(later_1 + column, through_1, mask=both_in)
                tl.store(later_2 + column, r_1 * rest_1, mask=both_in)
                above_1, above_2 = r_2 * rest_2, through_2
            tl.debug_barrier()  # what comes back is written before the step before reads it
    tl.store(dA_1 + row * size + both, sum_a_1, mask=both_in)
    tl.store(dA_2 + row * size + both, sum_a_2, mask=both_in)
    tl.store(drho_1 + row * size + both, sum_r_1, mask=both_in)
    tl.store(drho_2 + row * size + both, sum_r_2, mask=both_in)
