"""The selective scan over a grid with numba: time after time the variates, lanes over channels.

A row of work is one sample and a block of its channels, of which the states of all variates at one
time, `(2, V, N, lanes)`, stay in the nearest caches; a cell needs the time before and the variate before,
so that this order gives the numbers of any other. The innermost loops run over the lanes and become
vector instructions. `backward` goes through the chunks of time from the last to the first: it computes
the states of a chunk again from those kept at its border, then walks back through them.

What bounds it: the arithmetic around two exponentials, for each of `B V T D N` numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from tacita.kernels.lanes import lanes_for, sequences
from tacita.kernels.selective_2d.loops import backward_rows, forward_rows
from tacita.kernels.threads import share

CELLS, FEWEST, MOST = 64, 4, 32
"""Of a chunk: about how many cells, whose states should fit the second cache, and time steps at least
and at most; what is kept are `2 N / steps` numbers for one of `u`."""

LANES = 64
"""Channels of a block at most, for the same reason."""

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
    """As `function.py` describes it; kept are the states `(B, chunks, 2, V, N, D)` before each chunk."""
    batch, variates, length, width = u.shape
    d_state = A[0].shape[1]
    y, last = u.new_empty(u.shape), u.new_empty(2, batch, variates, width, d_state)
    chunk = _chunk(variates)
    kept = u.new_empty(batch, -(-length // chunk) if keep else 0, 2, variates, d_state, width)
    lanes = lanes_for(batch, width, LANES)
    given = (*sequences(u, *steps, *B, *C), _constants(A, rho), _states(states, u))
    everything: tuple[Any, ...] = (*given, reverse, y.numpy(), last.numpy(), kept.numpy())
    share(
        lambda start, stop: forward_rows(start, stop, lanes, chunk, *everything),
        batch * -(-width // lanes),
    )
    return y, last[0], last[1], kept if keep else None


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
    lanes, chunk = lanes_for(batch, width, LANES), _chunk(variates)
    blocks = -(-width // lanes)
    du, dsteps = u.new_empty(u.shape), u.new_empty(2, *u.shape)
    # One row writes each of these; they are summed over the batch afterwards.
    dconstants = u.new_empty(2, 2, batch, width, d_state)
    dstates = u.new_empty(2, batch, variates, width, d_state)
    come = None
    if any(each is not None for each in grad_last):
        come = [torch.zeros_like(dstates[0]) if each is None else each for each in grad_last]
    given = (*sequences(u, *steps, *B, *C, grad_y), _constants(A, rho), reverse, _states(come, u))
    results = (each.numpy() for each in (kept, du, dsteps, dconstants, dstates))
    everything: tuple[Any, ...] = (*given, *results)
    # Many rows add to these: each thread to its own, and the threads' are added in their order.
    sums: dict[int, tuple[int, Tensor]] = {}

    def work(start: int, stop: int) -> None:
        first, beyond = start // blocks, (stop - 1) // blocks + 1
        sums[start] = first, u.new_zeros(4, beyond - first, variates, length, d_state)
        shared = (*everything, first, sums[start][1].numpy())
        backward_rows(start, stop, lanes, chunk, *shared)

    share(work, batch * blocks)
    dBC = u.new_zeros(4, batch, variates, length, d_state)
    for start in sorted(sums):
        first, part = sums[start]
        dBC[:, first : first + part.shape[1]] += part
    return (du, *dsteps, *dconstants.sum(2).flatten(0, 1), *dBC, *dstates)


def _chunk(variates: int) -> int:
    """Time steps between the states that are kept."""
    return max(FEWEST, min(MOST, CELLS // variates))


def _constants(A: Pair, rho: Pair) -> Any:
    """`(2, 2, D, N)`: A and rho, along time and along variates."""
    return torch.stack([*A, *rho]).detach().view(2, 2, *A[0].shape).numpy()


def _states(states: Sequence[Tensor] | None, like: Tensor) -> Any:
    """`(2, B, V, D, N)`, of size 0 for none."""
    if states is None:
        return like.new_empty((0,) * 5).numpy()
    return torch.stack([*states]).detach().numpy()
