"""That the triton kernels compile for GPUs, with the arguments and options that they are launched with.

No GPU is needed: in the place of each kernel stands what compiles it for the arguments of its call, as
triton would. The interpreter takes programs that the compiler does not, so both are tests.
"""

from __future__ import annotations

import inspect
import os
import re
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

pytest.importorskip("triton")

from triton.backends.compiler import GPUTarget
from triton.backends.nvidia.compiler import get_ptxas
from triton.compiler import ASTSource, CompiledKernel, compile

from tacita.kernels.cauchy import gpu as cauchy
from tacita.kernels.linear import gpu as linear
from tacita.kernels.selective import gpu as selective
from tacita.kernels.selective_2d import gpu as selective_2d
from tacita.kernels.spiking import gpu as spiking

pytestmark = pytest.mark.skipif(
    os.environ.get("TRITON_INTERPRET") == "1", reason="the interpreter compiles nothing"
)

SHARED_BYTES = {80: 163 * 1024, 90: 227 * 1024}
"""What a program may have of shared memory, by the generation of the GPU."""


FEW_BYTES = 16
"""What a thread may spill: some numbers outside of the loops, which cost nothing."""


class Compiling:
    """Stands for a kernel: `kernel[grid](...)` compiles it for these arguments, and runs nothing."""

    def __init__(self, kernel: Any, generation: int) -> None:
        self.kernel, self.generation = kernel, generation
        self.made: list[CompiledKernel] = []

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
        assert len(grid) <= 3
        assert grid[0] < 2**31
        assert all(size < 2**16 for size in grid[1:])
        return self.compile

    def compile(self, *arguments: Any, **named: Any) -> None:
        options = {name: named.pop(name) for name in ("num_warps",) if name in named}
        bound = inspect.signature(self.kernel.fn).bind(*arguments, **named)
        kinds, constants, hints = {}, {}, {}
        for place, (name, value) in enumerate(bound.arguments.items()):
            if isinstance(value, Tensor):
                kinds[name] = POINTERS[value.dtype]
                hints[(place,)] = [["tt.divisibility", 16]]
            elif name.isupper() or value == 1:  # triton takes a 1 for a constant, as it does these
                kinds[name], constants[(place,)] = "constexpr", value
            else:
                kinds[name] = "i32" if value < 2**31 else "i64"
        source = ASTSource(self.kernel, kinds, constants, hints)
        target = GPUTarget("cuda", self.generation, 32)
        self.made.append(compile(source, target=target, options=options))


POINTERS = {
    torch.float32: "*fp32", torch.float64: "*fp64", torch.uint8: "*u8", torch.int64: "*i64",
}  # fmt: skip


def compiled(
    monkeypatch: pytest.MonkeyPatch, module: Any, names: tuple[str, str], generation: int
) -> list[Compiling]:
    stands = [Compiling(getattr(module, name), generation) for name in names]
    for name, stand in zip(names, stands, strict=True):
        monkeypatch.setattr(module, name, stand)
    return stands


def spilled(kernel: CompiledKernel, generation: int) -> int:
    """Bytes that do not fit into registers, as the assembler says."""
    suffix = "a" if generation == 90 else ""
    done = subprocess.run(
        [get_ptxas(generation).path, "-v", f"--gpu-name=sm_{generation}{suffix}", "-", "-o", os.devnull],
        input=kernel.asm["ptx"], capture_output=True, text=True, check=True,
    )  # fmt: skip
    return sum(int(count) for count in re.findall(r"(\d+) bytes spill stores", done.stderr))


def fits(stands: list[Compiling]) -> None:
    for stand in stands:
        (kernel,) = stand.made
        assert kernel.metadata.shared <= SHARED_BYTES[stand.generation], stand.kernel
        assert spilled(kernel, stand.generation) <= FEW_BYTES, stand.kernel


def slow(*values: Any) -> Any:
    return pytest.param(*values, marks=pytest.mark.slow)


def few_and_all(few: list[tuple[Any, ...]], every: list[tuple[Any, ...]]) -> list[Any]:
    return [*few, *(slow(*case) for case in every if case not in few)]


CAUCHY = few_and_all(
    [(90, torch.float32, 5, 256)],
    [
        (generation, dtype, sums, poles)
        for generation in (80, 90)
        for dtype in (torch.float32, torch.float64)
        for sums, poles in ((4, 32), (5, 256), (300, 1), (1, 3))
    ],
)


