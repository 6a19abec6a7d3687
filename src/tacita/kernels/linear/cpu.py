"""The linear recurrence with numba: one pass over time, forward and backward, lanes over channels.

What bounds it: bytes. Forward reads `b` and writes `x`; backward reads the gradient and `x` and writes
the gradient of `b`; the arithmetic is one multiply-add for each number. The loops over channels
become vector instructions, for complex numbers too.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from tacita.kernels.compiled import Array, array, compiled
from tacita.kernels.threads import share


def forward(
    a: Tensor, b: Tensor, state: Tensor | None, resets: Tensor | None, reverse: bool
) -> Tensor:
    """The states `(B, L, D)`; `a (B or 1, L or 1, D)`."""
    x = torch.empty(b.shape, dtype=b.dtype)
    before, erase = _before(b, state), _erase(b, state, resets, reverse)
    arrays = (array(a), array(b), before, erase, array(x))
    share(lambda i, j: _forward(i, j, *arrays, reverse), len(b))
    return x


def backward(
    grad: Tensor,
    a: Tensor,
    x: Tensor | None,
    state: Tensor | None,
    resets: Tensor | None,
    reverse: bool,
) -> tuple[Tensor | None, Tensor, Tensor | None]:
    """The gradients of `a`, where `x` is given, of `b`, and of the state, where there is one."""
    grad_b, grad_state = torch.empty(grad.shape, dtype=grad.dtype), torch.zeros_like(grad[:, 0])
    # Summed over the steps in place, where `a` is the same at all of them; over the batch afterwards.
    steps = 0 if x is None else a.shape[1]
    grad_a = torch.zeros(len(grad), steps, a.shape[2], dtype=a.dtype)
    before, erase = _before(grad, state), _erase(grad, state, resets, reverse)
    arrays = (array(a), array(grad if x is None else x), before, erase, array(grad))
    results = (array(grad_b), array(grad_state), array(grad_a))
    share(lambda i, j: _backward(i, j, *arrays, *results, reverse), len(grad))
    if len(a) < len(grad):
        grad_a = grad_a.sum(0, keepdim=True)
    return grad_a if steps else None, grad_b, None if state is None else grad_state


def _before(like: Tensor, state: Tensor | None) -> Array:
    """`(B, D)`: the state before the first step; what is there counts for nothing without one."""
    return array(torch.empty_like(like[:, 0]) if state is None else state)


def _erase(like: Tensor, state: Tensor | None, resets: Tensor | None, reverse: bool) -> Array:
    """`(B, L)`: where a step starts from zero: at resets, and at the first one without a state."""
    erase = np.zeros(like.shape[:2], np.bool_) if resets is None else resets.numpy().copy()
    if state is None:
        erase[:, -1 if reverse else 0] = True
    return erase


@compiled
def _forward(
    start: int,
    stop: int,
    a: Array,
    b: Array,
    before: Array,
    erase: Array,
    x: Array,
    reverse: bool,
) -> None:
    length = b.shape[1]
    for row in range(start, stop):
        a_row = row if a.shape[0] > 1 else 0
        for step in range(length):
            t = length - 1 - step if reverse else step
            last = t + 1 if reverse else t - 1
            if erase[row, t]:
                x[row, t] = b[row, t]
            else:
                previous = x[row, last] if step else before[row]
                _advance(a[a_row, t if a.shape[1] > 1 else 0], previous, b[row, t], x[row, t])


@compiled
def _advance(a: Array, before: Array, b: Array, x: Array) -> None:
    for d in range(len(x)):
        x[d] = a[d] * before[d] + b[d]


@compiled
def _backward(
    start: int,
    stop: int,
    a: Array,
    x: Array,
    before: Array,
    erase: Array,
    grad: Array,
    grad_b: Array,
    carry: Array,
    grad_a: Array,
    reverse: bool,
) -> None:
    """`carry (B, D)` is `conj(a_{t+1}) G_{t+1}`, zero at first: in the end the state's gradient."""
    length = x.shape[1]
    for row in range(start, stop):
        a_row = row if a.shape[0] > 1 else 0
        for step in range(length - 1, -1, -1):
            t = length - 1 - step if reverse else step
            last = t + 1 if reverse else t - 1
            _add(grad[row, t], carry[row], grad_b[row, t])
            if erase[row, t]:
                carry[row] = 0
                continue
            if grad_a.shape[1]:
                previous = x[row, last] if step else before[row]
                into = grad_a[row, t if grad_a.shape[1] > 1 else 0]
                _gather(grad_b[row, t], previous, into)
            _retreat(a[a_row, t if a.shape[1] > 1 else 0], grad_b[row, t], carry[row])


@compiled
def _add(grad: Array, carry: Array, total: Array) -> None:
    for d in range(len(total)):
        total[d] = grad[d] + carry[d]


@compiled
def _gather(total: Array, before: Array, grad_a: Array) -> None:
    for d in range(len(total)):
        grad_a[d] += total[d] * np.conj(before[d])


@compiled
def _retreat(a: Array, total: Array, carry: Array) -> None:
    for d in range(len(total)):
        carry[d] = np.conj(a[d]) * total[d]
