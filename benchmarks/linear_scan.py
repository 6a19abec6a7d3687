"""The linear recurrence with numba against the same in plain torch, with gradients."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from benchmarks.timing import Result, side_by_side
from tacita.kernels import linear_scan


def run() -> list[Result]:
    """Both sides scan the same complex numbers forward and go back to all gradients."""
    generator = torch.Generator().manual_seed(0)
    b = torch.randn(16, 1024, 64, dtype=torch.complex64, generator=generator)
    decay = torch.rand(64, generator=generator) * 0.1
    a = torch.exp(torch.complex(-decay, torch.arange(64.0)))
    slope = torch.randn(b.shape, dtype=b.dtype, generator=generator)
    inputs = (a.requires_grad_(), b.requires_grad_())
    ours, peer = side_by_side(
        partial(_there_and_back, *inputs, slope, "numba"),
        partial(_there_and_back, *inputs, slope, "torch"),
        repeats=5,
    )
    what = "linear scan and its gradients, complex, B=16 L=1024 D=64"
    return [Result(what, "the same in log depth, plain torch", ours, peer, "3")]


def _there_and_back(a: Tensor, b: Tensor, slope: Tensor, backend: str) -> tuple[Tensor, ...]:
    return torch.autograd.grad(linear_scan(a, b, backend=backend), (a, b), slope)
