"""The linear recurrence scan, `x_t = a_t x_{t-1} + b_t`, with its gradients by a scan backwards.

With `g_t` the gradient that arrives at `x_t`, that of `b` is itself a scan, from the end:

    G_t = g_t + conj(a_{t+1}) G_{t+1},   db_t = G_t,   da_t = G_t conj(x_{t-1}),   dx_0 = conj(a_1) G_1

so only `a` and the states are kept. Martin and Cundy, "Parallelizing linear recurrent neural nets
over sequence length", 2018; resets after Lu et al., "Structured state space models for in-context
reinforcement learning", 2023, whose operator gives the same states as a factor of zero.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from tacita.errors import ConfigError
from tacita.kernels.backends import choose
from tacita.kernels.linear.reference import linear_scan_reference

WIDE = {torch.float16: torch.float32, torch.bfloat16: torch.float32}
"""The dtype that a half-precision scan is computed in."""

DTYPES = (*WIDE, torch.float32, torch.float64, torch.complex64, torch.complex128)


def linear_scan(
    a: Tensor,
    b: Tensor,
    state: Tensor | None = None,
    *,
    resets: Tensor | None = None,
    reverse: bool = False,
    backend: str = "auto",
) -> Tensor:
    """All states `x (B, L, D)` of `x_t = a_t x_{t-1} + b_t`; the last one is `x[:, -1]`.

    Shapes: `b (B, L, D)`, real or complex; `a` anything that broadcasts to it, `(D,)` where it is the
    same at every step; `state (B, D)` before the first step, zero by default; `resets (B, L)` of
    booleans, true where the state is erased before that step takes its input.

    With `reverse` the scan runs from the end: `x_t = a_t x_{t+1} + b_t`, `state` comes after the last
    step, a reset erases what arrives at its step from the later ones, and the last state is `x[:, 0]`.

    The result has the dtype of `a` and `b` together. Half precision is computed in float32. Gradients
    flow to `a`, `b` and `state`, once. Raises `ConfigError` for shapes or dtypes that do not fit.

    >>> a, b = torch.tensor([0.5]), torch.ones(1, 4, 1)
    >>> resets = torch.tensor([[False, False, True, False]])
    >>> linear_scan(a, b, torch.tensor([[4.0]]), resets=resets).flatten()
    tensor([3.0000, 2.5000, 1.0000, 1.5000])
    """
    _check(a, b, state, resets)
    chosen = choose(backend, a, b, state, resets)
    dtype = torch.promote_types(a.dtype, b.dtype)
    wide = WIDE.get(dtype, dtype)
    a = a.to(wide)[(None,) * (3 - a.ndim)]
    a, b = a.expand(-1, -1, b.shape[2]), b.to(wide)
    state = None if state is None else state.to(wide)
    if chosen == "torch" or b.numel() == 0:
        return linear_scan_reference(a, b, state, resets, reverse).to(dtype)
    return _LinearScan.apply(a, b, state, resets, reverse, chosen).to(dtype)


class _LinearScan(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        a: Tensor,
        b: Tensor,
        state: Tensor | None,
        resets: Tensor | None,
        reverse: bool,
        chosen: str,
    ) -> Tensor:
        x: Tensor = _implementation(chosen).forward(a, b, state, resets, reverse)
        ctx.reverse, ctx.chosen = reverse, chosen
        ctx.save_for_backward(a, x if ctx.needs_input_grad[0] else None, state, resets)
        return x

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        a, x, state, resets = ctx.saved_tensors
        backward = _implementation(ctx.chosen).backward
        grad_a, grad_b, grad_state = backward(grad, a, x, state, resets, ctx.reverse)
        return grad_a, grad_b, grad_state, None, None, None


def _implementation(chosen: str) -> Any:
    """The module with `forward` and `backward`; numba and triton are imported when first asked for.

    `forward(a, b, state, resets, reverse)` gives the states. `backward(grad, a, x, ...)` gives the
    gradients of `a`, of its own shape `(B or 1, L or 1, D)` and `None` where no `x` is given, of `b`
    and of the state.
    """
    return import_module("tacita.kernels.linear." + ("cpu" if chosen == "numba" else "gpu"))


def _check(a: Tensor, b: Tensor, state: Tensor | None, resets: Tensor | None) -> None:
    if b.ndim != 3:
        raise ConfigError(f"linear_scan: b is {tuple(b.shape)}.", remedy="Give b (B, L, D).")
    batch, length, channels = b.shape
    if length == 0:
        raise ConfigError("linear_scan: b has no steps (L = 0).", remedy="Give at least one.")
    fits = a.ndim <= 3 and all(
        size in (1, full) for size, full in zip(a.shape[::-1], b.shape[::-1], strict=False)
    )
    if not fits:
        raise ConfigError(
            f"linear_scan: a is {tuple(a.shape)}, which does not broadcast to b {tuple(b.shape)}.",
            remedy="Give a (D,), (L, D) or (B, L, D).",
        )
    if state is not None and state.shape != (batch, channels):
        raise ConfigError(
            f"linear_scan: state is {tuple(state.shape)} and b {tuple(b.shape)}.",
            remedy=f"Give state (B, D), here ({batch}, {channels}).",
        )
    if resets is not None and (resets.shape != (batch, length) or resets.dtype != torch.bool):
        raise ConfigError(
            f"linear_scan: resets is {tuple(resets.shape)} of {resets.dtype}.",
            remedy=f"Give booleans (B, L), here ({batch}, {length}).",
        )
    for name, tensor in (("a", a), ("b", b), ("state", state)):
        if tensor is not None and tensor.dtype not in DTYPES:
            raise ConfigError(
                f"linear_scan: {name} is of {tensor.dtype}.",
                remedy="Give real or complex floating point numbers.",
            )
    if state is not None and state.is_complex() and not (a.is_complex() or b.is_complex()):
        raise ConfigError(
            "linear_scan: state is complex and neither a nor b is.",
            remedy="Give state.real, or complex a and b.",
        )
