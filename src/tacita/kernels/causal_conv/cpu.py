"""The short causal convolution with numba: one pass over time, lanes over channels.

A row of work is one sequence of the batch and a block of its channels, of which the few steps that a
tap reaches lie in the nearest cache. What bounds it: bytes. Forward reads `x` and writes `y`; backward
reads both gradients' sides once and adds to the `W` last steps of `dx` where they still lie in cache.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

from tacita.kernels.compiled import Array, array, compiled
from tacita.kernels.threads import share

LANES = 256
"""Channels of a block at most: a step of one is 1 kB in float32."""


def forward(x: Tensor, weight: Tensor, bias: Tensor | None, reach: Tensor | None) -> Tensor:
    """`y (B, L, D)`, as `reference.py` defines it."""
    y = x.new_empty(x.shape)
    if bias is None:
        bias = x.new_zeros(x.shape[2])
    arrays = (array(x), array(weight.T), array(bias), _steps(reach), y.numpy())
    share(lambda i, j: _forward(i, j, *arrays), _rows(x))
    return y


def backward(
    grad: Tensor, x: Tensor, weight: Tensor, reach: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of `x`, `weight` and `bias`."""
    dx = x.new_zeros(x.shape)
    # One row writes each of these; they are summed over the batch afterwards.
    dweight, dbias = x.new_zeros(len(x), *weight.T.shape), x.new_zeros(len(x), x.shape[2])
    arrays = (array(grad), array(x), array(weight.T), _steps(reach))
    results = (dx.numpy(), dweight.numpy(), dbias.numpy())
    share(lambda i, j: _backward(i, j, *arrays, *results), _rows(x))
    return dx, dweight.sum(0).T, dbias.sum(0)


def _rows(x: Tensor) -> int:
    return len(x) * -(-x.shape[2] // LANES)


def _steps(reach: Tensor | None) -> Array:
    return np.empty((0, 0), np.int64) if reach is None else reach.contiguous().numpy()


@compiled
def _forward(
    start: int, stop: int, x: Array, weight: Array, bias: Array, reach: Array, y: Array
) -> None:
    _, length, width = x.shape
    taps = len(weight)
    blocks = (width + LANES - 1) // LANES
    for row in range(start, stop):
        b, first = row // blocks, LANES * (row % blocks)
        beyond = min(first + LANES, width)
        for t in range(length):
            y_t = y[b, t, first:beyond]
            y_t[:] = bias[first:beyond]
            back = min(taps - 1, reach[b, t] if reach.size else t)
            for k in range(back + 1):
                _add(weight[taps - 1 - k, first:beyond], x[b, t - k, first:beyond], y_t)


@compiled
def _backward(
    start: int,
    stop: int,
    grad: Array,
    x: Array,
    weight: Array,
    reach: Array,
    dx: Array,
    dweight: Array,
    dbias: Array,
) -> None:
    _, length, width = x.shape
    taps = len(weight)
    blocks = (width + LANES - 1) // LANES
    for row in range(start, stop):
        b, first = row // blocks, LANES * (row % blocks)
        beyond = min(first + LANES, width)
        for t in range(length):
            grad_t = grad[b, t, first:beyond]
            dbias_b = dbias[b, first:beyond]
            for i in range(len(grad_t)):
                dbias_b[i] += grad_t[i]
            back = min(taps - 1, reach[b, t] if reach.size else t)
            for k in range(back + 1):
                _add(weight[taps - 1 - k, first:beyond], grad_t, dx[b, t - k, first:beyond])
                _add(x[b, t - k, first:beyond], grad_t, dweight[b, taps - 1 - k, first:beyond])


@compiled
def _add(factor: Array, x: Array, total: Array) -> None:
    for i in range(len(total)):
        total[i] += factor[i] * x[i]
