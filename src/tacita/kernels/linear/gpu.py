"""The linear recurrence with triton: a program walks over time with its block of channels in registers.

What bounds it: the latency of one load a step while programs are few (`B D / 32` of them), and bytes
once they fill the GPU. The loads do not depend on the state, so they run `AHEAD` steps ahead of it.
Sums over the batch are taken afterwards, in one order. Never timed on a GPU; its numbers are checked
under triton's interpreter, and that it compiles, without one.
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

AHEAD = 3
"""Steps whose numbers are on their way from memory at a time."""
FEW = 2**16
"""Up to so many channels of all samples a program is one warp, so that there are many of them."""


def forward(
    a: Tensor, b: Tensor, state: Tensor | None, resets: Tensor | None, reverse: bool
) -> Tensor:
    """The states `(B, L, D)`; `a (B or 1, L or 1, D)`."""
    x = torch.empty(b.shape, dtype=b.dtype, device=b.device)
    arrays = _real(a), _real(b), _real(state, b), _flags(resets, b), _real(x)
    options = _options(a, b, state, resets, reverse)
    with torch.cuda.device_of(b):  # type: ignore[no-untyped-call]
        _forward[_grid(b)](*arrays, *_sizes(a, b), **options)
    return x


def backward(
    grad: Tensor,
    a: Tensor,
    x: Tensor | None,
    state: Tensor | None,
    resets: Tensor | None,
    reverse: bool,
) -> tuple[Tensor | None, Tensor, Tensor | None]:
    """The gradients of `a`, where `x` is given, of `b`, and of the state, where there is one."""
    batch, _, channels = grad.shape
    steps = 0 if x is None else a.shape[1]
    grad_b = torch.empty(grad.shape, dtype=grad.dtype, device=grad.device)
    grad_state = grad_b.new_empty(batch, channels)
    grad_a = grad_b.new_empty(batch, steps, channels)
    arrays = _real(a), _real(x, grad), _real(state, grad), _flags(resets, grad), _real(grad)
    results = _real(grad_b), _real(grad_state), _real(grad_a)
    options = _options(a, grad, state, resets, reverse)
    with torch.cuda.device_of(grad):  # type: ignore[no-untyped-call]
        _backward[_grid(grad)](*arrays, *results, *_sizes(a, grad), **options, WANT_A=x is not None)
    if len(a) < batch:
        grad_a = grad_a.sum(0, keepdim=True)
    return grad_a if steps else None, grad_b, None if state is None else grad_state


def _real(tensor: Tensor | None, instead: Tensor | None = None) -> Tensor | None:
    """Contiguous real numbers, a complex one as two of them; what is absent is never read."""
    tensor = instead if tensor is None else tensor
    assert tensor is not None
    tensor = tensor.detach().resolve_conj().resolve_neg().contiguous()
    return torch.view_as_real(tensor) if tensor.is_complex() else tensor


def _flags(resets: Tensor | None, like: Tensor) -> Tensor:
    if resets is None:
        return torch.empty(1, dtype=torch.uint8, device=like.device)
    return resets.contiguous().view(torch.uint8)


def _grid(b: Tensor) -> tuple[int, int]:
    return len(b), triton.cdiv(b.shape[2], _lanes(b))


def _lanes(b: Tensor) -> int:
    """Channels of a program: one a thread, so that no thread repeats another's."""
    return 32 if len(b) * b.shape[2] <= FEW else 128


def _sizes(a: Tensor, b: Tensor) -> tuple[int, int, int, int]:
    """Steps, channels, and how many numbers lie between two rows and two steps of `a`."""
    rows, steps, channels = a.shape
    return b.shape[1], channels, steps * channels * (rows > 1), channels * (steps > 1)


def _options(
    a: Tensor, b: Tensor, state: Tensor | None, resets: Tensor | None, reverse: bool
) -> dict[str, Any]:
    return {
        "REVERSE": reverse,
        "STATE": state is not None,
        "RESETS": resets is not None,
        "COMPLEX": a.is_complex(),
        "BLOCK": _lanes(b),
        "AHEAD": AHEAD,
        "num_warps": _lanes(b) // 32,
    }


@triton.jit
def _load(pointer, offset, mask, COMPLEX: tl.constexpr):
    """Real and imaginary parts; of real numbers the second counts for nothing."""
    width: tl.constexpr = 2 if COMPLEX else 1
    real = tl.load(pointer + width * offset, mask=mask, other=0.0)
    imaginary = real
    if COMPLEX:
        imaginary = tl.load(pointer + 2 * offset + 1, mask=mask, other=0.0)
    return real, imaginary


