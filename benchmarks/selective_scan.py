"""The selective scan against mambapy's parallel scan: time, memory, and how both grow with length."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace

import torch
from mambapy.mamba import MambaBlock
from torch import Tensor

from benchmarks.timing import Result, peak_of_this_process, side_by_side
from tacita.kernels import selective_scan

PEER = "mambapy's pscan"
SHAPE = (2, 2048, 256, 16)
"""Batch, length, channels and states of one, as in a small language model."""
LENGTHS = (1024, 4096, 16384, 65536, 262144)


def run() -> list[Result]:
    """Float32, the arguments that mambapy's function has: u, step sizes, A, B, C and D."""
    what = "selective scan {}, B=2 L=2048 D=256 N=16"
    tensors = arguments(*SHAPE)
    forward = side_by_side(
        lambda: without_gradients(ours, tensors), lambda: without_gradients(peer, tensors)
    )
    both = side_by_side(lambda: backward(ours, tensors), lambda: backward(peer, tensors), repeats=5)
    memory = peak("ours", SHAPE), peak("peer", SHAPE)
    return [
        Result(what.format("forward"), PEER, *forward, "20"),
        Result(what.format("forward and backward"), PEER, *both, "12"),
        Result(what.format("forward and backward, peak memory"), PEER, *memory, "5", "MB"),
        *growth(),
    ]


def growth() -> list[Result]:
    """Slopes of time and memory over length in logarithms, 1 being proportional; one long pass."""
    seconds, megabytes = [], []
    for length in LENGTHS:
        tensors = arguments(1, length, 64, 16)
        both = partial(backward, ours, tensors)
        seconds.append(side_by_side(both, int, repeats=3)[0])
        megabytes.append(peak("ours", (1, length, 64, 16)))
    # Short sequences take less memory than the process varies by: the slope is of the longest.
    tensors = arguments(1, 2**20, 64, 16)
    long, _ = side_by_side(lambda: without_gradients(ours, tensors), int, repeats=3)
    what = "selective scan forward and backward, {} against length"
    return [
        Result(what.format("time"), "", slope(LENGTHS, seconds), None, "< 1.1", "slope"),
        Result(
            what.format("memory"), "", slope(LENGTHS[-2:], megabytes[-2:]), None, "< 1.1", "slope"
        ),
        Result("selective scan forward, L=1048576 D=64 N=16", "", long, None, ""),
    ]


def slope(lengths: tuple[int, ...], values: list[float]) -> float:
    """Of the line through the logarithms, by least squares."""
    x = torch.tensor([math.log(length) for length in lengths], dtype=torch.float64)
    y = torch.tensor([math.log(value) for value in values], dtype=torch.float64)
    x, y = x - x.mean(), y - y.mean()
    return float((x * y).sum() / (x * x).sum())


def arguments(batch: int, length: int, width: int, d_state: int) -> list[Tensor]:
    """A layer's arguments at its start: decays of 1 to N, steps of up to 0.1."""
    torch.manual_seed(0)
    tensors = [
        torch.randn(batch, length, width),
        torch.rand(batch, length, width) / 10,
        -torch.arange(1.0, d_state + 1).repeat(width, 1),
        torch.randn(batch, length, d_state),
        torch.randn(batch, length, d_state),
        torch.ones(width),
    ]
    return [tensor.requires_grad_() for tensor in tensors]


def ours(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor) -> Tensor:
    return selective_scan(u, delta, A, B, C, D)


def peer(*tensors: Tensor) -> Tensor:
    return MambaBlock.selective_scan(SimpleNamespace(), *tensors)


def without_gradients(function: Callable[..., Tensor], tensors: list[Tensor]) -> None:
    with torch.no_grad():
        function(*tensors)


def backward(function: Callable[..., Tensor], tensors: list[Tensor]) -> None:
    torch.autograd.grad(function(*tensors).sum(), tensors)


def peak(side: str, shape: tuple[int, ...]) -> float:
    """Megabytes that a forward and backward pass adds to the peak of a process of its own."""
    command = [sys.executable, "-m", "benchmarks.selective_scan", side, *map(str, shape)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    """Print what `peak` asks for, in a process that has run the function once on little."""
    function: Callable[..., Tensor] = ours if sys.argv[1] == "ours" else peer
    backward(function, arguments(1, 64, 16, 4))
    tensors = arguments(*map(int, sys.argv[2:]))
    before = peak_of_this_process()
    backward(function, tensors)
    print(peak_of_this_process() - before)


if __name__ == "__main__":
    main()
