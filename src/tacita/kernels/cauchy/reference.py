"""The Cauchy product in plain torch: the definition, which makes an `(H, N, K)` tensor on the way."""

from __future__ import annotations

import torch
from torch import Tensor


def cauchy_reference(
    alpha: Tensor, beta: Tensor, decay: Tensor, frequency: Tensor, nodes: Tensor
) -> Tensor:
    """`(H, M, K, 2)`: real and imaginary part of `sum_n (alpha + i y beta) / (d - 2 i y decay)`.

    There, `d = decay^2 + frequency^2 - y^2`: the two poles of a conjugate pair on one denominator.

    >>> one = torch.ones(1, 1, 1)
    >>> cauchy_reference(0 * one, one, -one[0], 0 * one[0], torch.tensor([1.0])).flatten()
    tensor([0.5000, 0.0000])
    """
    real, imaginary = reciprocals(decay, frequency, nodes)  # (H, N, K)
    return torch.stack(
        [
            alpha @ real - nodes * (beta @ imaginary),
            alpha @ imaginary + nodes * (beta @ real),
        ],
        -1,
    )


def reciprocals(decay: Tensor, frequency: Tensor, nodes: Tensor) -> tuple[Tensor, Tensor]:
    """`(H, N, K)` real and imaginary parts of one over the denominators."""
    a, w = decay[..., None], frequency[..., None]
    real = a * a + (w - nodes) * (w + nodes)  # where y is near w, the difference is taken first
    imaginary = -2 * a * nodes
    scale = real * real + imaginary * imaginary
    return real / scale, -imaginary / scale
