"""The selective scan in plain torch: what the other implementations must equal.

    step  = softplus(delta + delta_bias), or delta + delta_bias
    x_t   = exp(step_t A) x_{t-1} + step_t u_t B_t      a state of N numbers a channel, x_{-1} = state
    y_t   = (<x_t, C_t> + D u_t) silu(z_t)

Runs on any device, under `torch.compile` and in an exported program, of any length up to a
limit too. Autograd keeps `(B, L, D, N)` numbers of it a few times over; without gradients it holds those
of one chunk.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from tacita.kernels.lengths import lengthened

CHUNK = 64
"""Time steps scanned at once: fewer are more calls, more are more work and memory a call."""


def selective_scan_reference(
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
) -> tuple[Tensor, Tensor]:
    """`y (B, L, D)` and the last state `(B, D, N)`; arguments of one dtype, shapes as in the kernel.

    >>> one = torch.ones(1, 3, 1)
    >>> arguments = (one, one / 2, -one[0, :1], one, one, None, None, None, None, None)
    >>> selective_scan_reference(*arguments, delta_softplus=False)[0].flatten()
    tensor([0.5000, 0.8033, 0.9872])
    """
    step = delta if delta_bias is None else delta + delta_bias
    if delta_softplus:
        step = F.softplus(step)  # linear above 20, so that nothing overflows
    if state is None:
        state = u.new_zeros(u.shape[0], u.shape[2], A.shape[1])
    outputs, whole, length = [], u, u.shape[1]
    # What is added where the length is free is steps of size 0, which leave the state as it is.
    u, step, B, C = (lengthened(each, 1) for each in (u, step, B, C))
    resets = None if resets is None else lengthened(resets, 1)
    for begin in range(0, u.shape[1], CHUNK):
        now = slice(begin, begin + CHUNK)
        a = torch.exp(step[:, now, :, None] * A)
        b = (step[:, now] * u[:, now])[..., None] * B[:, now, None, :]
        x = scan(a, b, state, None if resets is None else resets[:, now])
        outputs.append((x * C[:, now, None, :]).sum(-1))
        state = x[:, -1]
    y = torch.cat(outputs, 1)[:, :length]
    if D is not None:
        y = y + D * whole
    if z is not None:
        y = y * F.silu(z)
    return y, state


def scan(a: Tensor, b: Tensor, state: Tensor, resets: Tensor | None) -> Tensor:
    """`x_t = a_t x_{t-1} + b_t` over dimension 1 in log2(L) passes; a reset forgets `x_{t-1}`.

    Pass k composes each step with what stands 2^k steps before it. No division by a product of
    decays, which underflows.
    """
    cut = None if resets is None else resets[:, :, None, None]
    length, reach = a.shape[1], 1
    while reach < length:
        # Masked before it is multiplied: a NaN ahead of a reset stays there, in gradients as well.
        earlier = b[:, :-reach]
        if cut is not None:
            earlier = earlier.masked_fill(cut[:, reach:], 0.0)
        b = torch.cat([b[:, :reach], b[:, reach:] + a[:, reach:] * earlier], 1)
        a = torch.cat([a[:, :reach], a[:, reach:] * a[:, :-reach]], 1)
        if cut is not None:
            cut = torch.cat([cut[:, :reach], cut[:, reach:] | cut[:, :-reach]], 1)
        reach *= 2
    before = state[:, None]
    if cut is not None:
        before = before.expand_as(b).masked_fill(cut, 0.0)
    return b + a * before
