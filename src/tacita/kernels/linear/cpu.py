"""The linear recurrence with numba: one pass over time, forward and backward, lanes over channels.

What bounds it: bytes. Forward reads `b` and writes `x`; backward reads the gradient and `x` and writes
the gradient of `b`; the arithmetic is one multiply-add for each number. Complex numbers lie as real
pairs, and the loops over channels become vector instructions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import torch
from numba import njit
from torch import Tensor

from tacita.kernels.threads import share

Array = np.ndarray[Any, Any]

F = TypeVar("F", bound=Callable[..., None])


def compiled(function: F) -> F:
    """Multiply and add may become one instruction; nothing may take the numbers for finite."""
    return njit(cache=True, nogil=True, fastmath={"contract"})(function)


def forward(
    a: Tensor, b: Tensor, state: Tensor | None, resets: Tensor | None, reverse: bool
) -> Tensor:
    """The states `(B, L, D)`; `a (B or 1, L or 1, D)`."""
    x = torch.empty(b.shape, dtype=b.dtype)
    before, erase = _before(b, state), _erase(b, state, resets, reverse)
    arrays = (_array(a), _array(b), before, erase, _array(x))
    share(lambda i, j: _forward(i, j, *arrays, reverse, b.is_complex()), len(b))
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
    arrays = (_array(a), _array(grad if x is None else x), before, erase, _array(grad))
    results = (_array(grad_b), _array(grad_state), _array(grad_a))
    share(lambda i, j: _backward(i, j, *arrays, *results, reverse, a.is_complex()), len(grad))
    if len(a) < len(grad):
        grad_a = grad_a.sum(0, keepdim=True)
    return grad_a if steps else None, grad_b, None if state is None else grad_state


def _array(tensor: Tensor) -> Array:
    """Contiguous numbers as numpy sees them, a complex one as two real ones side by side."""
    tensor = tensor.detach().resolve_conj().resolve_neg().contiguous()
    return (torch.view_as_real(tensor).flatten(-2) if tensor.is_complex() else tensor).numpy()


def _before(like: Tensor, state: Tensor | None) -> Array:
    """`(B, D)`: the state before the first step; what is there counts for nothing without one."""
    return _array(torch.empty_like(like[:, 0]) if state is None else state)


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
    pairs: bool,
) -> None:
    length = b.shape[1]
    for row in range(start, stop):
        a_row = row if a.shape[0] > 1 else 0
        for step in range(length):
            t = length - 1 - step if reverse else step
            last = t + 1 if reverse else t - 1
            a_t = a[a_row, t if a.shape[1] > 1 else 0]
            if erase[row, t]:
                x[row, t] = b[row, t]
            elif pairs:
                _advance_pairs(a_t, x[row, last] if step else before[row], b[row, t], x[row, t])
            else:
                _advance(a_t, x[row, last] if step else before[row], b[row, t], x[row, t])


@compiled
def _advance(a: Array, before: Array, b: Array, x: Array) -> None:
    for d in range(len(x)):
        x[d] = a[d] * before[d] + b[d]


@compiled
def _advance_pairs(a: Array, before: Array, b: Array, x: Array) -> None:
    for d in range(0, len(x), 2):
        re, im = before[d], before[d + 1]
        x[d] = a[d] * re - a[d + 1] * im + b[d]
        x[d + 1] = a[d] * im + a[d + 1] * re + b[d + 1]


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
    pairs: bool,
) -> None:
    """`carry (B, D)` is `conj(a_{t+1}) G_{t+1}`, zero at first: in the end the state's gradient."""
    length = x.shape[1]
    for row in range(start, stop):
        a_row = row if a.shape[0] > 1 else 0
        for step in range(length - 1, -1, -1):
            t = length - 1 - step if reverse else step
            last = t + 1 if reverse else t - 1
            if erase[row, t]:
                _add(grad[row, t], carry[row], grad_b[row, t])
                carry[row] = 0
                continue
            a_t = a[a_row, t if a.shape[1] > 1 else 0]
            if grad_a.shape[1]:
                previous = x[row, last] if step else before[row]
                into = grad_a[row, t if a.shape[1] > 1 else 0]
                if pairs:
                    _retreat_pairs(a_t, previous, grad[row, t], carry[row], grad_b[row, t], into)
                else:
                    _retreat(a_t, previous, grad[row, t], carry[row], grad_b[row, t], into)
            else:
                _add(grad[row, t], carry[row], grad_b[row, t])
                if pairs:
                    _turn_pairs(a_t, grad_b[row, t], carry[row])
                else:
                    _turn(a_t, grad_b[row, t], carry[row])


@compiled
def _add(grad: Array, carry: Array, total: Array) -> None:
    for d in range(len(total)):
        total[d] = grad[d] + carry[d]


@compiled
def _retreat(
    a: Array, before: Array, grad: Array, carry: Array, total: Array, grad_a: Array
) -> None:
    for d in range(len(total)):
        g = grad[d] + carry[d]
        total[d] = g
        carry[d] = a[d] * g
        grad_a[d] += g * before[d]


@compiled
def _retreat_pairs(
    a: Array, before: Array, grad: Array, carry: Array, total: Array, grad_a: Array
) -> None:
    for d in range(0, len(total), 2):
        re, im = grad[d] + carry[d], grad[d + 1] + carry[d + 1]
        total[d], total[d + 1] = re, im
        carry[d] = a[d] * re + a[d + 1] * im
        carry[d + 1] = a[d] * im - a[d + 1] * re
        grad_a[d] += re * before[d] + im * before[d + 1]
        grad_a[d + 1] += im * before[d] - re * before[d + 1]


@compiled
def _turn(a: Array, total: Array, carry: Array) -> None:
    for d in range(len(total)):
        carry[d] = a[d] * total[d]


@compiled
def _turn_pairs(a: Array, total: Array, carry: Array) -> None:
    for d in range(0, len(total), 2):
        re, im = total[d], total[d + 1]
        carry[d] = a[d] * re + a[d + 1] * im
        carry[d + 1] = a[d] * im - a[d + 1] * re
