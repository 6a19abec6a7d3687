"""The Cauchy product: what a rational function with given poles is at points of the imaginary axis.

The kernel of a state-space system that is diagonal but for a low rank is made of a few of them, since
the bilinear rule takes the unit circle, where a discrete Fourier transform looks, to that axis. Gu et
al., "Efficiently Modeling Long Sequences with Structured State Spaces", 2022, appendix C.3.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from tacita.errors import ConfigError
from tacita.kernels.backends import choose
from tacita.kernels.cauchy.reference import cauchy_reference


def cauchy_product(
    weights: Tensor, poles: Tensor, nodes: Tensor, *, backend: str = "auto"
) -> Tensor:
    """`(H, M, K)`: `sum_n v_n / (i y - p_n)` and the same with the conjugates of `v_n` and `p_n`.

    Shapes: `weights (H, M, N)` complex, `M` sums over the same poles; `poles (H, N)` complex, one of each
    conjugate pair; `nodes (K,)` real, the points `i y`. Gradients flow to weights and poles, once. No
    `(H, N, K)` tensor is made, forward or backward. Raises `ConfigError` for shapes or dtypes that do
    not fit.

    >>> pole = torch.tensor([[complex(-1.0, 0.0)]])
    >>> cauchy_product(torch.ones(1, 1, 1) + 0j, pole, torch.tensor([0.0, 1.0])).flatten()
    tensor([2.+0.j, 1.-1.j])
    """
    _check(weights, poles, nodes)
    chosen = choose(backend, weights, poles, nodes)
    with torch.autocast(weights.device.type, enabled=False):
        # With both poles of a pair on one denominator all that is left is real arithmetic.
        a, w = poles.real[:, None], poles.imag[:, None]
        alpha, beta = -2 * (weights.real * a + weights.imag * w), 2 * weights.real
        given = (alpha, beta, poles.real, poles.imag, nodes.to(alpha.dtype))
        if chosen == "torch" or alpha.numel() == 0 or nodes.numel() == 0:
            return torch.view_as_complex(cauchy_reference(*given))
        found: Tensor = _Cauchy.apply(chosen, *(tensor.contiguous() for tensor in given))
        return torch.view_as_complex(found)


class _Cauchy(torch.autograd.Function):
    """With `1/den = s + i t`: weights meet `s` and `t` in sums over nodes, poles their square."""

    @staticmethod
    def forward(ctx: Any, chosen: str, *given: Tensor) -> Tensor:
        ctx.chosen = chosen
        ctx.save_for_backward(*given)
        y: Tensor = _implementation(chosen).forward(*given)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        backward = _implementation(ctx.chosen).backward
        return None, *backward(grad.contiguous(), *ctx.saved_tensors), None


def _implementation(chosen: str) -> Any:
    """The module with `forward` and `backward`; numba and triton are imported when first asked for."""
    return import_module("tacita.kernels.cauchy." + ("cpu" if chosen == "numba" else "gpu"))


def _check(weights: Tensor, poles: Tensor, nodes: Tensor) -> None:
    fits = (
        weights.ndim == 3
        and poles.shape == (weights.shape[0], weights.shape[2])
        and nodes.ndim == 1
    )
    if not fits:
        raise ConfigError(
            f"cauchy_product: weights {tuple(weights.shape)}, poles {tuple(poles.shape)} and nodes "
            f"{tuple(nodes.shape)} do not fit.",
            remedy="Give weights (H, M, N), poles (H, N) and nodes (K,).",
        )
    if (
        weights.dtype not in (torch.complex64, torch.complex128)
        or poles.dtype != weights.dtype
        or nodes.dtype not in (torch.float32, torch.float64)
    ):
        raise ConfigError(
            f"cauchy_product: weights are {weights.dtype}, poles {poles.dtype} and nodes {nodes.dtype}.",
            remedy="Give complex weights and poles of one dtype, and real nodes.",
        )
