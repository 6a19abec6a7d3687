"""Dense state-space systems in discrete time: the plain matrices that every faster form must agree with.

`x' = A x + B u` becomes `x_t = A_bar x_{t-1} + B_bar u_t`, and its impulse response is read off
`B_bar, A_bar B_bar, A_bar^2 B_bar, ...` Gu et al., "Combining Recurrent, Convolutional, and
Continuous-time Models with Linear State-Space Layers", 2021, section 2.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tacita.kernels.lengths import enough


def generalised_bilinear(
    A: Tensor, B: Tensor, step: Tensor, alpha: float = 0.5
) -> tuple[Tensor, Tensor]:
    """`A_bar (..., N, N)` and `B_bar (..., N)` for step sizes `step (...)`.

    alpha: 0 is Euler's rule, 1 the backward one, and one half the trapezoid or bilinear rule.

    >>> A, B = torch.tensor([[-1.0]]), torch.tensor([1.0])
    >>> generalised_bilinear(A, B, torch.tensor(1.0), 1.0)
    (tensor([[0.5000]]), tensor([0.5000]))
    """
    step = step[..., None, None]
    eye = torch.eye(A.shape[-1], dtype=A.dtype, device=A.device)
    right = torch.cat([eye + (1 - alpha) * step * A, step * B[..., None]], -1)
    both = torch.linalg.solve(eye - alpha * step * A, right)
    return both[..., :-1], both[..., -1]


def krylov(A_bar: Tensor, b: Tensor, length: int) -> Tensor:
    """`(..., N, L)`: the columns `b, A_bar b, ..., A_bar^{L-1} b`, by doubling.

    What bounds it: `log2 L` squarings of the matrix, and `2 N^2 L` multiply-adds in matrix products.

    >>> krylov(torch.tensor([[0.5]]), torch.tensor([1.0]), 3)
    tensor([[1.0000, 0.5000, 0.2500]])
    """
    columns, power, longest = b[..., None], A_bar, enough(length)
    while columns.shape[-1] < longest:
        columns = torch.cat([columns, power @ columns[..., : longest - columns.shape[-1]]], -1)
        if columns.shape[-1] < longest:
            power = power @ power
    return columns[..., :length]


def advance_by(A_bar: Tensor, x: Tensor, steps: Tensor, most: int) -> Tensor:
    """`A_bar^l x` for states `x (B, H, N)` and `A_bar (H, N, N)`, with each sample's own `l <= most`.

    By squaring: `log2` of the most steps matrix products.

    >>> half = torch.tensor([[[0.5]]])
    >>> advance_by(half, torch.ones(2, 1, 1), torch.tensor([0, 3]), 3).flatten()
    tensor([1.0000, 0.1250])
    """
    for bit in range(enough(most).bit_length()):
        moved = (A_bar @ x[..., None]).squeeze(-1)
        x = torch.where((steps >> bit & 1).bool()[:, None, None], moved, x)
        A_bar = A_bar @ A_bar
    return x
