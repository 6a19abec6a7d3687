"""Leaky integrate-and-fire neurons, forward over all steps and backward by a surrogate gradient.

With `u` the potential that a step leaves behind and `H` the step function at the threshold:

    v_t = decay u_{t-1} + i_t,   s_t = H(v_t - threshold),   u_t = v_t (1 - s_t)

A spike has no gradient, so that of an arctan stands in for it (Fang et al., "Incorporating Learnable
Membrane Time Constant", 2021), and none goes through the spike that resets `u` (Zenke and Vogels, 2021).
With `g` and `h` what arrives at `s` and `v`, the way back is a recurrence from the end:

    dv_t = h_t + g_t (alpha / 2) / (1 + (pi / 2 alpha (v_t - threshold))^2) + (1 - s_t) du_t
    di_t = dv_t,   du_{t-1} = decay dv_t

so only `v` is kept. A reset makes the way ahead depend on values: no scan in log depth can take it.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from tacita.errors import ConfigError
from tacita.kernels.backends import choose
from tacita.kernels.spiking.reference import lif_reference

HALVES = (torch.float16, torch.bfloat16)
DTYPES = (*HALVES, torch.float32, torch.float64)


def lif(
    current: Tensor,
    *,
    decay: float,
    threshold: float = 1.0,
    alpha: float = 5.0,
    lengths: Tensor | None = None,
    state: Tensor | None = None,
    backend: str = "auto",
) -> tuple[Tensor, Tensor]:
    """Spikes of 0 and 1 and potentials before the reset, each `(B, L, D)` of `current`'s dtype.

    decay: what a step leaves of the potential, `1 - 1 / tau` for a time constant of `tau` steps.
    threshold: the potential from which on a neuron fires; its potential is 0 afterwards.
    alpha: how steep the surrogate is; 5 in Hammouamri et al., 2024.

    Shapes: `current (B, L, D)` real; `lengths (B,)` whole numbers: what stands beyond them is not read,
    and spikes and potentials are 0 there; `state (B, D)`, the potential left behind by what came before,
    default 0. What a sequence leaves behind is `potential[:, -1] * (1 - spikes[:, -1])`.

    Half precision is computed in float32. Gradients flow to `current` and `state`, once. Raises
    `ConfigError` for shapes, dtypes or numbers that do not fit.

    >>> spikes, potential = lif(torch.full((1, 4, 1), 0.75), decay=0.5)
    >>> spikes.flatten().tolist(), potential.flatten().tolist()
    ([0.0, 1.0, 0.0, 1.0], [0.75, 1.125, 0.75, 1.125])
    """
    _check(current, decay, threshold, alpha, lengths, state)
    chosen = choose(backend, current, lengths, state)
    dtype = current.dtype
    wide = torch.float32 if dtype in HALVES else dtype
    current = current.to(wide)
    state = None if state is None else state.to(wide)
    if chosen == "torch" or current.numel() == 0:
        spikes, potential = lif_reference(current, decay, threshold, alpha, lengths, state)
    else:
        spikes, potential = _LIF.apply(current, state, lengths, decay, threshold, alpha, chosen)
    return spikes.to(dtype), potential.to(dtype)


class _LIF(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        current: Tensor,
        state: Tensor | None,
        lengths: Tensor | None,
        decay: float,
        threshold: float,
        alpha: float,
        chosen: str,
    ) -> tuple[Tensor, Tensor]:
        spikes, potential = _implementation(chosen).forward(
            current, state, lengths, decay, threshold
        )
        ctx.set_materialize_grads(False)
        ctx.options, ctx.chosen, ctx.begun = (decay, threshold, alpha), chosen, state is not None
        ctx.save_for_backward(potential, lengths)
        return spikes, potential

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, grad_spikes: Tensor | None, grad_potential: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        none = None, None, None, None, None
        if grad_spikes is None and grad_potential is None:
            return None, None, *none
        potential, lengths = ctx.saved_tensors
        backward = _implementation(ctx.chosen).backward
        grad_current, grad_state = backward(
            grad_spikes, grad_potential, potential, lengths, *ctx.options
        )
        return grad_current, grad_state if ctx.begun else None, *none


def _implementation(chosen: str) -> Any:
    """The module with `forward` and `backward`; numba and triton are imported when first asked for."""
    return import_module("tacita.kernels.spiking." + ("cpu" if chosen == "numba" else "gpu"))


def _check(
    current: Tensor,
    decay: float,
    threshold: float,
    alpha: float,
    lengths: Tensor | None,
    state: Tensor | None,
) -> None:
    if current.ndim != 3 or current.shape[1] == 0:
        raise ConfigError(
            f"lif: current is {tuple(current.shape)}.", remedy="Give (B, L, D) with L from 1 up."
        )
    batch, _, channels = current.shape
    for name, tensor in (("current", current), ("state", state)):
        if tensor is not None and tensor.dtype not in DTYPES:
            raise ConfigError(
                f"lif: {name} is of {tensor.dtype}.", remedy="Give real floating point numbers."
            )
    if not (0 <= decay < 1 and threshold > 0 and alpha > 0):
        raise ConfigError(
            f"lif: decay={decay} must be from 0 to below 1, threshold={threshold} and alpha={alpha} "
            "positive.",
            remedy="For a time constant of tau steps the decay is 1 - 1 / tau.",
        )
    if state is not None and state.shape != (batch, channels):
        raise ConfigError(
            f"lif: state is {tuple(state.shape)} and current {tuple(current.shape)}.",
            remedy=f"Give state (B, D), here ({batch}, {channels}).",
        )
    if lengths is not None and (lengths.shape != (batch,) or lengths.dtype != torch.int64):
        raise ConfigError(
            f"lif: lengths is {tuple(lengths.shape)} of {lengths.dtype}.",
            remedy=f"Give int64 ({batch},), one a sample.",
        )
