"""From values to spikes: how a series is written so that neurons can read it.

Every code gives the same spikes for the same values, whatever else is in the batch. Values are those of a
normalised series, of mean 0 and deviation 1. On the way back gradients stand in for the jumps.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Literal

import torch
from torch import Tensor, nn

from tacita.errors import ConfigError
from tacita.kernels.spiking.reference import arctan_spike
from tacita.layers.base import State

Code = Literal["delta", "latency", "rate", "direct"]

SURROGATE = 5.0
"""How steep the surrogate of a comparison is; that of the neurons."""


class SpikeCode(nn.Module, ABC):
    """`(B, L, C)` values to `(B, L * window, channels)` spikes."""

    window: int = 1
    """Steps of the network that a value takes."""
    channels: int

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """All steps at once."""

    def initial_state(self, batch_size: int) -> State:
        """What has to be kept from step to step."""
        return {}

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """One value: `(B, C)` to `(B, window, channels)`."""
        return self(x[:, None]), state


class DeltaCode(SpikeCode):
    """Spikes where a value moves: one a level that it passes, upwards ON and downwards OFF, from 0 on.

    What has been passed adds up to the value, to half a level, so nothing is lost but what is finer. A value
    that rests is silent.

    >>> DeltaCode(1, 0.5)(torch.tensor([[[1.1], [1.1], [0.4]]]))[0].T.int()
    tensor([[2, 0, 0],
            [0, 0, 1]], dtype=torch.int32)
    """

    def __init__(self, channels: int, level: float) -> None:
        super().__init__()
        self.level = level
        self.source = channels
        self.channels = 2 * channels

    def forward(self, x: Tensor) -> Tensor:
        levels = self._levels(x)
        return self._spikes(levels.diff(dim=1, prepend=torch.zeros_like(levels[:, :1])))

    def initial_state(self, batch_size: int) -> State:
        return {"level": torch.zeros(batch_size, self.source)}

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        levels = self._levels(x)
        return self._spikes(levels - state["level"].to(levels))[:, None], {"level": levels}

    def _levels(self, x: Tensor) -> Tensor:
        exact = x / self.level
        return exact + (exact.round() - exact).detach()

    def _spikes(self, passed: Tensor) -> Tensor:
        return torch.cat([passed.relu(), (-passed).relu()], -1)


class LatencyCode(SpikeCode):
    """One spike a value: the larger, the earlier in its window, by its quantile among normal numbers.

    >>> LatencyCode(1, 4)(torch.tensor([[[2.0], [-2.0]]])).view(2, 4).int()
    tensor([[1, 0, 0, 0],
            [0, 0, 0, 1]], dtype=torch.int32)
    """

    def __init__(self, channels: int, window: int) -> None:
        super().__init__()
        self.window, self.channels = window, channels

    def forward(self, x: Tensor) -> Tensor:
        # By the end of the step w all values above 1 - (w + 1) / window have fired.
        floors = 1 - torch.arange(1, self.window + 1, device=x.device) / self.window
        fired = arctan_spike(
            torch.special.ndtr(x)[:, :, None] - floors[:, None].to(x), 0.0, SURROGATE
        )
        return fired.diff(dim=2, prepend=torch.zeros_like(fired[:, :, :1])).flatten(1, 2)


class RateCode(SpikeCode):
    """The larger a value, the more spikes in its window: its quantile times the window, rounded.

    Which of the steps have them is drawn once for each channel, from a fixed seed.

    >>> RateCode(1, 4)(torch.tensor([[[2.0], [0.0], [-2.0]]])).view(3, 4).sum(1)
    tensor([4., 2., 0.])
    """

    thresholds: Tensor

    def __init__(self, channels: int, window: int) -> None:
        super().__init__()
        self.window, self.channels = window, channels
        order = torch.rand(window, channels, generator=torch.Generator().manual_seed(0)).argsort(0)
        self.register_buffer("thresholds", (order + 0.5) / window, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        above = torch.special.ndtr(x)[:, :, None] - self.thresholds.to(x)
        return arctan_spike(above, 0.0, SURROGATE).flatten(1, 2)


class DirectCode(SpikeCode):
    """Values as currents into the first synapses, as the paper does with mel bands: no spikes at all."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        return x


def make_code(code: Code, channels: int, *, level: float, window: int) -> SpikeCode:
    """A code by its name; raises `ConfigError` for an unknown one, and for sizes that cannot be."""
    if not (0 < level < math.inf and window >= 1):
        raise ConfigError(
            f"level={level} and window={window} must be positive.",
            remedy="The defaults are 0.5 and 8.",
        )
    if code == "delta":
        return DeltaCode(channels, level)
    if code == "latency":
        return LatencyCode(channels, window)
    if code == "rate":
        return RateCode(channels, window)
    if code == "direct":
        return DirectCode(channels)
    raise ConfigError(f"code={code!r} is unknown.", remedy="Known: delta, latency, rate, direct.")
