"""State-space layers: S4D against its plain form, S4 against S4D, and how S4's kernel grows with length."""

from __future__ import annotations

import math
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.timing import Result, side_by_side
from tacita.layers.s4 import S4
from tacita.layers.s4d import S4D

BATCH, LENGTH, CHANNELS, STATES = 2, 4096, 256, 64


class PlainS4D(nn.Module):
    """The layer as one writes it down: every power of every mode, `(H, N/2, L)`, then two transforms."""

    def __init__(self, channels: int, states: int) -> None:
        super().__init__()
        modes = states // 2
        span = math.log(0.1) - math.log(1e-3)
        self.log_step = nn.Parameter(torch.rand(channels) * span + math.log(1e-3))
        self.C = nn.Parameter(torch.randn(channels, modes, 2))
        self.log_decay = nn.Parameter(torch.full((channels, modes), math.log(0.5)))
        self.frequency = nn.Parameter((math.pi * torch.arange(modes)).repeat(channels, 1))
        self.D = nn.Parameter(torch.randn(channels))

    def forward(self, x: Tensor) -> Tensor:
        length = x.shape[1]
        step = self.log_step.exp()[:, None]
        modes = torch.complex(-self.log_decay.exp(), self.frequency)
        exponents = step * modes
        weights = torch.view_as_complex(self.C) * (exponents.exp() - 1) / modes
        powers = (exponents[..., None] * torch.arange(length)).exp()
        kernel = 2 * torch.einsum("hn,hnl->hl", weights, powers).real
        u = x.mT
        spectrum = torch.fft.rfft(u, 2 * length) * torch.fft.rfft(kernel, 2 * length)
        y = torch.fft.irfft(spectrum, 2 * length)[..., :length]
        return (y + self.D[:, None] * u).mT


def make(name: str) -> nn.Module:
    """One of the three layers, with a fixed seed."""
    torch.manual_seed(0)
    if name == "s4":
        return S4(CHANNELS, d_state=STATES, length=LENGTH)
    return S4D(CHANNELS, d_state=STATES) if name == "s4d" else PlainS4D(CHANNELS, STATES)


def train_step(layer: nn.Module, x: Tensor) -> None:
    """Forward and backward, to the weights and the input."""
    layer.zero_grad()
    layer(x).square().mean().backward()


def peak(name: str) -> float:
    """Megabytes that a process needs for a training step, less those that it needs without one."""
    command = [sys.executable, "-m", "benchmarks.s4", name]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def slope() -> float:
    """Of the logarithm of the time for S4's kernel, forward and backward, in that of its length."""
    lengths, seconds = [512, 1024, 2048, 4096, 8192], []
    for length in lengths:
        layer = S4(64, d_state=64, length=length)
        times = []
        for _ in range(7):
            began = time.perf_counter()
            layer.kernel(length).sum().backward()  # type: ignore[no-untyped-call]
            times.append(time.perf_counter() - began)
        seconds.append(statistics.median(times[1:]))
    return float(np.polyfit(np.log(lengths), np.log(seconds), 1)[0])


def run() -> list[Result]:
    """A training step of one layer each; memory in a process of its own."""
    x = torch.randn(BATCH, LENGTH, CHANNELS, requires_grad=True)
    s4, s4d, plain = (make(name) for name in ("s4", "s4d", "plain"))
    what = f"training step, B={BATCH}, L={LENGTH}, H={CHANNELS}, N={STATES}"
    plainly = "S4D with all powers, in torch"
    ours, peer = side_by_side(lambda: train_step(s4d, x), lambda: train_step(plain, x), repeats=3)
    low, other = side_by_side(lambda: train_step(s4, x), lambda: train_step(s4d, x), repeats=5)
    return [
        Result(f"S4D {what}", plainly, ours, peer, "6"),
        Result(f"S4D {what}, memory", plainly, peak("s4d"), peak("plain"), "6", "MB"),
        Result(f"S4 {what}", "S4D of tacita", low, other, "0.5"),
        Result("S4's kernel in its length, 512 to 8192", "", slope(), None, "at most 1.2", "slope"),
    ]


def _measure_peak(name: str) -> None:
    layer, x = make(name), torch.randn(BATCH, LENGTH, CHANNELS, requires_grad=True)
    before = _most_so_far()
    train_step(layer, x)
    print(_most_so_far() - before)


def _most_so_far() -> float:
    """The most megabytes that this process has held; what `getrusage` says may be the parent's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


if __name__ == "__main__":
    _measure_peak(sys.argv[1])
