"""Convolution with kernels of finite length, and the memory of the last inputs that steps need for it.

There is no compact state: a step reads the whole kernel and the last `K - 1` inputs, O(K) a channel.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tacita.kernels import fft_convolution


def remember(
    memory: Tensor, x: Tensor, lengths: Tensor | None, resets: Tensor | None = None
) -> Tensor:
    """The last `S` steps of `memory (B, S, ...)` followed by the valid steps of `x (B, L, ...)`.

    What stands before the last valid one of `resets (B, L)` comes back as zero.

    >>> remember(torch.tensor([[1, 2]]), torch.tensor([[3, 0]]), torch.tensor([1]))
    tensor([[2, 3]])
    """
    size, length = memory.shape[1], x.shape[1]
    whole = torch.cat([memory, x], 1)
    if lengths is None and resets is None:
        return whole[:, length:]
    steps = torch.arange(length, device=x.device)
    ends = steps.new_full((x.shape[0],), length) if lengths is None else lengths
    index = ends[:, None] + torch.arange(size, device=x.device)  # step t of x is at S + t
    wide = (..., *[None] * (x.ndim - 2))
    kept = whole.gather(1, index[wide].expand_as(memory))
    if resets is None:
        return kept
    last = torch.where(resets & (steps < ends[:, None]), steps, -size - 1).amax(1, keepdim=True)
    return torch.where((index - size >= last)[wide], kept, 0)


def convolve(u: Tensor, kernel: Tensor, memory: Tensor | None = None) -> Tensor:
    """`(B, L, ..., D)`: `y[l] = sum_j kernel[j] u[l - j]`, where `memory` is what came before `u`.

    Shapes: `u (B, L, D)`, `kernel (D, K)` or, for several outputs of a channel, `(C, D, K)`, which
    gives `(B, L, C, D)`; `memory (B, S, D)`, None for silence.

    >>> convolve(torch.tensor([[[1.0], [0.0]]]), torch.tensor([[3.0, 1.0]])).flatten().round()
    tensor([3., 1.])
    """
    if memory is not None and u.shape[1] == 1:
        return convolve_step(u[:, 0], kernel, memory.to(u.dtype))[:, None]
    whole = u if memory is None else torch.cat([memory.to(u.dtype), u], 1)
    y = fft_convolution(whole.mT, kernel)[..., whole.shape[1] - u.shape[1] :]
    return y.movedim(-1, 1)


def convolve_step(u: Tensor, kernel: Tensor, memory: Tensor) -> Tensor:
    """`(B, D)` or `(B, C, D)`: the next column of `convolve` for one `u (B, D)`.

    >>> convolve_step(torch.tensor([[1.0]]), torch.tensor([[3.0, 1.0]]), torch.tensor([[[2.0]]]))
    tensor([[5.]])
    """
    taps = kernel.shape[-1]
    window = torch.cat([memory, u[:, None]], 1)[:, -taps:].flip(1)
    return torch.einsum("bjd,...dj->b...d", window, kernel[..., : window.shape[1]])
