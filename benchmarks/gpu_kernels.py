"""Kernels on a GPU: plain torch against triton, and mamba-ssm's own where it is installed.

`python -m benchmarks.gpu_kernels` prints a table; it needs a CUDA device, and says so without one.
Both sides run in turns; medians of some runs, timed by CUDA events, after one that compiles.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec

import torch
from torch import Tensor

from tacita.kernels import linear_scan, selective_scan

LENGTHS = (512, 2048, 8192)
REPEATS = 9

Function = Callable[..., Tensor]


def main() -> None:
    """Print the table, or why there is none."""
    if not torch.cuda.is_available() or find_spec("triton") is None:
        print("There is no CUDA device with triton here: nothing to measure.")
        return
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}")
    print("| kernel | pass | L | triton ms | peer | peer ms | ratio | largest difference |")
    print("|---|---|---|---|---|---|---|---|")
    for length in LENGTHS:
        peers: list[tuple[str, Function]] = [("torch", _selective("torch"))]
        if find_spec("mamba_ssm") is not None:
            peers.append(("mamba-ssm", _mamba_ssm))
        inputs = selective_inputs(8, length, 1024, 16)
        compare("selective_scan", length, inputs, _selective("triton"), peers)
        inputs = [
            torch.randn(64, dtype=torch.complex64, device="cuda").div_(4).requires_grad_(),
            torch.randn(16, length, 64, dtype=torch.complex64, device="cuda", requires_grad=True),
        ]
        compare("linear_scan", length, inputs, _linear("triton"), [("torch", _linear("torch"))])


def compare(
    kernel: str,
    length: int,
    inputs: Sequence[Tensor],
    ours: Function,
    peers: Sequence[tuple[str, Function]],
) -> None:
    """A row a pass and a peer."""
    for name, peer in peers:
        with torch.no_grad():
            difference = float((ours(*inputs) - peer(*inputs)).abs().max())
        for what, run in (("forward", _forward), ("forward and backward", _backward)):
            ours_ms, peer_ms = side_by_side(
                lambda run=run: run(ours, inputs),  # type: ignore[misc]
                lambda run=run, peer=peer: run(peer, inputs),  # type: ignore[misc]
            )
            print(
                f"| {kernel} | {what} | {length} | {ours_ms:.3f} | {name} | {peer_ms:.3f} | "
                f"{peer_ms / ours_ms:.2f} | {difference:.1e} |",
                flush=True,
            )


def side_by_side(ours: Callable[[], object], peer: Callable[[], object]) -> tuple[float, float]:
    """Median milliseconds of both, in turns."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(REPEATS + 1):
        for function, into in zip((ours, peer), times, strict=True):
            begin = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            end = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            begin.record()
            function()
            end.record()
            torch.cuda.synchronize()
            into.append(begin.elapsed_time(end))
    return statistics.median(times[0][1:]), statistics.median(times[1][1:])


def selective_inputs(batch: int, length: int, width: int, d_state: int) -> list[Tensor]:
    """`u, delta, A, B, C, D` of a layer at its start."""
    torch.manual_seed(0)
    tensors = [
        torch.randn(batch, length, width, device="cuda"),
        torch.rand(batch, length, width, device="cuda") / 10,
        -torch.arange(1.0, d_state + 1, device="cuda").repeat(width, 1),
        torch.randn(batch, length, d_state, device="cuda"),
        torch.randn(batch, length, d_state, device="cuda"),
        torch.ones(width, device="cuda"),
    ]
    return [tensor.requires_grad_() for tensor in tensors]


def _selective(backend: str) -> Function:
    return lambda u, delta, A, B, C, D: selective_scan(u, delta, A, B, C, D, backend=backend)


def _linear(backend: str) -> Function:
    return lambda a, b: linear_scan(a, b, backend=backend)


def _mamba_ssm(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor) -> Tensor:
    theirs = import_module("mamba_ssm.ops.selective_scan_interface").selective_scan_fn
    y: Tensor = theirs(u.mT, delta.mT, A, B.mT, C.mT, D)  # time is its last axis
    return y.mT


def _forward(function: Function, inputs: Sequence[Tensor]) -> None:
    with torch.no_grad():
        function(*inputs)


def _backward(function: Function, inputs: Sequence[Tensor]) -> None:
    y = function(*inputs)
    torch.autograd.grad(y.abs().sum() if y.is_complex() else y.sum(), list(inputs))


if __name__ == "__main__":
    main()
