"""Long convolution: a free kernel as long as the sequence, kept from fitting noise by a threshold.

Fu et al., "Simple Hardware-Efficient Long Convolutions for Sequence Modeling", 2023. The simplest global
layer: no state-space model, one convolution by the fast Fourier transform. It cannot see beyond
`max_length`, has a parameter for every tap (`C D max_length`, forty times those of S4D at a length of
4096), and a step reads the last `max_length` inputs.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from tacita.catalog.cards import method
from tacita.errors import ConfigError
from tacita.layers.base import Run, SequenceLayer, State
from tacita.layers.finite import convolve, remember
from tacita.processes import alike

Start = Literal["random", "double-exp"]
Smooth = Literal["none", "time", "frequency"]
SPREADS = {"random": 0.002, "double-exp": 0.02}
"""Deviation of the taps at the start, as in the authors' code."""
FEWEST = 0.01
"""The least share of taps that must be able to learn at the start."""


class FiniteConvolution(SequenceLayer):
    """`y = k * u + D u` in `channels` copies, with kernels of `max_length` taps.

    With one copy it is a convolution and nothing else. Several are joined as in the authors' code, by
    GELU, a linear map and a gated linear unit, and then no mixer of channels need follow.
    """

    time_invariant: bool = True
    max_length: int

    def __init__(self, d_model: int, channels: int, max_length: int) -> None:
        super().__init__()
        if d_model < 1 or channels < 1 or max_length < 1:
            raise ConfigError(
                f"d_model={d_model}, channels={channels} and max_length={max_length} must be "
                "positive."
            )
        self.d_model, self.channels, self.max_length = d_model, channels, max_length
        self.skip = nn.Parameter(torch.randn(channels, d_model))
        self.join = None
        if channels > 1:
            self.join = nn.Linear(channels * d_model, 2 * d_model)
            self.time_invariant, self.channel_mixer = False, "none"

    @abstractmethod
    def taps(self) -> Tensor:
        """`(C, D, max_length)`: the kernels as they are convolved with."""

    def mix(self, x: Tensor, run: Run) -> tuple[Tensor, State | None]:
        with torch.autocast(x.device.type, enabled=False):
            u = x.to(self.skip.dtype)
            memory = None if run.state is None else run.state["inputs"]
            y = self._join(convolve(u, self.taps(), memory) + self.skip * u[:, :, None])
            if not run.return_state:
                return y.to(x.dtype), None
            begun = run.state or self.initial_state(x.shape[0], device=x.device)
            return y.to(x.dtype), {"inputs": remember(begun["inputs"], u, run.lengths)}

    def zeros(self, batch_size: int, like: Tensor) -> State:
        return {"inputs": like.new_zeros(batch_size, self.max_length - 1, self.d_model)}

    def advance(self, x: Tensor, state: State, rate: float) -> tuple[Tensor, State]:
        y, after = self.mix(x[:, None], Run(state=state, return_state=True))
        assert after is not None
        return y[:, 0], after

    def _join(self, y: Tensor) -> Tensor:
        """`(..., C, D)` to `(..., D)`."""
        if self.join is None:
            return y.squeeze(-2)
        y = functional.gelu(y).flatten(-2).to(self.join.weight.dtype)
        return functional.glu(self.join(y))


