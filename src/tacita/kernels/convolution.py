"""Causal convolution with kernels as long as the sequence, by the fast Fourier transform.

What bounds it: three real transforms of twice the length forward and three backward, each some
`5/2 n log2 n` operations in the FFT library; the products between them are one pass over memory.
"""

from __future__ import annotations

from typing import Any

import torch
from scipy.fft import next_fast_len
from torch import Tensor
from torch.autograd.function import once_differentiable

from tacita.errors import ConfigError


def fft_convolution(u: Tensor, kernel: Tensor) -> Tensor:
    """`(B, D, L)`: `y[l] = sum_{j <= l} kernel[j] u[l - j]`, for each channel its own kernel.

    Shapes: `u (B, D, L)` real, `kernel (D, K)` of any length `K`; what lies beyond `L` is not used.
    With `kernel (C, D, K)`, several for a channel, `(B, C, D, L)`: `u` is transformed once.
    Computed in float32 or float64; half precision comes back in its own dtype. Raises `ConfigError`
    where the channels differ.

    >>> fft_convolution(torch.tensor([[[1.0, 0.0, 2.0]]]), torch.tensor([[3.0, 1.0]])).round()
    tensor([[[3., 1., 6.]]])
    """
    if u.ndim != 3 or kernel.ndim not in (2, 3) or u.shape[1] != kernel.shape[-2]:
        raise ConfigError(
            f"fft_convolution: u {tuple(u.shape)} and kernel {tuple(kernel.shape)} do not fit.",
            remedy="Give u (B, D, L) and kernel (D, K) or (C, D, K).",
        )
    if kernel.ndim == 3:
        u = u[:, None]
    if u.numel() == 0:
        return u + 0 * kernel.sum(-1, keepdim=True).to(u.dtype)
    wide = torch.float64 if torch.float64 in (u.dtype, kernel.dtype) else torch.float32
    kernel = kernel[..., : u.shape[-1]].to(wide)
    if torch.compiler.is_compiling():
        size = fast_length(u.shape[-1] + kernel.shape[-1] - 1)
        if isinstance(u.shape[-1], torch.SymInt):  # exported for any length: plainly long enough
            size = 2 * u.shape[-1]
        spectrum = torch.fft.rfft(u.to(wide), size) * torch.fft.rfft(kernel, size)
        return torch.fft.irfft(spectrum, size)[..., : u.shape[-1]].to(u.dtype)
    return _FFTConvolution.apply(u.to(wide), kernel).to(u.dtype)


def fast_length(least: int) -> int:
    """A length of at least so many numbers that is quick to transform.

    >>> fast_length(7), fast_length(2 * 1009 - 1)
    (8, 2025)
    """
    if torch.compiler.is_compiling():
        # Arithmetic that a compiler follows; rarely a multiple of a large prime.
        return (least + 63) // 64 * 64
    return int(next_fast_len(least, real=True))


class _FFTConvolution(torch.autograd.Function):
    """The gradients are two correlations, so three real transforms; autograd's own are complex."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, kernel: Tensor) -> Tensor:
        length = u.shape[-1]
        size = fast_length(length + kernel.shape[-1] - 1)
        with torch.autocast(u.device.type, enabled=False):
            spectrum, response = torch.fft.rfft(u, size), torch.fft.rfft(kernel, size)
            y = torch.fft.irfft(spectrum * response, size)[..., :length]
        ctx.size, ctx.kernel_length = size, kernel.shape[-1]
        # Only what a gradient will need: the spectrum of the one for the gradient of the other.
        ctx.save_for_backward(
            spectrum if ctx.needs_input_grad[1] else None,
            response if ctx.needs_input_grad[0] else None,
        )
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        spectrum, response = ctx.saved_tensors
        grad_u = grad_kernel = None
        with torch.autocast(grad.device.type, enabled=False):
            slope = torch.fft.rfft(grad, ctx.size)
            if response is not None:
                both = slope * response.conj()
                if response.ndim == 3:
                    both = both.sum(1, keepdim=True)
                grad_u = torch.fft.irfft(both, ctx.size)[..., : grad.shape[-1]]
            if spectrum is not None:
                both = (slope * spectrum.conj()).sum(0)
                grad_kernel = torch.fft.irfft(both, ctx.size)[..., : ctx.kernel_length]
        return grad_u, grad_kernel