@triton.jit
def _store(pointer, offset, real, imaginary, mask, COMPLEX: tl.constexpr):
    if COMPLEX:
        tl.store(pointer + 2 * offset, real, mask=mask)
        tl.store(pointer + 2 * offset + 1, imaginary, mask=mask)
    else:
        tl.store(pointer + offset, real, mask=mask)


@triton.jit
def _forward(
    a,
    b,
    before,
    resets,
    x,
    length,
    channels,
    a_row,
    a_step,
    REVERSE: tl.constexpr,
    STATE: tl.constexpr,
    RESETS: tl.constexpr,
    COMPLEX: tl.constexpr,
    BLOCK: tl.constexpr,
    AHEAD: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    d = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    mask = d < channels
    re = tl.zeros((BLOCK,), b.dtype.element_ty)
    im = tl.zeros((BLOCK,), b.dtype.element_ty)
    if STATE:
        re, im = _load(before, row * channels + d, mask, COMPLEX)
    for step in tl.range(0, length, num_stages=AHEAD):
        t = tl.cast(length - 1 - step if REVERSE else step, tl.int64)  # L D may be beyond int32
        at = (row * length + t) * channels + d
        if RESETS:
            erase = tl.load(resets + row * length + t) != 0
            re = tl.where(erase, 0.0, re)
            im = tl.where(erase, 0.0, im)
        a_re, a_im = _load(a, row * a_row + t * a_step + d, mask, COMPLEX)
        b_re, b_im = _load(b, at, mask, COMPLEX)
        if COMPLEX:
            turned = a_re * im + a_im * re + b_im
            re = a_re * re - a_im * im + b_re
            im = turned
        else:
            re = a_re * re + b_re
        _store(x, at, re, im, mask, COMPLEX)


@triton.jit
def _backward(
    a,
    x,
    before,
    resets,
    grad,
    grad_b,
    grad_state,
    grad_a,
    length,
    channels,
    a_row,
    a_step,
    REVERSE: tl.constexpr,
    STATE: tl.constexpr,
    RESETS: tl.constexpr,
    COMPLEX: tl.constexpr,
    BLOCK: tl.constexpr,
    AHEAD: tl.constexpr,
    WANT_A: tl.constexpr,
):
    """`carry` is `conj(a_{t+1}) G_{t+1}`, and in the end the state's gradient."""
    row = tl.program_id(0).to(tl.int64)
    d = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    mask = d < channels
    carry_re = tl.zeros((BLOCK,), grad.dtype.element_ty)
    carry_im = tl.zeros((BLOCK,), grad.dtype.element_ty)
    sum_re = tl.zeros((BLOCK,), grad.dtype.element_ty)
    sum_im = tl.zeros((BLOCK,), grad.dtype.element_ty)
    for back in tl.range(0, length, num_stages=AHEAD):
        t = tl.cast(back if REVERSE else length - 1 - back, tl.int64)
        at = (row * length + t) * channels + d
        a_re, a_im = _load(a, row * a_row + t * a_step + d, mask, COMPLEX)
        re, im = _load(grad, at, mask, COMPLEX)
        re += carry_re
        im += carry_im
        _store(grad_b, at, re, im, mask, COMPLEX)
        if COMPLEX:
            carry_re = a_re * re + a_im * im
            carry_im = a_re * im - a_im * re
        else:
            carry_re = a_re * re
        if RESETS:
            erase = tl.load(resets + row * length + t) != 0
            carry_re = tl.where(erase, 0.0, carry_re)
            carry_im = tl.where(erase, 0.0, carry_im)
        if WANT_A:
            last = at + channels if REVERSE else at - channels
            x_re, x_im = _load(x, last, mask & (back < length - 1), COMPLEX)
            if STATE:
                first = mask & (back == length - 1)
                first_re, first_im = _load(before, row * channels + d, first, COMPLEX)
                x_re += first_re
                x_im += first_im
            if RESETS:
                x_re = tl.where(erase, 0.0, x_re)
                x_im = tl.where(erase, 0.0, x_im)
            if COMPLEX:
                part_re = re * x_re + im * x_im
                part_im = im * x_re - re * x_im
            else:
                part_re = re * x_re
                part_im = part_re
            if a_step > 0:
                _store(grad_a, at, part_re, part_im, mask, COMPLEX)
            else:
                sum_re += part_re
                sum_im += part_im
    _store(grad_state, row * channels + d, carry_re, carry_im, mask, COMPLEX)
    if WANT_A and a_step == 0:
        _store(grad_a, row * channels + d, sum_re, sum_im, mask, COMPLEX)
