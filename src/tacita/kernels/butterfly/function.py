"""The Fourier transform as products with small matrices, and convolution through it.

For `N = n m`, with `j = m j1 + j2` and `k = k1 + n k2`,
`X[k] = sum_j2 F_m[k2, j2] T[k1, j2] sum_j1 F_n[k1, j1] x[j]`, where `T[k1, j2]` is
`e^{-2 pi i k1 j2 / N}`: a product with the matrix `F_n`, a factor, and a transform of length `m`, itself
taken apart until every matrix has at most 16 rows, which matrix units multiply at once. Fu et al.,
"Simple Hardware-Efficient Long Convolutions for Sequence Modeling", 2023, section 4; the algorithm is
Cooley and Tukey's.

What bounds it: `8 N sum(n)` operations in complex matrix products, which is all that it is, so plain
torch is the right form. On one CPU core the FFT library takes a twentieth of the time (9 ms against
160 ms for 256 lines of 4096 steps): what this form is for is matrices that are learnt.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from tacita.errors import ConfigError
from tacita.kernels.double import doubled

LARGEST = 16


def block_sizes(length: int) -> tuple[int, ...]:
    """Factors of a power of two: as many 16s as go into it, and what is left.

    Raises `ConfigError` for another length.

    >>> block_sizes(2048)
    (16, 16, 8)
    """
    if length < 2 or length & (length - 1):
        raise ConfigError(f"a butterfly transform of {length} numbers: no power of two from 2 up.")
    sizes = []
    while length > 1:
        sizes.append(min(LARGEST, length))
        length //= sizes[-1]
    return tuple(sizes)


def dft(size: int, like: Tensor) -> Tensor:
    """`(n, n)` matrix of the Fourier transform, complex, of the precision and on the device of `like`.

    >>> dft(2, torch.zeros(1)).real
    tensor([[ 1.,  1.],
            [ 1., -1.]])
    """
    return _waves(size, size, size, like)


def butterfly(x: Tensor, blocks: Sequence[Tensor]) -> Tensor:
    """`(..., N)` complex: the transform, its frequencies in the order in which the products leave them.

    blocks: matrices of the sizes `block_sizes(N)`, the outermost first; those of `dft`, or others.

    >>> x = torch.tensor([1.0, 2.0, 3.0, 4.0])
    >>> butterfly(x, [dft(2, x), dft(2, x)]).real  # frequencies 0, 2, 1, 3
    tensor([10., -2., -2., -2.])
    """
    block = blocks[0]
    x = x.to(block.dtype)
    if len(blocks) == 1:
        return x @ block.T
    rows = len(block)
    folded = x.reshape(*x.shape[:-1], rows, x.shape[-1] // rows)
    mixed = (block @ folded) * _waves(rows, folded.shape[-1], x.shape[-1], x)
    return butterfly(mixed, blocks[1:]).flatten(-2)


def butterfly_inverse(x: Tensor, sizes: Sequence[int]) -> Tensor:
    """`(..., N)`: the inverse of `butterfly` with the matrices of `dft`, from its order of frequencies.

    >>> x = torch.arange(4.0)
    >>> butterfly_inverse(butterfly(x, [dft(2, x), dft(2, x)]), (2, 2)).real.round()
    tensor([0., 1., 2., 3.])
    """
    size = sizes[0]
    inverse = dft(size, x).conj() / size
    if len(sizes) == 1:
        return x @ inverse
    rows = x.reshape(*x.shape[:-1], size, x.shape[-1] // size)
    folded = butterfly_inverse(rows, sizes[1:])
    turned = folded * _waves(size, folded.shape[-1], x.shape[-1], x).conj()
    return (inverse @ turned).flatten(-2)


def in_order(x: Tensor, sizes: Sequence[int]) -> Tensor:
    """`(..., N)`: what `butterfly` gives, by rising frequency.

    >>> in_order(torch.tensor([0, 2, 1, 3]), (2, 2))
    tensor([0, 1, 2, 3])
    """
    kept = x.ndim - 1
    axes = (*range(kept), *reversed(range(kept, kept + len(sizes))))
    return x.reshape(*x.shape[:-1], *sizes).permute(axes).flatten(kept)


def butterfly_convolution(
    u: Tensor,
    kernel: Tensor,
    *,
    size: int | None = None,
    signal_blocks: Sequence[Tensor] | None = None,
    kernel_blocks: Sequence[Tensor] | None = None,
) -> Tensor:
    """As `fft_convolution`, for `u (B, D, L)` and `kernel (D, K)` or `(C, D, K)`, by matrix products.

    size: length of the transforms, a power of two; by default the first that nothing wraps around in.
    signal_blocks, kernel_blocks: matrices to use in place of those of the Fourier transform, for `u` and
        for `kernel`; the inverse stays exact. The real part comes back, and with other matrices it is
        no convolution any more and not causal: an output depends on all of `u`.

    The product of the two spectra needs no order, so neither is sorted. Raises `ConfigError` for a size
    that is too small or no power of two.

    >>> u, kernel = torch.tensor([[[1.0, 0.0, 2.0]]]), torch.tensor([[3.0, 1.0]])
    >>> butterfly_convolution(u, kernel).round()
    tensor([[[3., 1., 6.]]])
    """
    length = u.shape[-1]
    if size is None:  # with other matrices, taps beyond the input matter too
        kernel = kernel[..., :length]
    needed = length + kernel.shape[-1] - 1
    size = size or 2 ** max(1, math.ceil(math.log2(needed)))
    if size < needed:
        raise ConfigError(
            f"butterfly_convolution of {length} steps with {kernel.shape[-1]} taps wraps around in "
            f"{size} places.",
            remedy=f"Give a size from {needed} up, or none.",
        )
    sizes = block_sizes(size)
    wide = torch.float64 if torch.float64 in (u.dtype, kernel.dtype) else torch.float32
    if kernel.ndim == 3:
        u = u[:, None]
    signal, taps = (
        torch.nn.functional.pad(t.to(wide), (0, size - t.shape[-1])) for t in (u, kernel)
    )
    exact = [dft(n, signal) for n in sizes]
    with torch.autocast(u.device.type, enabled=False):
        product = butterfly(signal, signal_blocks or exact) * butterfly(
            taps, kernel_blocks or exact
        )
        return butterfly_inverse(product, sizes).real[..., :length].to(u.dtype)


def _waves(rows: int, columns: int, period: int, like: Tensor) -> Tensor:
    """`(rows, columns)`: `e^{-2 pi i r c / period}`, from whole numbers and in double precision."""
    r = torch.arange(rows, device=like.device)
    c = torch.arange(columns, device=like.device)
    angle = doubled(r[:, None] * c % period) * (-2 * math.pi / period)
    kind = torch.promote_types(like.dtype, torch.complex64)
    return torch.polar(torch.ones_like(angle), angle).to(like.device, kind)
