"""Leaky integrate-and-fire neurons with triton: a program walks over time, its neurons in registers.

What bounds it: the latency of one load a step while programs are few (`B D / 32` of them), and bytes
once they fill the GPU. The loads do not depend on the potential, so they run `AHEAD` steps ahead of it.
Never timed on a GPU; its numbers are checked under triton's interpreter, and that it compiles, without one.
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"

from __future__ import annotations

import math
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

AHEAD = 3
"""Steps whose numbers are on their way from memory at a time."""
FEW = 2**16
"""Up to so many neurons of all samples a program is one warp, so that there are many of them."""


def forward(
    current: Tensor, state: Tensor | None, lengths: Tensor | None, decay: float, threshold: float
) -> tuple[Tensor, Tensor]:
    """Spikes and potentials `(B, L, D)`."""
    make = torch.empty if lengths is None else torch.zeros
    spikes, potential = (
        make(current.shape, dtype=current.dtype, device=current.device) for _ in range(2)
    )
    current = current.detach().contiguous()
    before = current if state is None else state.detach().contiguous()  # never read without one
    with torch.cuda.device_of(current):  # type: ignore[no-untyped-call]
        _forward[_grid(current)](
            current, before, _ends(current, lengths), spikes, potential, *current.shape[1:],
            _numbers(current, decay, threshold), STATE=state is not None, **_options(current, lengths),
        )  # fmt: skip
    return spikes, potential


def backward(
    grad_spikes: Tensor | None,
    grad_potential: Tensor | None,
    potential: Tensor,
    lengths: Tensor | None,
    decay: float,
    threshold: float,
    alpha: float,
) -> tuple[Tensor, Tensor]:
    """The gradients of the current and of the state."""
    make = torch.empty if lengths is None else torch.zeros
    grad = make(potential.shape, dtype=potential.dtype, device=potential.device)
    grad_state = torch.empty_like(potential[:, 0])
    # What is absent is never read.
    given = [
        potential if each is None else each.contiguous() for each in (grad_spikes, grad_potential)
    ]
    numbers = _numbers(potential, decay, threshold, alpha / 2, math.pi / 2 * alpha)
    with torch.cuda.device_of(potential):  # type: ignore[no-untyped-call]
        _backward[_grid(potential)](
            *given, potential, _ends(potential, lengths), grad, grad_state, *potential.shape[1:], numbers,
            SPIKES=grad_spikes is not None, POTENTIAL=grad_potential is not None,
            **_options(potential, lengths),
        )  # fmt: skip
    return grad, grad_state


def _numbers(like: Tensor, *numbers: float) -> Tensor:
    """As wide as the tensors are: numbers given by themselves are float32 to triton."""
    return torch.tensor(numbers, dtype=like.dtype, device=like.device)


def _ends(like: Tensor, lengths: Tensor | None) -> Tensor:
    """`(B,)`: the valid steps; never read without lengths."""
    if lengths is None:
        return torch.empty(1, dtype=torch.int64, device=like.device)
    return lengths.clamp(0, like.shape[1]).contiguous()


def _grid(like: Tensor) -> tuple[int, int]:
    return len(like), triton.cdiv(like.shape[2], _lanes(like))


def _lanes(like: Tensor) -> int:
    """Neurons of a program: one a thread, so that no thread repeats another's."""
    return 32 if len(like) * like.shape[2] <= FEW else 128


def _options(like: Tensor, lengths: Tensor | None) -> dict[str, Any]:
    lanes = _lanes(like)
    return {
        "LENGTHS": lengths is not None,
        "BLOCK": lanes,
        "AHEAD": AHEAD,
        "num_warps": lanes // 32,
    }


@triton.jit
def _forward(
    current,
    before,
    ends,
    spikes,
    potential,
    length,
    neurons,
    numbers,
    STATE: tl.constexpr,
    LENGTHS: tl.constexpr,
    BLOCK: tl.constexpr,
    AHEAD: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    d = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    mask = d < neurons
    decay = tl.load(numbers)
    threshold = tl.load(numbers + 1)
    left = tl.zeros((BLOCK,), current.dtype.element_ty)
    if STATE:
        left = tl.load(before + row * neurons + d, mask=mask, other=0.0)
    end = tl.cast(length, tl.int64)
    if LENGTHS:
        end = tl.load(ends + row)
    for step in tl.range(0, end, num_stages=AHEAD):
        at = (row * length + step) * neurons + d
        v = decay * left + tl.load(current + at, mask=mask, other=0.0)
        fires = v >= threshold
        tl.store(potential + at, v, mask=mask)
        tl.store(spikes + at, tl.where(fires, 1.0, 0.0 * v), mask=mask)
        left = tl.where(fires, 0.0, v)


@triton.jit
def _backward(
    grad_spikes,
    grad_potential,
    potential,
    ends,
    grad,
    grad_state,
    length,
    neurons,
    numbers,
    SPIKES: tl.constexpr,
    POTENTIAL: tl.constexpr,
    LENGTHS: tl.constexpr,
    BLOCK: tl.constexpr,
    AHEAD: tl.constexpr,
):
    """`carry` is `du_t`, and in the end the state's gradient."""
    row = tl.program_id(0).to(tl.int64)
    d = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    mask = d < neurons
    decay = tl.load(numbers)
    threshold = tl.load(numbers + 1)
    half = tl.load(numbers + 2)
    steep = tl.load(numbers + 3)
    carry = tl.zeros((BLOCK,), potential.dtype.element_ty)
    end = tl.cast(length, tl.int64)
    if LENGTHS:
        end = tl.load(ends + row)
    for back in tl.range(0, end, num_stages=AHEAD):
        at = (row * length + end - 1 - back) * neurons + d
        v = tl.load(potential + at, mask=mask, other=0.0)
        total = tl.where(v >= threshold, 0.0, carry)
        if SPIKES:
            x = steep * (v - threshold)
            total += tl.load(grad_spikes + at, mask=mask, other=0.0) * half / (1.0 + x * x)
        if POTENTIAL:
            total += tl.load(grad_potential + at, mask=mask, other=0.0)
        tl.store(grad + at, total, mask=mask)
        carry = decay * total
    tl.store(grad_state + row * neurons + d, carry, mask=mask)
