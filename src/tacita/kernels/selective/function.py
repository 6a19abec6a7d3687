"""The selective scan of Mamba: a recurrence whose step size and maps depend on the input.

    step  = softplus(delta + delta_bias), or delta + delta_bias
    x_t   = exp(step_t A) x_{t-1} + step_t u_t B_t      a state of N numbers a channel, x_{-1} = state
    y_t   = (<x_t, C_t> + D u_t) silu(z_t)

Gu and Dao, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces", COLM 2024. Here the
arguments are checked and an implementation is chosen: `reference.py` (torch, the definition),
`cpu.py` (numba) or `gpu.py` (triton). The last two are pairs of functions that know nothing of
autograd:

    forward(u, delta, A, B, C, D, z, delta_bias, state, resets, *, delta_softplus, keep)
        -> (y, last_state, kept)
    backward(grad_y, grad_last_state,
             u, delta, A, B, C, D, z, delta_bias, state, resets, kept, *, delta_softplus)
        -> (du, ddelta, dA, dB, dC, dD, dz, ddelta_bias, dstate)

What they may rely on: tensors in one dtype, float32 or float64, and on one device, with the shapes
of `selective_scan` and no dimension of size 0, but of any strides. `D`, `z`, `delta_bias`, `state`,
`resets` (bool) and `grad_last_state` may be None. `y (B, L, D)` and `last_state (B, D, N)` have the
dtype of the arguments. `kept` is None unless `keep`; else one tensor, whatever `backward` needs
besides the arguments: states at the borders of chunks, never (B, L, D, N) numbers. Gradients have
the shapes of their arguments, and None stands for that of an absent one.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import Any, Literal, overload

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from tacita.errors import ConfigError
from tacita.kernels.backends import choose
from tacita.kernels.selective.reference import selective_scan_reference


@overload
def selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = ...,
    z: Tensor | None = ...,
    delta_bias: Tensor | None = ...,
    delta_softplus: bool = ...,
    state: Tensor | None = ...,
    return_state: Literal[False] = ...,
    backend: str = ...,
    resets: Tensor | None = ...,
) -> Tensor: ...


@overload
def selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = ...,
    z: Tensor | None = ...,
    delta_bias: Tensor | None = ...,
    delta_softplus: bool = ...,
    state: Tensor | None = ...,
    *,
    return_state: Literal[True],
    backend: str = ...,
    resets: Tensor | None = ...,
) -> tuple[Tensor, Tensor]: ...


def selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
    state: Tensor | None = None,
    return_state: bool = False,
    backend: str = "auto",
    resets: Tensor | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    """`y (B, L, D)` of the recurrence above, and with `return_state` also the last state `(B, D, N)`.

    u, delta, z: `(B, L, D)`; A: `(D, N)`, in use negative; B, C: `(B, L, N)`; D, delta_bias: `(D,)`.
    state: `(B, D, N)`, the state before the first step; zeros by default.
    resets: `(B, L)` bool; where True the state is forgotten before that step.
    backend: "auto", "torch", "numba" or "triton"; the numbers do not depend on it.

    A step size of 0 leaves the state as it is, which is how padding is passed over. All arguments
    have gradients, which also flow from the last state; second derivatives only with "torch". Half
    precision is computed in float32: `y` has the dtype of `u`, the state that of the computation.
    Raises `ConfigError` for shapes that do not fit, naming the argument, and for an empty sequence.

    >>> one = torch.ones(1, 4, 1)
    >>> selective_scan(one, one / 2, -one[0, :1], one, one, backend="torch").flatten()
    tensor([0.5000, 0.8033, 0.9872, 1.0988])
    """
    tensors = (u, delta, A, B, C, D, z, delta_bias, state)
    _check(*tensors, resets)
    name = choose(backend, *tensors, resets)
    dtype = torch.float32
    if any(tensor is not None and tensor.dtype == torch.float64 for tensor in tensors):
        dtype = torch.float64
    if name == "torch" or u.numel() == 0 or A.numel() == 0:
        inputs = [*_cast(tensors, dtype), resets]
        with torch.autocast(u.device.type, enabled=False):
            y, last = selective_scan_reference(*inputs, delta_softplus=delta_softplus)
        y = y.to(u.dtype)
    elif torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors):
        y, last = _SelectiveScan.apply(_module(name), dtype, delta_softplus, resets, *tensors)
    else:
        y, last, _ = _module(name).forward(
            *_cast(tensors, dtype), resets, delta_softplus=delta_softplus, keep=False
        )
        y = y.to(u.dtype)
    return (y, last) if return_state else y


class _SelectiveScan(torch.autograd.Function):
    """Keeps the arguments as they came and the states at chunk borders; the rest is recomputed."""

    @staticmethod
    def forward(
        ctx: Any,
        module: ModuleType,
        dtype: torch.dtype,
        delta_softplus: bool,
        resets: Tensor | None,
        *tensors: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        y, last, kept = module.forward(
            *_cast(tensors, dtype), resets, delta_softplus=delta_softplus, keep=True
        )
        ctx.save_for_backward(*tensors, resets, kept)
        ctx.module, ctx.dtype, ctx.delta_softplus = module, dtype, delta_softplus
        ctx.set_materialize_grads(False)
        u = tensors[0]
        assert u is not None
        return y.to(u.dtype), last

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, grad_y: Tensor | None, grad_last_state: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        *tensors, resets, kept = ctx.saved_tensors
        if grad_y is None:  # only the last state went on
            grad_y = torch.zeros_like(tensors[0])
        grad_y, grad_last_state = _cast((grad_y, grad_last_state), ctx.dtype)
        inputs = _cast(tensors, ctx.dtype)
        grads = ctx.module.backward(
            grad_y, grad_last_state, *inputs, resets, kept, delta_softplus=ctx.delta_softplus
        )
        return (None, None, None, None, *grads)


def _module(name: Literal["numba", "triton"]) -> ModuleType:
    """The implementation, imported only now: numba and triton take seconds to import."""
    return import_module(f"tacita.kernels.selective.{'cpu' if name == 'numba' else 'gpu'}")


def _cast(tensors: Any, dtype: torch.dtype) -> list[Any]:
    return [None if tensor is None else tensor.to(dtype) for tensor in tensors]


def _check(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    delta_bias: Tensor | None,
    state: Tensor | None,
    resets: Tensor | None,
) -> None:
    """Raise `ConfigError` for the first argument that does not fit `u` and `A`, which set the sizes."""
    if u.dim() != 3:
        raise ConfigError(f"u has shape {tuple(u.shape)}.", remedy="It is (B, L, D).")
    batch, length, width = u.shape
    if length == 0:
        raise ConfigError(
            f"u has shape {tuple(u.shape)}: a sequence of length 0.",
            remedy="Sequences have at least one step.",
        )
    if A.dim() != 2:
        raise ConfigError(f"A has shape {tuple(A.shape)}.", remedy="It is (D, N).")
    d_state = A.shape[1]
    expected: dict[str, tuple[Tensor | None, tuple[int, ...], str]] = {
        "delta": (delta, (batch, length, width), "(B, L, D)"),
        "A": (A, (width, d_state), "(D, N)"),
        "B": (B, (batch, length, d_state), "(B, L, N)"),
        "C": (C, (batch, length, d_state), "(B, L, N)"),
        "D": (D, (width,), "(D,)"),
        "z": (z, (batch, length, width), "(B, L, D)"),
        "delta_bias": (delta_bias, (width,), "(D,)"),
        "state": (state, (batch, width, d_state), "(B, D, N)"),
        "resets": (resets, (batch, length), "(B, L)"),
    }
    for name, (tensor, shape, axes) in expected.items():
        if tensor is not None and tuple(tensor.shape) != shape:
            raise ConfigError(
                f"{name} has shape {tuple(tensor.shape)}, which does not fit "
                f"u {tuple(u.shape)} and A {tuple(A.shape)}.",
                remedy=f"It is {axes} = {shape}.",
            )
    if resets is not None and resets.dtype != torch.bool:
        raise ConfigError(
            f"resets has dtype {resets.dtype}.",
            remedy="Use a bool tensor, True where x starts anew.",
        )
    for name, tensor in {"u": u, **{name: each[0] for name, each in expected.items()}}.items():
        if name != "resets" and tensor is not None and not tensor.is_floating_point():
            raise ConfigError(
                f"{name} has dtype {tensor.dtype}.", remedy="The scan is for real floating point."
            )
