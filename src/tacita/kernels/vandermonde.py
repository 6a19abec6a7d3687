"""Sums of exponentials over a long line: the kernel of a diagonal system, and its transpose.

With `l = c i + j` the exponential splits, `e^{z l} = e^{z c i} e^{z j}`, so all `L` of them come from
about `2 sqrt(L)` and the sum is one small matrix product for each channel: no `(H, N, L)` tensor,
forward or backward, and the work is that of the product, on any device.

What bounds it: `2 H N L` multiply-adds in matrix products of side `sqrt(L)`, at the speed of the BLAS.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tacita.kernels.double import doubled

WIDTH = 16
"""The inner length is a multiple of it, so that matrix products fill the vector units."""


def vandermonde_product(weights: Tensor, exponents: Tensor, length: int) -> Tensor:
    """`(..., H, L)` real: `Re sum_n weights[n] e^{l exponents[n]}` for `l` from 0 to `length - 1`.

    Shapes: `weights (..., H, N)` and `exponents (H, N)`, complex. Phases `l Im(z)` are taken in double
    precision, since at l = 16,000 a single one is off by whole turns.

    >>> z = torch.tensor([[complex(-0.5, 0.0)]])
    >>> vandermonde_product(torch.ones_like(z), z, 3)
    tensor([[1.0000, 0.6065, 0.3679]])
    """
    outer, inner = _tables(exponents, length)
    left = weights[..., None] * outer  # (..., H, N, rows)
    left = torch.cat([left.real, -left.imag], -2).transpose(-1, -2)
    right = torch.cat([inner.real, inner.imag], -2)  # (H, 2N, columns)
    with torch.autocast(left.device.type, enabled=False):
        found = (left @ right).flatten(-2)
    if isinstance(length, torch.SymInt):
        # A slice would ask the exporter to prove that it is enough.
        return found.index_select(-1, torch.arange(length, device=found.device))
    return found[..., :length]


def vandermonde_transpose(x: Tensor, exponents: Tensor) -> Tensor:
    """`(B, H, N)` complex: `sum_l x[l] e^{l exponents[n]}`, for real `x (B, H, L)`.

    The state of a diagonal system after `L` steps is this of its reversed input.

    >>> z = torch.tensor([[complex(0.0, torch.pi)]])
    >>> vandermonde_transpose(torch.tensor([[[1.0, 2.0, 4.0]]]), z).real
    tensor([[[3.]]])
    """
    outer, inner = _tables(exponents, x.shape[-1])
    rows, columns = outer.shape[-1], inner.shape[-1]
    x = torch.nn.functional.pad(x, (0, rows * columns - x.shape[-1]))
    x = x.reshape(*x.shape[:-1], rows, columns).to(inner.real.dtype)  # (B, H, rows, columns)
    with torch.autocast(x.device.type, enabled=False):
        parts = x @ torch.cat([inner.real, inner.imag], -2).transpose(-1, -2)  # (B, H, rows, 2N)
    real, imaginary = parts.chunk(2, -1)
    return (torch.complex(real, imaginary) * outer.transpose(-1, -2)).sum(-2)


def _tables(exponents: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """`e^{z c i}` for the rows, `(H, N, rows)`, and `e^{z j}` for the columns, `(H, N, c)`."""
    if isinstance(length, torch.SymInt):
        # Exported for any length: two rows or more, since one would be taken for a constant.
        columns = 4 * WIDTH
        rows = length // columns + 2
    else:
        columns = WIDTH * max(1, round(math.sqrt(length) / WIDTH))
        rows = -(-length // columns)
    exact = doubled(exponents)[..., None]
    steps = torch.arange(columns, dtype=torch.float64, device=exact.device)
    starts = columns * torch.arange(rows, dtype=torch.float64, device=exact.device)
    outer, inner = (exact * starts).exp(), (exact * steps).exp()
    return outer.to(exponents), inner.to(exponents)
