"""The short causal convolution of each channel with its own taps, as before a selective scan.

    y_t = bias + sum_k w_{W-1-k} x_{t-k},   k from 0 to W - 1, none across a reset

Torch's grouped convolution wants channels before time and is slow on a CPU where each channel is a
group: here time comes first, as elsewhere in the house, and nothing is transposed.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from tacita.errors import ConfigError
from tacita.kernels.backends import choose
from tacita.kernels.causal_conv.reference import causal_conv_reference


def causal_conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    state: Tensor | None = None,
    resets: Tensor | None = None,
    backend: str = "auto",
) -> Tensor:
    """`y (B, L, D)` of `x (B, L, D)` and `weight (D, W)`, whose last tap is for the present step.

    bias: `(D,)`.
    state: `(B, W - 1, D)`, the inputs before the first step, the latest last; zeros by default.
    resets: `(B, L)` bool; what comes before a step that is True counts as zero from there on.
    backend: "auto" (numba on a CPU, else torch), "torch" or "numba"; the numbers do not depend on it.

    Half precision is computed in float32, and `y` has the dtype of `x`. Gradients flow to `x`,
    `weight`, `bias` and `state`, once unless with "torch". Raises `ConfigError` for shapes that do not
    fit and an empty sequence.

    >>> x, weight = torch.ones(1, 4, 1), torch.tensor([[0.25, 0.5, 1.0]])
    >>> causal_conv(x, weight).flatten()
    tensor([1.0000, 1.5000, 1.7500, 1.7500])
    """
    _check(x, weight, bias, state, resets)
    name = choose(backend, x, weight, bias, state, resets)
    if name == "triton":  # on a GPU torch is bound by memory as any other form would be
        name = "torch"
    past = weight.shape[1] - 1
    if state is not None and past:
        x = torch.cat([state.to(x.dtype), x], 1)
        if resets is not None:
            resets = torch.cat([resets.new_zeros(len(resets), past), resets], 1)
    reach = None if resets is None else _reach(resets, past)
    wide = torch.float64 if torch.float64 in (x.dtype, weight.dtype) else torch.float32
    inputs = (x.to(wide), weight.to(wide), None if bias is None else bias.to(wide), reach)
    with torch.autocast(x.device.type, enabled=False):
        if name == "torch" or x.numel() == 0:
            y = causal_conv_reference(*inputs)
        else:
            y = _CausalConv.apply(*inputs)
    return (y if state is None else y[:, past:]).to(x.dtype)


class _CausalConv(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, reach: Tensor | None
    ) -> Tensor:
        from tacita.kernels.causal_conv import cpu

        ctx.save_for_backward(x, weight, reach)
        ctx.biased = bias is not None
        return cpu.forward(x, weight, bias, reach)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        from tacita.kernels.causal_conv import cpu

        x, weight, reach = ctx.saved_tensors
        dx, dweight, dbias = cpu.backward(grad, x, weight, reach)
        return dx, dweight, dbias if ctx.biased else None, None


def _reach(resets: Tensor, most: int) -> Tensor:
    """`(B, L)`: how many steps back each step sees: to the start or reset, and `most` of them."""
    steps = torch.arange(resets.shape[1], device=resets.device)
    last = torch.where(resets, steps, 0).cummax(1).values
    return (steps - last).clamp_max(most)


def _check(
    x: Tensor, weight: Tensor, bias: Tensor | None, state: Tensor | None, resets: Tensor | None
) -> None:
    if x.ndim != 3 or x.shape[1] < 1:
        raise ConfigError(f"x has shape {tuple(x.shape)}.", remedy="It is (B, L, D), L at least 1.")
    batch, length, width = x.shape
    if weight.ndim != 2 or len(weight) != width or weight.shape[1] < 1:
        raise ConfigError(
            f"weight has shape {tuple(weight.shape)}.",
            remedy=f"It is ({width}, W): the taps of each channel.",
        )
    expected = {
        "bias": (bias, (width,)),
        "state": (state, (batch, weight.shape[1] - 1, width)),
        "resets": (resets, (batch, length)),
    }
    for name, (tensor, shape) in expected.items():
        if tensor is not None and tuple(tensor.shape) != shape:
            raise ConfigError(
                f"{name} has shape {tuple(tensor.shape)} where {shape} belongs.",
                remedy=f"x is {tuple(x.shape)} and weight {tuple(weight.shape)}.",
            )
    if resets is not None and resets.dtype != torch.bool:
        raise ConfigError(f"resets has dtype {resets.dtype}.", remedy="It is bool.")
    for name, each in {"x": x, "weight": weight, "bias": bias, "state": state}.items():
        if each is not None and not each.is_floating_point():
            raise ConfigError(f"{name} has dtype {each.dtype}.", remedy="It is floating point.")
