"""Hyena: attention's reach by long convolutions with gates between them, no softmax, no state.

Poli et al., "Hyena Hierarchy: Towards Larger Convolutional Language Models", 2023. The kernels are the
output of a small network of the lag, so that their size does not grow with the length; what the
gates multiply in depends on the input. For tokens and recall at `L log L` work in parallel; a step
computes the kernels anew and reads the last `max_length` inputs, so it is no layer to stream with.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from tacita.catalog.cards import method
from tacita.errors import ConfigError
from tacita.layers.base import Run, SequenceLayer, State
from tacita.layers.finite import convolve, remember
from tacita.layers.precision import SinglePrecision

SHORT = 3
"""Taps of the short convolution."""
WAVE = 10.0
"""Frequency that the sine activations start with."""
FAST, SLOW, LEFT = 0.3, 1.5, 0.01
"""A kernel decays to `LEFT` over `FAST` of the length in the last channel, over `SLOW` in the first."""


class LagNetwork(SinglePrecision):
    """Kernels as a function of the lag: an MLP with sines of its position, times an exponential window.

    Shapes: `(order, D, K)` from `forward()`.

    >>> LagNetwork(4, order=2, taps=16, width=8, bands=2)().shape
    torch.Size([2, 4, 16])
    """

    position: Tensor
    window: Tensor

    def __init__(self, d_model: int, *, order: int, taps: int, width: int, bands: int) -> None:
        super().__init__()
        self.order = order
        time = torch.linspace(0, 1, taps)[:, None]
        phase = (
            2
            * math.pi
            * torch.arange(taps)[:, None]
            / taps
            * torch.linspace(1e-4, bands - 1, bands)
        )
        self.register_buffer("position", torch.cat([time, phase.cos(), -phase.sin()], 1))
        rates = -math.log(LEFT) * torch.linspace(1 / SLOW, 1 / FAST, d_model)
        self.register_buffer("window", (-rates[:, None] * time.T).exp())  # (D, K)
        widths = [1 + 2 * bands, width, width, width]
        self.layers = nn.ModuleList(SlowLinear(a, b) for a, b in pairwise(widths))
        self.last = SlowLinear(width, order * d_model, bias=False)
        self.frequency = nn.Parameter(torch.full((width,), WAVE))
        self.optimizer_hints = {"frequency": {"learning_rate": 1e-3, "weight_decay": 0.0}}

    def forward(self) -> Tensor:
        with torch.autocast(self.position.device.type, enabled=False):
            hidden = self.position
            for layer in self.layers:
                hidden = (self.frequency * layer(hidden)).sin()
            kernels = self.last(hidden).T.unflatten(0, (self.order, -1))
            return kernels * self.window


class SlowLinear(SinglePrecision, nn.Linear):
    """A linear map of a kernel's network: a rate of at most 1e-3, no weight decay.

    >>> sorted(SlowLinear(2, 3).optimizer_hints)
    ['bias', 'weight']
    """

    def __init__(self, inputs: int, outputs: int, bias: bool = True) -> None:
        super().__init__(inputs, outputs, bias=bias)
        slow = {"learning_rate": 1e-3, "weight_decay": 0.0}
        self.optimizer_hints = {name: slow for name, _ in self.named_parameters()}


@method(
    "hyena",
    title="Hyena operator",
    paper="https://arxiv.org/abs/2302.10866",
    year=2023,
    family="layer",
    needs=("steps",),
    summary="Gated long convolutions with kernels made by a small network; content at L log L work.",
    reuses=("fft_convolution",),
)
class Hyena(SequenceLayer):
    """`z = v`; for each order `i`, `z = x_i (h_i * z + b_i z)`; a linear map of the last `z`.

    `v` and the gates `x_i` are linear maps of the input through a short convolution of 3 taps.

    d_model: channels `D`.
    order: number of gates and long convolutions; 2.
    max_length: taps of a kernel, and so the longest sequence.
    filter_width: width of the kernels' network; 64.
    bands: frequencies that a lag is described by; 16.

    Raises `ConfigError` for numbers that are not positive. Differs from the paper's code: `order` long
    convolutions, as the paper's equation 5 says, where the code has one less; the description of lags and
    the windows do not learn.

    >>> layer = Hyena(4, max_length=16)
    >>> layer(torch.randn(2, 10, 4)).shape
    torch.Size([2, 10, 4])
    """

    tiny = {"max_length": 64}
    channel_mixer = "mlp"
    max_length: int

    def __init__(
        self,
        d_model: int,
        *,
        order: int = 2,
        max_length: int = 1024,
        filter_width: int = 64,
        bands: int = 16,
    ) -> None:
        super().__init__()
        if min(d_model, order, max_length, filter_width, bands) < 1:
            raise ConfigError(
                f"d_model={d_model}, order={order}, max_length={max_length}, "
                f"filter_width={filter_width} and bands={bands} must be positive."
            )
        self.d_model, self.order, self.max_length = d_model, order, max_length
        width = (order + 1) * d_model
        self.enter = nn.Linear(d_model, width)
        self.short = nn.Conv1d(width, width, SHORT, groups=width)
        self.filters = LagNetwork(
            d_model, order=order, taps=max_length, width=filter_width, bands=bands
        )
        self.bias = nn.Parameter(torch.randn(order, d_model))
        self.optimizer_hints = {"bias": {"learning_rate": 1e-3, "weight_decay": 0.0}}
        self.out = nn.Linear(d_model, d_model)

    def mix(self, x: Tensor, run: Run) -> tuple[Tensor, State | None]:
        begun = run.state
        if begun is None and run.return_state:
            begun = self.initial_state(x.shape[0], device=x.device)
        projected = self.enter(x.to(self.enter.weight.dtype))
        past = projected.new_zeros(x.shape[0], SHORT - 1, projected.shape[2])
        if run.state is not None:
            past = run.state["short"].to(projected.dtype)
        near = self.short(torch.cat([past, projected], 1).mT).mT
        *gates, z = near.chunk(self.order + 1, -1)
        after: State = {}
        if begun is not None:
            after["short"] = remember(begun["short"], projected, run.lengths)
        for number, (gate, kernel) in enumerate(zip(gates, self.filters(), strict=True)):
            name = f"long{number}"
            if begun is not None:
                after[name] = remember(begun[name], z, run.lengths)
            memory = None if run.state is None else run.state[name]
            z = gate * (convolve(z.to(kernel.dtype), kernel, memory) + self.bias[number] * z)
        return self.out(z.to(self.out.weight.dtype)).to(
            x.dtype
        ), after if run.return_state else None

    def zeros(self, batch_size: int, like: Tensor) -> State:
        width = (self.order + 1) * self.d_model
        state = {"short": like.new_zeros(batch_size, SHORT - 1, width)}
        for number in range(self.order):
            state[f"long{number}"] = like.new_zeros(batch_size, self.max_length - 1, self.d_model)
        return state

    def advance(self, x: Tensor, state: State, rate: float) -> tuple[Tensor, State]:
        y, after = self.mix(x[:, None], Run(state=state, return_state=True))
        assert after is not None
        return y[:, 0], after