@method(
    "long-conv",
    title="Long convolution with a thresholded kernel",
    paper="https://arxiv.org/abs/2302.06646",
    year=2023,
    family="layer",
    needs=("steps",),
    summary="Mixes time by a free kernel as long as the sequence; the simplest global layer.",
    reuses=("fft_convolution",),
    claim="The threshold leaves 3% of the taps, but the kernel's spectrum is rougher and not smoother for "
    "it, and the accuracy lower, on the 200 long series of ACSF1: the claim fails here.",
)
class LongConv(FiniteConvolution):
    """Convolution with a learnt kernel whose small taps are squashed to zero.

    d_model: channels `D`.
    channels: kernels for each of them, `C`; 2 as in the paper.
    max_length: taps of a kernel, and so the longest sequence.
    threshold: by how much taps shrink towards zero, lambda; 0.003, the paper's for images and text.
        A tap that is below it at the start never learns: its gradient is zero for ever.
    kernel_dropout: share of taps dropped in training; 0.2.
    start: taps drawn from a normal distribution: `random`, all alike, or `double-exp`, decaying, each
        feature at its own rate, towards the past.
    smooth: what comes before the threshold: `time`, a moving average over `smooth_width` taps, or
        `frequency`, one over frequencies with Gaussian weights; the paper's recipe is `none`.

    Differs from the authors' code: the weights over frequencies add up to 1, there to some 2.5, so that the
    threshold means the same with and without; features are counted from 1 in the decays of `double-exp`,
    `(D / 2)^(i / D)`, there from 0; with one kernel a feature there are no GELU and no linear map after it;
    nothing is dropped out between these; the defaults are those of its long-range tasks, there one kernel
    and no dropout of taps; what sees both ways is two layers, there two kernels in one.

    Raises `ConfigError` where options make no sense, and where fewer than 1% of the taps would be
    above the threshold at the start.

    >>> layer = LongConv(4, max_length=16)
    >>> layer(torch.randn(2, 10, 4)).shape
    torch.Size([2, 10, 4])
    """

    tiny = {"max_length": 64}
    optimizer_hints = {"kernel": {"learning_rate": 1e-3, "weight_decay": 0.0}}

    def __init__(
        self,
        d_model: int,
        *,
        channels: int = 2,
        max_length: int = 1024,
        threshold: float = 0.003,
        kernel_dropout: float = 0.2,
        start: Start = "random",
        smooth: Smooth = "none",
        smooth_width: int = 7,
    ) -> None:
        super().__init__(d_model, channels, max_length)
        if threshold < 0 or not 0 <= kernel_dropout < 1:
            raise ConfigError(
                f"threshold={threshold} must not be negative, and kernel_dropout={kernel_dropout} "
                "must be from 0 up to 1.",
                remedy="The paper's values are 0.001 to 0.004, and 0.1 to 0.3.",
            )
        if smooth not in ("none", "time", "frequency") or smooth_width < 1 or smooth_width % 2 == 0:
            raise ConfigError(
                f"smooth={smooth!r} with smooth_width={smooth_width} is unknown.",
                remedy="Known: none, time, frequency, with an odd width.",
            )
        self.threshold, self.kernel_dropout = threshold, kernel_dropout
        self.smooth, self.smooth_width = smooth, smooth_width
        self.kernel = nn.Parameter(starting_kernel(start, channels, d_model, max_length))
        active = self.active_fraction()
        if active < FEWEST:
            raise ConfigError(
                f"threshold={threshold} leaves {active:.2%} of the kernel's taps, and those below "
                "it can never learn.",
                remedy="Choose a threshold up to 1.5 times the deviation of the taps: 0.003 for "
                "the start 'random', and none with smooth='time'.",
            )

    def squashed(self) -> Tensor:
        """`(C, D, max_length)`: the kernels without dropout."""
        kernel: Tensor = self.kernel
        if self.smooth == "time":
            kernel = moving_average(kernel, self.smooth_width)
        elif self.smooth == "frequency":
            kernel = smooth_spectrum(kernel, self.smooth_width)
        return squash(kernel, self.threshold)

    def taps(self) -> Tensor:
        # One draw for all samples: not `functional.dropout`, which several processes share by samples.
        with alike(self.kernel.device):
            return torch.dropout(self.squashed(), self.kernel_dropout, self.training)

    @torch.no_grad()
    def active_fraction(self) -> float:
        """The share of taps that are not zero, and so can learn; small means a dead layer."""
        return float((self.squashed() != 0).double().mean())


def squash(kernel: Tensor, threshold: float) -> Tensor:
    """Soft threshold, `sign(k) max(|k| - threshold, 0)`: most taps of a small kernel become zero.

    >>> squash(torch.tensor([-1.2, 0.3, 0.5, 0.9]), 0.5)
    tensor([-0.7000,  0.0000,  0.0000,  0.4000])
    """
    return functional.softshrink(kernel, threshold)


def moving_average(kernel: Tensor, width: int) -> Tensor:
    """Each tap of `(..., K)` the mean of an odd `width` of taps around it, zeros beyond the ends.

    >>> moving_average(torch.tensor([[[3.0, 0.0, 6.0]]]), 3)
    tensor([[[1., 3., 2.]]])
    """
    return _filter(kernel, kernel.new_full((width,), 1 / width))


def smooth_spectrum(kernel: Tensor, width: int) -> Tensor:
    """`(..., K)` whose spectrum is averaged over `width` frequencies with weights `e^(-j^2 / 2)`.

    >>> kernel = torch.zeros(1, 1, 8).index_fill(2, torch.tensor([0]), 1.0)
    >>> bool((smooth_spectrum(kernel, 1) - kernel).abs().max() < 1e-6)
    True
    """
    steps = torch.arange(width, dtype=kernel.dtype, device=kernel.device) - width // 2
    weights = (-steps.square() / 2).exp()
    spectrum = torch.fft.rfft(kernel)
    real, imaginary = (
        _filter(part, weights / weights.sum()) for part in (spectrum.real, spectrum.imag)
    )
    return torch.fft.irfft(torch.complex(real, imaginary), kernel.shape[-1])


def _filter(x: Tensor, weights: Tensor) -> Tensor:
    """The symmetric `weights (odd)` along the last axis of `x (..., K)`, zeros beyond the ends."""
    rows = x.reshape(-1, 1, x.shape[-1])
    return functional.conv1d(rows, weights[None, None], padding=len(weights) // 2).view_as(x)


def starting_kernel(start: str, channels: int, d_model: int, length: int) -> Tensor:
    """`(C, D, K)` taps at the start. Raises `ConfigError` for an unknown name.

    >>> starting_kernel("double-exp", 2, 4, 16).shape
    torch.Size([2, 4, 16])
    """
    if start not in SPREADS:
        raise ConfigError(f"start={start!r} is unknown.", remedy=f"Known: {', '.join(SPREADS)}.")
    kernel = torch.randn(channels, d_model, length) * SPREADS[start]
    if start == "random":
        return kernel
    # From nearly e^{-t}, t over the whole kernel, for the first feature to e^{-t D / 2} for the last.
    rates = torch.logspace(0, math.log10(max(d_model / 2, 1)), d_model + 1)[1:]
    return kernel * (-rates[:, None] * torch.arange(length) / length).exp()
