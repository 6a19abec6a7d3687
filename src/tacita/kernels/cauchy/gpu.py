"""The Cauchy product on a GPU: a program for a head, some sums and a block of nodes, or for a pole.

What bounds it: arithmetic, as on a CPU; sums and poles are read from the caches over and over. Never
timed on a GPU; its numbers are checked under triton's interpreter, and that it compiles, without one.
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 128
"""Nodes of a program."""
SUMS = 8
"""The most sums of a program, whose results it holds in registers."""


def forward(*given: Tensor) -> Tensor:
    """`(H, M, K, 2)` of `alpha`, `beta`, `decay`, `frequency` and `nodes`, as the reference says."""
    heads, sums, poles = given[0].shape
    count = given[4].shape[0]
    y = torch.empty(heads, sums, count, 2, dtype=given[0].dtype, device=given[0].device)
    wide = min(SUMS, triton.next_power_of_2(sums))
    grid = (heads, triton.cdiv(count, BLOCK), triton.cdiv(sums, wide))
    with torch.cuda.device_of(y):  # type: ignore[no-untyped-call]
        forward_kernel[grid](*given, y, sums, poles, count, WIDE=wide, BLOCK=BLOCK)
    return y


def backward(grad: Tensor, *given: Tensor) -> tuple[Tensor, ...]:
    """The gradients of `alpha`, `beta`, `decay` and `frequency`."""
    heads, sums, poles = given[0].shape
    found = [torch.empty_like(tensor) for tensor in given[:4]]
    wide = min(SUMS, triton.next_power_of_2(sums))
    sizes = sums, poles, given[4].shape[0]
    with torch.cuda.device_of(grad):  # type: ignore[no-untyped-call]
        backward_kernel[(heads, poles)](grad, *given, *found, *sizes, WIDE=wide, BLOCK=BLOCK)
    return tuple(found)


# The arguments of triton's functions have no types: it reads annotations as its own.
@triton.jit
def reciprocals(own, turn, y):
    """One over the denominators of one pole, at a block of nodes."""
    real = own * own + (turn - y) * (turn + y)
    imaginary = -2 * own * y
    scale = 1 / (real * real + imaginary * imaginary)
    return real * scale, -imaginary * scale


@triton.jit
def forward_kernel(
    alpha,
    beta,
    decay,
    frequency,
    nodes,
    out,
    sums,
    poles,
    count,
    WIDE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    h = tl.program_id(0).to(tl.int64)
    k = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    m = tl.program_id(2) * WIDE + tl.arange(0, WIDE)
    y = tl.load(nodes + k, mask=k < count, other=0.0)
    real = tl.zeros((WIDE, BLOCK), dtype=y.dtype)
    imaginary = tl.zeros((WIDE, BLOCK), dtype=y.dtype)
    for n in range(poles):
        own, turn = tl.load(decay + h * poles + n), tl.load(frequency + h * poles + n)
        s, t = reciprocals(own, turn, y)
        at = (h * sums + m) * poles + n
        a = tl.load(alpha + at, mask=m < sums, other=0.0)[:, None]
        b = tl.load(beta + at, mask=m < sums, other=0.0)[:, None]
        real += a * s[None, :] - b * (y * t)[None, :]
        imaginary += a * t[None, :] + b * (y * s)[None, :]
    into = out + ((h * sums + m)[:, None] * count + k[None, :]) * 2
    inside = (m < sums)[:, None] & (k < count)[None, :]
    tl.store(into, real, mask=inside)
    tl.store(into + 1, imaginary, mask=inside)


@triton.jit
def backward_kernel(
    grad,
    alpha,
    beta,
    decay,
    frequency,
    nodes,
    d_alpha,
    d_beta,
    d_decay,
    d_frequency,
    sums,
    poles,
    count,
    WIDE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    h, n = tl.program_id(0).to(tl.int64), tl.program_id(1)
    own, turn = tl.load(decay + h * poles + n), tl.load(frequency + h * poles + n)
    to_real = tl.zeros((BLOCK,), dtype=own.dtype)
    to_imaginary = tl.zeros((BLOCK,), dtype=own.dtype)
    for begin in range(0, sums, WIDE):
        m = begin + tl.arange(0, WIDE)
        at = (h * sums + m) * poles + n
        a = tl.load(alpha + at, mask=m < sums, other=0.0)[:, None]
        b = tl.load(beta + at, mask=m < sums, other=0.0)[:, None]
        to_alpha = tl.zeros((WIDE,), dtype=own.dtype)
        to_beta = tl.zeros((WIDE,), dtype=own.dtype)
        for first in range(0, count, BLOCK):
            k = first + tl.arange(0, BLOCK)
            y = tl.load(nodes + k, mask=k < count, other=0.0)
            inside = (m < sums)[:, None] & (k < count)[None, :]
            come_from = grad + ((h * sums + m)[:, None] * count + k[None, :]) * 2
            real = tl.load(come_from, mask=inside, other=0.0)
            imaginary = tl.load(come_from + 1, mask=inside, other=0.0)
            s, t = reciprocals(own, turn, y)
            s, t = (
                tl.where(k < count, s, 0.0),
                tl.where(k < count, t, 0.0),
            )  # the filling may be a pole
            to_alpha += tl.sum(real * s[None, :] + imaginary * t[None, :], 1)
            to_beta += tl.sum(y[None, :] * (imaginary * s[None, :] - real * t[None, :]), 1)
            # The conjugate of the gradient times the numerator, and times -1/den^2.
            q = tl.sum(real * a + imaginary * (y[None, :] * b), 0)
            r = tl.sum(real * (y[None, :] * b) - imaginary * a, 0)
            square, product = s * s - t * t, 2 * s * t
            to_real -= q * square - r * product
            to_imaginary -= y * (r * square + q * product)
        tl.store(d_alpha + at, to_alpha, mask=m < sums)
        tl.store(d_beta + at, to_beta, mask=m < sums)
    whole = tl.sum(to_real, 0)
    tl.store(d_decay + h * poles + n, 2 * (own * whole + tl.sum(to_imaginary, 0)))
    tl.store(d_frequency + h * poles + n, 2 * turn * whole)
