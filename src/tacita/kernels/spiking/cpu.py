"""Leaky integrate-and-fire neurons with numba: one pass over time, lanes over neurons.

What bounds it: bytes. Forward reads the current and writes potentials and spikes; backward reads the
gradient and the potentials and writes the gradient of the current. The arithmetic is a multiply-add and a
comparison a number, and a division backwards, in vector instructions. Threads share samples, and the
neurons of a sample in blocks, so that one long recording is shared too.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from tacita.kernels.compiled import Array, Number, array, compiled
from tacita.kernels.threads import share

BLOCK = 256
"""Neurons that one thread takes along time: their potentials stay in its nearest cache."""


def forward(
    current: Tensor, state: Tensor | None, lengths: Tensor | None, decay: float, threshold: float
) -> tuple[Tensor, Tensor]:
    """Spikes and potentials `(B, L, D)`."""
    make = torch.empty if lengths is None else torch.zeros
    spikes, potential = (make(current.shape, dtype=current.dtype) for _ in range(2))
    left = torch.zeros_like(current[:, 0]) if state is None else state.detach().clone()
    arrays = [array(each) for each in (current, left, spikes, potential)]
    steps = _steps(current, lengths)
    numbers = _numbers(arrays[0], decay, threshold, 1.0)
    share(lambda i, j: _forward(i, j, steps, *arrays, *numbers), _parts(current))
    return spikes, potential


def backward(
    grad_spikes: Tensor | None,
    grad_potential: Tensor | None,
    potential: Tensor,
    lengths: Tensor | None,
    decay: float,
    threshold: float,
    alpha: float,
) -> tuple[Tensor, Tensor]:
    """The gradients of the current and of the state."""
    make = torch.empty if lengths is None else torch.zeros
    grad = make(potential.shape, dtype=potential.dtype)
    carry = torch.zeros_like(potential[:, 0])
    absent = torch.empty(0, 0, 0, dtype=potential.dtype)
    given = [absent if each is None else each for each in (grad_spikes, grad_potential)]
    arrays = [array(each) for each in (*given, potential, grad, carry)]
    steps = _steps(potential, lengths)
    numbers = _numbers(arrays[2], decay, threshold, 1.0, alpha / 2, np.pi / 2 * alpha)
    share(lambda i, j: _backward(i, j, steps, *arrays, *numbers), _parts(potential))
    return grad, carry


def _numbers(like: Array, *numbers: float) -> list[Number]:
    """As wide as the arrays: a float64, or a whole number, among float32 would widen the whole loop."""
    return [like.dtype.type(number) for number in numbers]


def _steps(like: Tensor, lengths: Tensor | None) -> Array:
    """`(B,)`: the valid steps, and never more than there are."""
    batch, length, _ = like.shape
    if lengths is None:
        return np.full(batch, length, np.int64)
    return lengths.clamp(0, length).numpy()


def _parts(like: Tensor) -> int:
    """Blocks of neurons of all samples."""
    batch, _, neurons = like.shape
    return batch * -(-neurons // BLOCK)


@compiled
def _forward(
    start: int,
    stop: int,
    steps: Array,
    current: Array,
    left: Array,
    spikes: Array,
    potential: Array,
    decay: Number,
    threshold: Number,
    one: Number,
) -> None:
    neurons = current.shape[2]
    blocks = -(-neurons // BLOCK)
    for part in range(start, stop):
        row, first = part // blocks, part % blocks * BLOCK
        own = slice(first, min(first + BLOCK, neurons))
        for t in range(steps[row]):
            _fire(
                current[row, t, own], left[row, own], spikes[row, t, own], potential[row, t, own],
                decay, threshold, one,
            )  # fmt: skip


@compiled
def _fire(
    current: Array,
    left: Array,
    spikes: Array,
    potential: Array,
    decay: Number,
    threshold: Number,
    one: Number,
) -> None:
    none = one - one
    for d in range(len(current)):
        v = decay * left[d] + current[d]
        fires = v >= threshold
        potential[d] = v
        spikes[d] = one if fires else none * v
        left[d] = none if fires else v


@compiled
def _backward(
    start: int,
    stop: int,
    steps: Array,
    grad_spikes: Array,
    grad_potential: Array,
    potential: Array,
    grad: Array,
    carry: Array,
    decay: Number,
    threshold: Number,
    one: Number,
    half: Number,
    steep: Number,
) -> None:
    """`carry (B, D)` is `du_t`, zero at first: in the end the state's gradient."""
    neurons = potential.shape[2]
    blocks = -(-neurons // BLOCK)
    for part in range(start, stop):
        row, first = part // blocks, part % blocks * BLOCK
        own = slice(first, min(first + BLOCK, neurons))
        for t in range(steps[row] - 1, -1, -1):
            v, total, after = potential[row, t, own], grad[row, t, own], carry[row, own]
            _through_reset(v, after, total, threshold, one)
            if len(grad_spikes):
                _through_spike(grad_spikes[row, t, own], v, total, threshold, one, half, steep)
            if len(grad_potential):
                _add(grad_potential[row, t, own], total)
            _back(total, after, decay)


@compiled
def _through_reset(
    potential: Array, after: Array, total: Array, threshold: Number, one: Number
) -> None:
    none = one - one
    for d in range(len(total)):
        total[d] = none if potential[d] >= threshold else after[d]


@compiled
def _through_spike(
    grad: Array,
    potential: Array,
    total: Array,
    threshold: Number,
    one: Number,
    half: Number,
    steep: Number,
) -> None:
    for d in range(len(total)):
        x = steep * (potential[d] - threshold)
        total[d] += grad[d] * half / (one + x * x)


@compiled
def _add(grad: Array, total: Array) -> None:
    for d in range(len(total)):
        total[d] += grad[d]


@compiled
def _back(total: Array, after: Array, decay: Number) -> None:
    for d in range(len(total)):
        after[d] = decay * total[d]
