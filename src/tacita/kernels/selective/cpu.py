"""The selective scan with numba: one pass over time, lanes over channels.

A row of work is one sequence of the batch and a block of its channels, whose states `(N, lanes)` stay
in the caches nearest to the core; the innermost loops run over the lanes and become vector
instructions. `backward` goes through the chunks from the last to the first: it computes the states of
a chunk again from the one kept at its border, then walks back through them.

What bounds it: the arithmetic around `exp(step A)`, one for each of `B L D N` numbers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from tacita.kernels.compiled import Array
from tacita.kernels.lanes import lanes_for, sequences
from tacita.kernels.selective.loops import CHUNK, backward_rows, forward_rows
from tacita.kernels.threads import share


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
    """As `function.py` describes it; what is kept is the state `(B, chunks, N, D)` before each chunk."""
    batch, length, width = u.shape
    y, last = u.new_empty(u.shape), u.new_empty(batch, width, A.shape[1])
    kept = u.new_empty(batch, -(-length // CHUNK), A.shape[1], width) if keep else None
    arguments = (*sequences(u, delta, B, C, z), *_dense(u, A, D, delta_bias, state, resets))
    results = (y.view(-1).numpy(), last.numpy(), _array(kept, u, 4))
    lanes = lanes_for(batch, width)
    everything: tuple[Any, ...] = (lanes, *arguments, delta_softplus, *results)
    share(lambda start, stop: forward_rows(start, stop, *everything), batch * -(-width // lanes))
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
    given = sequences(u, delta, B, C, z, grad_y)
    arguments = (*given, *_dense(u, A, D, delta_bias, state, resets))
    lanes = lanes_for(batch, width)
    blocks = -(-width // lanes)
    du, ddelta = u.new_empty(u.shape), u.new_empty(u.shape)
    dz = None if z is None else u.new_empty(u.shape)
    # One row writes each of these; they are summed over the batch afterwards.
    dA, dstate = u.new_empty(batch, *A.shape), u.new_empty(batch, *A.shape)
    dD, dbias = u.new_empty(batch, width), u.new_empty(batch, width)
    by_row = (du.view(-1), ddelta.view(-1), dA, dD, dbias, dstate)
    results = (*(each.numpy() for each in by_row), _array(dz, u, 3).reshape(-1))
    incoming = (_array(grad_last_state, u, 3), kept.numpy())
    everything: tuple[Any, ...] = (lanes, *arguments, delta_softplus, *incoming, *results)
    # Many rows add to these: each thread to its own, and the threads' are added in their order.
    sums: dict[int, tuple[int, Tensor]] = {}

    def work(start: int, stop: int) -> None:
        first, beyond = start // blocks, (stop - 1) // blocks + 1
        sums[start] = first, u.new_zeros(2, beyond - first, length, A.shape[1])
        shared = (*everything, first, sums[start][1].numpy())
        backward_rows(start, stop, *shared)

    share(work, batch * blocks)
    dBC = u.new_zeros(2, batch, length, A.shape[1])
    for start in sorted(sums):
        first, part = sums[start]
        dBC[:, first : first + part.shape[1]] += part
    return (
        du,
        ddelta,
        dA.sum(0),
        dBC[0],
        dBC[1],
        None if D is None else dD.sum(0),
        dz,
        None if delta_bias is None else dbias.sum(0),
        None if state is None else dstate,
    )


def _dense(
    like: Tensor,
    A: Tensor,
    D: Tensor | None,
    delta_bias: Tensor | None,
    state: Tensor | None,
    resets: Tensor | None,
) -> tuple[Array, ...]:
    """What does not come step by step; an absent argument is an array of size 0."""
    return (
        _array(A, like, 2),
        _array(D, like, 1),
        _array(delta_bias, like, 1),
        _array(state, like, 3),
        np.empty((0, 0), np.bool_) if resets is None else resets.contiguous().numpy(),
    )


def _array(tensor: Tensor | None, like: Tensor, dimensions: int) -> Array:
    tensor = like.new_empty((0,) * dimensions) if tensor is None else tensor
    return tensor.detach().contiguous().numpy()
