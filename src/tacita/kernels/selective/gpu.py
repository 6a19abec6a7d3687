"""The selective scan with triton: a program walks over time with its channels' states in registers.

A program is one sequence and a block of its channels, with a state of `(channels, N)`. Forward keeps
the state before every chunk; backward goes from the last chunk to the first, computes the states of
a chunk again into a scratch that every chunk uses anew, and walks back through them.

What bounds it: the exponentials, one for each of `B L D N` numbers, twice more going backward, and
the latency of a step while programs are few (`B D / 32`). Sums over blocks of channels and over the
batch are of partial results, taken in one order. Never timed on a GPU; its numbers are checked under
triton's interpreter, and that it compiles without spilling registers, without one.
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

CHUNK = 32
"""Steps between two states that are kept: the scratch of backward grows with it."""

BLOCK = 32
"""The most channels of a program."""

HELD = 32
"""Bytes of state that a thread holds, and backward some eight times as many: beyond, registers spill."""

WARPS = 8
"""The most of a program, so that each thread may have all the registers that there can be."""

AHEAD = 2
"""Steps whose numbers are on their way from memory at a time."""


def forward(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    delta_bias: Tensor | None,
    state: Tensor | None,
    resets: Tensor | None,
    *,
    delta_softplus: bool,
    keep: bool,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """As `function.py` describes it; what is kept is the state `(B, chunks, D, N)` before each chunk."""
    batch, length, width = u.shape
    y, last = u.new_empty(u.shape), u.new_empty(batch, *A.shape)
    kept = u.new_empty(batch, triton.cdiv(length, CHUNK), *A.shape) if keep else None
    arrays = _dense(u, delta, A, B, C, D, z, delta_bias, state, resets)
    options = _options(A, D, z, delta_bias, state, resets, delta_softplus)
    sizes = length, width, A.shape[1]
    grid = batch, triton.cdiv(width, options["BLOCK"])
    with torch.cuda.device_of(u):  # type: ignore[no-untyped-call]
        _forward[grid](*arrays, y, last, y if kept is None else kept, *sizes, **options, KEEP=keep)
    return y, last, kept


def backward(
    grad_y: Tensor,
    grad_last_state: Tensor | None,
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    delta_bias: Tensor | None,
    state: Tensor | None,
    resets: Tensor | None,
    kept: Tensor,
    *,
    delta_softplus: bool,
) -> tuple[Tensor | None, ...]:
    """The gradients of the nine arguments, as `function.py` describes it."""
    batch, length, width = u.shape
    d_state = A.shape[1]
    options = _options(A, D, z, delta_bias, state, resets, delta_softplus)
    blocks = triton.cdiv(width, options["BLOCK"])
    du, ddelta, dz = (u.new_empty(u.shape) for _ in range(3))
    dA, dstate = u.new_empty(batch, *A.shape), u.new_empty(batch, *A.shape)
    dD, dbias = u.new_empty(batch, width), u.new_empty(batch, width)
    dB, dC = (u.new_empty(blocks, batch, length, d_state) for _ in range(2))
    scratch = u.new_empty(batch, CHUNK, width, d_state)
    incoming = dstate.zero_() if grad_last_state is None else grad_last_state.contiguous()
    arrays = _dense(u, delta, A, B, C, D, z, delta_bias, state, resets)
    results = du, ddelta, dA, dB, dC, dD, dz, dbias, dstate
    come_in = grad_y.contiguous(), incoming, kept, scratch
    sizes = batch, length, width, d_state
    with torch.cuda.device_of(u):  # type: ignore[no-untyped-call]
        _backward[batch, blocks](*arrays, *come_in, *results, *sizes, **options)
    return (
        du,
        ddelta,
        dA.sum(0),
        dB.sum(0),
        dC.sum(0),
        None if D is None else dD.sum(0),
        None if z is None else dz,
        None if delta_bias is None else dbias.sum(0),
        None if state is None else dstate,
    )


def _dense(u: Tensor, *others: Tensor | None) -> list[Tensor]:
    """All contiguous; in the place of an absent one stands `u`, which is then not read."""
    tensors = [u if each is None else each for each in (u, *others)]
    tensors = [each.view(torch.uint8) if each.dtype == torch.bool else each for each in tensors]
    return [each.detach().contiguous() for each in tensors]


def _options(
    A: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    delta_bias: Tensor | None,
    state: Tensor | None,
    resets: Tensor | None,
    delta_softplus: bool,
) -> dict[str, Any]:
    wide = triton.next_power_of_2(A.shape[1])
    each = HELD // A.element_size()
    block = max(1, min(BLOCK, 32 * WARPS * each // wide))
    return {
        "SKIP": D is not None,
        "GATE": z is not None,
        "BIAS": delta_bias is not None,
        "STATE": state is not None,
        "RESETS": resets is not None,
        "SOFTPLUS": delta_softplus,
        "BLOCK": block,
        "WIDE": wide,
        "CHUNK": CHUNK,
        "AHEAD": AHEAD,
        "num_warps": max(1, min(WARPS, block * wide // (32 * each))),
    }


@triton.jit
def _softplus(v):
    """`log(1 + w)` keeps the digits of a small `w` when multiplied by `w / ((1 + w) - 1)`."""
    w = tl.exp(-tl.abs(v))
    one = 1.0 + w
    small = tl.where(one == 1.0, w, tl.log(one) * (w / tl.where(one == 1.0, 1.0, one - 1.0)))
    return tl.where(v > 0.0, v, 0.0) + small + (v - v)  # the last is NaN where v is


@triton.jit
def _sigmoid(v):
    w = tl.exp(-tl.abs(v))
    return tl.where(v >= 0.0, 1.0, w) / (1.0 + w)


@triton.jit
def _forward(
    u,
    delta,
    A,
    B,
    C,
    D,
    z,
    bias,
    state,
    resets,
    y,
    last,
    kept,
    length,
    width,
    d_state,
    SKIP: tl.constexpr,
    GATE: tl.constexpr,
    BIAS: tl.constexpr,
    STATE: tl.constexpr,
    RESETS: tl.constexpr,
    SOFTPLUS: tl.constexpr,
    BLOCK: tl.constexpr,
    WIDE: tl.constexpr,
    CHUNK: tl.constexpr,
    AHEAD: tl.constexpr,
    KEEP: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    d = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    n = tl.arange(0, WIDE)
    d_in, n_in = d < width, n < d_state
    both = d[:, None] * d_state + n[None, :]
    both_in = d_in[:, None] & n_in[None, :]
    a_rate = tl.load(A + both, mask=both_in, other=0.0)
    x = tl.zeros((BLOCK, WIDE), u.dtype.element_ty)
    if STATE:
        x = tl.load(state + row * width * d_state + both, mask=both_in, other=0.0)
    chunks = tl.cdiv(length, CHUNK)
    for t in tl.range(0, length, num_stages=AHEAD):
        if KEEP:
            border = kept + (row * chunks + t // CHUNK) * width * d_state + both
            tl.store(border, x, mask=both_in & (t % CHUNK == 0))
        at = (row * length + t) * width + d
        u_t = tl.load(u + at, mask=d_in, other=0.0)
        step = tl.load(delta + at, mask=d_in, other=0.0)
        if BIAS:
            step += tl.load(bias + d, mask=d_in, other=0.0)
        if SOFTPLUS:
            step = _softplus(step)
        B_t = tl.load(B + (row * length + t) * d_state + n, mask=n_in, other=0.0)
        C_t = tl.load(C + (row * length + t) * d_state + n, mask=n_in, other=0.0)
        if RESETS:
            x = tl.where(tl.load(resets + row * length + t) != 0, 0.0, x)
        x = tl.exp(step[:, None] * a_rate) * x + (step * u_t)[:, None] * B_t[None, :]
        y_t = tl.sum(x * C_t[None, :], 1)
        if SKIP:
            y_t += tl.load(D + d, mask=d_in, other=0.0) * u_t
        if GATE:
            z_t = tl.load(z + at, mask=d_in, other=0.0)
            y_t *= z_t * _sigmoid(z_t)
        tl.store(y + at, y_t, mask=d_in)
    tl.store(last + row * width * d_state + both, x, mask=both_in)


@triton.jit
def _backward(
    u,
    delta,
    A,
    B,
    C,
    D,
    z,
    bias,
    state,
    resets,
    grad_y,
    grad_last,
    kept,
    scratch,
    du,
    ddelta,
    dA,
    dB,
    dC,
    dD,
    dz,
    dbias,
    dstate,
    batch,
    length,
    width,
    d_state,
    SKIP: tl.constexpr,
    GATE: tl.constexpr,
    BIAS: tl.constexpr,
    STATE: tl.constexpr,
    RESETS: tl.constexpr,
    SOFTPLUS: tl.constexpr,
    BLOCK: tl.constexpr,
    WIDE: tl.constexpr,
    CHUNK: tl.constexpr,
    AHEAD: tl.constexpr,
):
    """`carry` is `a_{t+1} G_{t+1}`, at first the last state's gradient, in the end the first's."""
    row = tl.program_id(0).to(tl.int64)
    block = tl.program_id(1).to(tl.int64)
    d = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    n = tl.arange(0, WIDE)
    d_in, n_in = d < width, n < d_state
    both = d[:, None] * d_state + n[None, :]
    both_in = d_in[:, None] & n_in[None, :]
    size = width * d_state
    a_rate = tl.load(A + both, mask=both_in, other=0.0)
    carry = tl.load(grad_last + row * size + both, mask=both_in, other=0.0)
    sum_A = tl.zeros((BLOCK, WIDE), u.dtype.element_ty)
    sum_D = tl.zeros((BLOCK,), u.dtype.element_ty)
    sum_bias = tl.zeros((BLOCK,), u.dtype.element_ty)
    chunks = tl.cdiv(length, CHUNK)
    for back in range(chunks):
        chunk = chunks - 1 - back
        begin = chunk * CHUNK
        inside = tl.minimum(CHUNK, length - begin)
        x = tl.load(kept + (row * chunks + chunk) * size + both, mask=both_in, other=0.0)
        for i in tl.range(0, inside, num_stages=AHEAD):
            t = begin + i
            if RESETS:
                x = tl.where(tl.load(resets + row * length + t) != 0, 0.0, x)
            tl.store(scratch + (row * CHUNK + i) * size + both, x, mask=both_in)
            at = (row * length + t) * width + d
            u_t = tl.load(u + at, mask=d_in, other=0.0)
            step = tl.load(delta + at, mask=d_in, other=0.0)
            if BIAS:
                step += tl.load(bias + d, mask=d_in, other=0.0)
            if SOFTPLUS:
                step = _softplus(step)
            B_t = tl.load(B + (row * length + t) * d_state + n, mask=n_in, other=0.0)
            x = tl.exp(step[:, None] * a_rate) * x + (step * u_t)[:, None] * B_t[None, :]
        tl.debug_barrier()  # the scratch is written before it is read
        for j in tl.range(0, inside, num_stages=AHEAD):
            i = inside - 1 - j
            t = begin + i
            at = (row * length + t) * width + d
            at_n = (row * length + t) * d_state + n
            u_t = tl.load(u + at, mask=d_in, other=0.0)
            before = tl.load(delta + at, mask=d_in, other=0.0)
            if BIAS:
                before += tl.load(bias + d, mask=d_in, other=0.0)
            step = before
            if SOFTPLUS:
                step = _softplus(before)
            B_t = tl.load(B + at_n, mask=n_in, other=0.0)
            C_t = tl.load(C + at_n, mask=n_in, other=0.0)
            a = tl.exp(step[:, None] * a_rate)
            kept_x = tl.load(scratch + (row * CHUNK + i) * size + both, mask=both_in, other=0.0)
            decayed = a * kept_x
            x = decayed + (step * u_t)[:, None] * B_t[None, :]
            g = tl.load(grad_y + at, mask=d_in, other=0.0)
            if GATE:
                z_t = tl.load(z + at, mask=d_in, other=0.0)
                y_t = tl.sum(x * C_t[None, :], 1)
                if SKIP:
                    y_t += tl.load(D + d, mask=d_in, other=0.0) * u_t
                open_t = _sigmoid(z_t)
                tl.store(dz + at, g * y_t * open_t * (1.0 + z_t * (1.0 - open_t)), mask=d_in)
                g *= z_t * open_t
            G = g[:, None] * C_t[None, :] + carry
            s = tl.sum(G * B_t[None, :], 1)
            du_t = s * step
            if SKIP:
                du_t += tl.load(D + d, mask=d_in, other=0.0) * g
                sum_D += g * u_t
            tl.store(du + at, du_t, mask=d_in)
            dstep = s * u_t + tl.sum(G * a_rate * decayed, 1)
            if SOFTPLUS:
                dstep *= _sigmoid(before)
            tl.store(ddelta + at, dstep, mask=d_in)
            sum_bias += dstep
            sum_A += G * step[:, None] * decayed
            part = block * batch * length * d_state + at_n
            tl.store(dC + part, tl.sum(g[:, None] * x, 0), mask=n_in)
            tl.store(dB + part, tl.sum(G * (step * u_t)[:, None], 0), mask=n_in)
            carry = a * G
            if RESETS:
                carry = tl.where(tl.load(resets + row * length + t) != 0, 0.0, carry)
        tl.debug_barrier()  # and read before the next chunk writes it
    tl.store(dA + row * size + both, sum_A, mask=both_in)
    tl.store(dstate + row * size + both, carry, mask=both_in)
    tl.store(dD + row * width + d, sum_D, mask=d_in)
    tl.store(dbias + row * width + d, sum_bias, mask=d_in)