@pytest.mark.parametrize(("generation", "dtype", "sums", "poles"), CAUCHY)
def test_cauchy(monkeypatch, generation, dtype, sums, poles):
    stands = compiled(monkeypatch, cauchy, ("forward_kernel", "backward_kernel"), generation)
    given = [torch.empty(3, sums, poles, dtype=dtype) for _ in range(2)]
    given += [torch.empty(3, poles, dtype=dtype) for _ in range(2)]
    y = cauchy.forward(*given, torch.empty(67, dtype=dtype))
    cauchy.backward(y, *given, torch.empty(67, dtype=dtype))
    fits(stands)


LIF = few_and_all(
    [(90, torch.float32, 256)],
    [
        (generation, dtype, neurons)
        for generation in (80, 90)
        for dtype in (torch.float32, torch.float64)
        for neurons in (1, 67, 256, 2**16)
    ],
)


@pytest.mark.parametrize(("generation", "dtype", "neurons"), LIF)
@pytest.mark.parametrize("lengths", (None, torch.tensor([5, 3])))
def test_lif(monkeypatch, generation, dtype, neurons, lengths):
    stands = compiled(monkeypatch, spiking, ("_forward", "_backward"), generation)
    current, state = torch.empty(2, 5, neurons, dtype=dtype), torch.empty(2, neurons, dtype=dtype)
    spikes, potential = spiking.forward(current, state, lengths, 0.7, 1.0)
    spiking.backward(spikes, potential, potential, lengths, 0.7, 1.0, 5.0)
    fits(stands)


LINEAR = few_and_all(
    [(80, torch.complex64, 67, "every step")],
    [
        (generation, dtype, channels, a)
        for generation in (80, 90)
        for dtype in (torch.float32, torch.float64, torch.complex64, torch.complex128)
        for channels in (1, 67, 2**16)
        for a in ("every step", "one")
    ],
)


@pytest.mark.parametrize(("generation", "dtype", "channels", "a_is"), LINEAR)
def test_linear(monkeypatch, generation, dtype, channels, a_is):
    stands = compiled(monkeypatch, linear, ("_forward", "_backward"), generation)
    b, state = torch.empty(2, 5, channels, dtype=dtype), torch.empty(2, channels, dtype=dtype)
    a = torch.empty_like(b) if a_is == "every step" else b.new_empty(1, 1, channels)
    resets = torch.zeros(2, 5, dtype=torch.bool)
    x = linear.forward(a, b, state, resets, False)
    linear.backward(x, a, x, state, resets, True)
    fits(stands)


SELECTIVE = few_and_all(
    [(90, torch.float32, 33, 64)],
    [
        (generation, dtype, width, d_state)
        for generation in (80, 90)
        for dtype in (torch.float32, torch.float64)
        for width, d_state in ((1, 1), (33, 3), (33, 16), (33, 64), (33, 100), (33, 256))
    ],
)


@pytest.mark.parametrize(("generation", "dtype", "width", "d_state"), SELECTIVE)
def test_selective(monkeypatch, generation, dtype, width, d_state):
    stands = compiled(monkeypatch, selective, ("_forward", "_backward"), generation)
    u, delta, z = (torch.empty(2, 35, width, dtype=dtype) for _ in range(3))
    A, state = u.new_empty(width, d_state), u.new_empty(2, width, d_state)
    B, C = (u.new_empty(2, 35, d_state) for _ in range(2))
    D, bias = u.new_empty(width), u.new_empty(width)
    resets = torch.zeros(2, 35, dtype=torch.bool)
    given = u, delta, A, B, C, D, z, bias, state, resets
    y, last, kept = selective.forward(*given, delta_softplus=True, keep=True)
    assert kept is not None
    selective.backward(y, last, *given, kept, delta_softplus=True)
    fits(stands)


GRID = few_and_all(
    [(90, torch.float32, 33, 16)],
    [
        (generation, dtype, width, d_state)
        for generation in (80, 90)
        for dtype in (torch.float32, torch.float64)
        for width, d_state in ((1, 1), (33, 3), (33, 16), (33, 64), (33, 256))
    ],
)


@pytest.mark.parametrize(("generation", "dtype", "width", "d_state"), GRID)
def test_selective_2d(monkeypatch, generation, dtype, width, d_state):
    stands = compiled(monkeypatch, selective_2d, ("_forward", "_backward"), generation)
    u, *steps = (torch.empty(2, 3, 35, width, dtype=dtype) for _ in range(3))
    A, *rho, spare = (u.new_empty(width, d_state) for _ in range(4))
    B, C = ([u.new_empty(2, 3, 35, d_state) for _ in range(2)] for _ in range(2))
    given = u, steps, (A, spare), rho, B, C
    y, *last, kept = selective_2d.forward(*given, None, reverse=False, keep=True)
    assert kept is not None
    selective_2d.backward(y, last, *given, kept, reverse=False)
    fits(stands)
