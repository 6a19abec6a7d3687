"""The selective scan over a grid of variates and time steps: two kinds of states, each an input of the other.

With `h1` flowing along time, `h2` along variates, and of each axis a step size, `B` and `C` that are of
the cell `(v, t)`:

    h1_{v,t} = a1 h1_{v,t-1} + rho1 (1 - a1) h2_{v,t-1} + step1 u B1        a1 = exp(step1 A1)
    h2_{v,t} = a2 h2_{v-1,t} + rho2 (1 - a2) h1_{v-1,t} + step2 u B2        a2 = exp(step2 A2)
    y_{v,t}  = <h1_{v,t}, C1_{v,t}> + <h2_{v,t}, C2_{v,t}>                  N states a channel each

Behrouz, Santacatterina and Zabih, "Chimera: Effectively Modeling Multivariate Time Series with
2-Dimensional State Space Models", NeurIPS 2024, with diagonal matrices (their A_1 and A_4 are A1 and A2
here). What a field takes of the other is their A_2 and A_3 discretised with the other held over the step,
`(a1 - 1) / A_1 A_2` for `A_2 = -rho1 A_1`; so from `|rho| <= 1` on no state grows without input, while
`exp(step A_2)`, as it is written there, is about 1 and adds to an `a1` of about 1.

The way back, with `G` the gradient of a state, `g` that of `y`, and `a1'` of the step after, `a2'` of the
variate after:

    G1_{v,t} = g C1 + a1' G1_{v,t+1} + rho2 (1 - a2') G2_{v+1,t}
    G2_{v,t} = g C2 + a2' G2_{v+1,t} + rho1 (1 - a1') G1_{v,t+1}
    da1 = G1 (h1_{v,t-1} - rho1 h2_{v,t-1}),   drho1 = G1 (1 - a1) h2_{v,t-1}

and alike along variates; the rest are products of these. Here the arguments are checked and an
implementation is chosen: `reference.py` (torch, the definition), `cpu.py` (numba) or `gpu.py` (triton).
The last two are pairs of functions that know nothing of autograd, and take pairs: along time, along
variates.

    forward(u, steps, A, rho, B, C, states, *, reverse, keep) -> (y, last1, last2, kept)
    backward(grad_y, grad_last, u, steps, A, rho, B, C, kept, *, reverse)
        -> the gradients of u and, each along time and along variates, of steps, A, rho, B, C, states

They may rely on tensors in one dtype, float32 or float64, on one device, of the shapes of `selective_scan_2d`
and no dimension of size 0, but of any strides. `states` and either of `grad_last` may be None. `kept` is
None unless `keep`: states at the borders of chunks of time.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from tacita.errors import ConfigError
from tacita.kernels.backends import choose
from tacita.kernels.selective_2d.reference import selective_scan_2d_reference

Pair = tuple[Tensor, Tensor]
"""Along time, along variates."""


def selective_scan_2d(
    u: Tensor,
    steps: Pair,
    A: Pair,
    rho: Pair,
    B: Pair,
    C: Pair,
    states: Pair | None = None,
    *,
    reverse: bool = False,
    backend: str = "auto",
) -> tuple[Tensor, Pair]:
    """`y (B, V, T, D)` of the recurrence above, and the last states, `(B, V, D, N)` both.

    u: `(B, V, T, D)`. All else in pairs, along time and along variates: steps `(B, V, T, D)`, positive;
        A, in use negative, and rho, in use from 0 to 1, `(D, N)`; B and C `(B, V, T, N)`.
    states: `(B, V, D, N)` each, of all variates before the first step; zeros by default.
    reverse: variates are taken from the last to the first.
    backend: "auto", "torch", "numba" or "triton"; the numbers do not depend on it.

    All tensors have gradients, which also flow from the last states; second derivatives only with
    "torch". Half precision is computed in float32: `y` has the dtype of `u`, states that of the
    computation. Raises `ConfigError` for shapes that do not fit, naming the argument.

    >>> one = torch.ones(1, 2, 2, 1)
    >>> A, rho = -one[0, 0, :1], one[0, 0, :1] / 2
    >>> y, last = selective_scan_2d(one, (one, one), (A, A), (rho, rho), (one, one), (one, one))
    >>> y[0, :, :, 0]
    tensor([[2.0000, 2.6839],
            [2.6839, 3.8002]])
    """
    tensors = [u, *steps, *A, *rho, *B, *C, *(states or (None, None))]
    _check(*tensors)
    name = choose(backend, *tensors)
    dtype = torch.float32
    if any(tensor is not None and tensor.dtype == torch.float64 for tensor in tensors):
        dtype = torch.float64
    if name == "torch" or u.numel() == 0 or A[0].numel() == 0:
        with torch.autocast(u.device.type, enabled=False):
            y, *last = selective_scan_2d_reference(*_filled(_cast(tensors, dtype)), reverse=reverse)
        y = y.to(u.dtype)
    elif torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors):
        y, *last = _Selective2D.apply(_module(name), dtype, reverse, *tensors)
    else:
        given = _pairs(_cast(tensors, dtype))
        y, *last, _ = _module(name).forward(*given, reverse=reverse, keep=False)
        y = y.to(u.dtype)
    return y, (last[0], last[1])


class _Selective2D(torch.autograd.Function):
    """Keeps the arguments as they came and the states at chunk borders; the rest is recomputed."""

    @staticmethod
    def forward(
        ctx: Any, module: ModuleType, dtype: torch.dtype, reverse: bool, *tensors: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        given = _pairs(_cast(tensors, dtype))
        y, last_1, last_2, kept = module.forward(*given, reverse=reverse, keep=True)
        ctx.begun = tensors[-1] is not None
        ctx.save_for_backward(*tensors[:-2], kept)
        ctx.module, ctx.dtype, ctx.reverse = module, dtype, reverse
        ctx.set_materialize_grads(False)
        u = tensors[0]
        assert u is not None
        return y.to(u.dtype), last_1, last_2

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, grad_y: Tensor | None, *grad_last: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        *tensors, kept = ctx.saved_tensors
        if grad_y is None:  # only the last states went on
            grad_y = torch.zeros_like(tensors[0])
        grad_y, *come = _cast((grad_y, *grad_last), ctx.dtype)
        given = _pairs([*_cast(tensors, ctx.dtype), None, None])[:-1]
        *grads, of_1, of_2 = ctx.module.backward(grad_y, come, *given, kept, reverse=ctx.reverse)
        of_states = (of_1, of_2) if ctx.begun else (None, None)
        return (None, None, None, *grads, *of_states)


def _module(name: str) -> ModuleType:
    """The implementation, imported only now: numba and triton take seconds to import."""
    return import_module(f"tacita.kernels.selective_2d.{'cpu' if name == 'numba' else 'gpu'}")


def _cast(tensors: Sequence[Tensor | None], dtype: torch.dtype) -> list[Any]:
    return [None if tensor is None else tensor.to(dtype) for tensor in tensors]


def _pairs(tensors: Sequence[Any]) -> list[Any]:
    """`u`, and the others two by two; None for absent states."""
    pairs = [tuple(tensors[i : i + 2]) for i in range(1, len(tensors), 2)]
    return [tensors[0], *pairs[:-1], None if pairs[-1][0] is None else pairs[-1]]


def _filled(tensors: Sequence[Any]) -> list[Any]:
    """`_pairs`, with zeros for states that are absent."""
    *given, states = _pairs(tensors)
    u, A = given[0], given[2][0]
    if states is None:
        zeros = u.new_zeros(*u.shape[:2], *A.shape)
        states = zeros, zeros
    return [*given, states]


def _check(u: Tensor, *others: Tensor | None) -> None:
    """Raise `ConfigError` for the first argument that does not fit `u` and `A`, which set the sizes."""
    if u.dim() != 4 or 0 in u.shape[1:3]:
        raise ConfigError(
            f"u has shape {tuple(u.shape)}.", remedy="It is (B, V, T, D), with V and T from 1 up."
        )
    batch, variates, length, width = u.shape
    A = others[2]
    assert A is not None
    if A.dim() != 2:
        raise ConfigError(f"A has shape {tuple(A.shape)}.", remedy="It is (D, N).")
    d_state = A.shape[1]
    cells, columns = (batch, variates, length), (batch, variates, width, d_state)
    expected = {
        "steps": ((*cells, width), "(B, V, T, D)"),
        "A": ((width, d_state), "(D, N)"),
        "rho": ((width, d_state), "(D, N)"),
        "B": ((*cells, d_state), "(B, V, T, N)"),
        "C": ((*cells, d_state), "(B, V, T, N)"),
        "states": (columns, "(B, V, D, N)"),
    }
    named = [("u", tuple(u.shape), "", u)]
    twice = [(name, *kind) for name, kind in expected.items() for _ in range(2)]
    named += [(*each, x) for each, x in zip(twice, others, strict=True) if x is not None]
    for name, shape, axes, tensor in named:
        if tuple(tensor.shape) != shape:
            raise ConfigError(
                f"one of {name} has shape {tuple(tensor.shape)}, which does not fit "
                f"u {tuple(u.shape)} and A {tuple(A.shape)}.",
                remedy=f"Each is {axes} = {shape}.",
            )
        if not tensor.is_floating_point():
            raise ConfigError(
                f"{name} has dtype {tensor.dtype}.", remedy="The scan is for real floating point."
            )
