"""The Cauchy product on a CPU: denominators of a block of nodes once, then sums from the cache.

What bounds it: for each pole and node a division and, for each of the `M` sums, 4 multiply-adds
forward and 8 backward.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tacita.kernels.compiled import ANY_ORDER
from tacita.kernels.compiled import compiled as kernels_compiled
from tacita.kernels.threads import share

BLOCK = 128
"""Nodes at a time: 32 poles by 128 nodes are 32 KB, which stay in the fastest cache."""

compiled = partial(kernels_compiled, fastmath=ANY_ORDER | {"nsz", "arcp"})
"""Also with reciprocals in place of divisions."""


def forward(*given: Tensor) -> Tensor:
    """`(H, M, K, 2)` of `alpha`, `beta`, `decay`, `frequency` and `nodes`, as the reference says."""
    arrays = [tensor.detach().numpy() for tensor in given]
    heads, sums, _ = given[0].shape
    y = torch.empty(heads, sums, given[4].shape[0], 2, dtype=given[0].dtype)
    arrays.append(y.numpy())
    share(lambda start, stop: forward_heads(start, stop, *arrays), heads)
    return y


def backward(grad: Tensor, *given: Tensor) -> tuple[Tensor, ...]:
    """The gradients of `alpha`, `beta`, `decay` and `frequency`."""
    arrays = [tensor.detach().numpy() for tensor in given]
    found = [torch.zeros_like(tensor) for tensor in given[:4]]
    into = [tensor.numpy() for tensor in found]
    share(
        lambda start, stop: backward_heads(start, stop, grad.numpy(), *arrays, *into),
        given[0].shape[0],
    )
    return tuple(found)


@compiled
def reciprocals(a: Any, w: Any, y: Any, s: Any, t: Any) -> None:
    """One over the denominators of one head, for a block of nodes: `s + i t`, each `(N, BLOCK)`."""
    one = y.dtype.type(1)
    for n in range(a.shape[0]):
        own, turn, row_s, row_t = a[n], w[n], s[n], t[n]
        for k in range(y.shape[0]):
            real = own * own + (turn - y[k]) * (turn + y[k])
            imaginary = -(own + own) * y[k]
            scale = one / (real * real + imaginary * imaginary)
            row_s[k] = real * scale
            row_t[k] = -imaginary * scale


@compiled
def forward_heads(
    start: int, stop: int, alpha: Any, beta: Any, decay: Any, frequency: Any, nodes: Any, out: Any
) -> None:
    poles, sums, kind = alpha.shape[2], alpha.shape[1], alpha.dtype
    s, t = np.empty((poles, BLOCK), kind), np.empty((poles, BLOCK), kind)
    total = np.empty((4, BLOCK), kind)
    for h in range(start, stop):
        for first in range(0, nodes.shape[0], BLOCK):
            y = nodes[first : first + BLOCK]
            width = y.shape[0]
            reciprocals(decay[h], frequency[h], y, s, t)
            for m in range(sums):
                total[:] = 0
                n = 0
                while n + 4 <= poles:  # four poles for each time that the totals are fetched
                    a0, a1, a2, a3 = alpha[h, m, n : n + 4]
                    b0, b1, b2, b3 = beta[h, m, n : n + 4]
                    for k in range(width):
                        s0, s1, s2, s3 = s[n, k], s[n + 1, k], s[n + 2, k], s[n + 3, k]
                        t0, t1, t2, t3 = t[n, k], t[n + 1, k], t[n + 2, k], t[n + 3, k]
                        total[0, k] += a0 * s0 + a1 * s1 + a2 * s2 + a3 * s3
                        total[1, k] += b0 * t0 + b1 * t1 + b2 * t2 + b3 * t3
                        total[2, k] += a0 * t0 + a1 * t1 + a2 * t2 + a3 * t3
                        total[3, k] += b0 * s0 + b1 * s1 + b2 * s2 + b3 * s3
                    n += 4
                while n < poles:
                    a0, b0 = alpha[h, m, n], beta[h, m, n]
                    for k in range(width):
                        total[0, k] += a0 * s[n, k]
                        total[1, k] += b0 * t[n, k]
                        total[2, k] += a0 * t[n, k]
                        total[3, k] += b0 * s[n, k]
                    n += 1
                for k in range(width):
                    out[h, m, first + k, 0] = total[0, k] - y[k] * total[1, k]
                    out[h, m, first + k, 1] = total[2, k] + y[k] * total[3, k]


@compiled
def backward_heads(
    start: int,
    stop: int,
    grad: Any,
    alpha: Any,
    beta: Any,
    decay: Any,
    frequency: Any,
    nodes: Any,
    d_alpha: Any,
    d_beta: Any,
    d_decay: Any,
    d_frequency: Any,
) -> None:
    poles, sums, kind = alpha.shape[2], alpha.shape[1], alpha.dtype
    s, t = np.empty((poles, BLOCK), kind), np.empty((poles, BLOCK), kind)
    g = np.empty((sums, 4, BLOCK), kind)  # real, imaginary, and both times the node
    q = np.empty((2, BLOCK), kind)
    two = kind.type(2)
    for h in range(start, stop):
        for first in range(0, nodes.shape[0], BLOCK):
            y = nodes[first : first + BLOCK]
            width = y.shape[0]
            reciprocals(decay[h], frequency[h], y, s, t)
            for m in range(sums):
                for k in range(width):
                    real, imaginary = grad[h, m, first + k, 0], grad[h, m, first + k, 1]
                    g[m, 0, k], g[m, 1, k] = real, imaginary
                    g[m, 2, k], g[m, 3, k] = real * y[k], imaginary * y[k]
            for n in range(poles):
                q[:] = 0
                for m in range(sums):
                    a, b = alpha[h, m, n], beta[h, m, n]
                    to_alpha = to_beta = kind.type(0)
                    for k in range(width):
                        g0, g1, g2, g3 = g[m, 0, k], g[m, 1, k], g[m, 2, k], g[m, 3, k]
                        to_alpha += g0 * s[n, k] + g1 * t[n, k]
                        to_beta += g3 * s[n, k] - g2 * t[n, k]
                        # The conjugate of the gradient times the numerator.
                        q[0, k] += g0 * a + g3 * b
                        q[1, k] += g2 * b - g1 * a
                    d_alpha[h, m, n] += to_alpha
                    d_beta[h, m, n] += to_beta
                to_real = to_imaginary = kind.type(0)
                for k in range(width):
                    # The derivative of 1/den is -1/den^2; that of den is dr - 2 i y da.
                    square, product = s[n, k] * s[n, k] - t[n, k] * t[n, k], s[n, k] * t[n, k]
                    to_real -= q[0, k] * square - two * q[1, k] * product
                    to_imaginary -= y[k] * (q[1, k] * square + two * q[0, k] * product)
                d_decay[h, n] += two * (decay[h, n] * to_real + to_imaginary)
                d_frequency[h, n] += two * frequency[h, n] * to_real
