"""Synapses with a weight and a delay each: a dilated convolution over time with learnable spacings.

Khalfaoui-Hassani et al., "Dilated Convolution with Learnable Spacings", ICLR 2023, in one dimension and
with Gaussians, as Hammouamri et al., 2024 take it. In training a synapse is a bump over the
delays, whose width falls; in evaluation it is the one delay nearest to its middle.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from tacita.errors import ConfigError
from tacita.layers.base import State
from tacita.layers.precision import SinglePrecision
from tacita.parts.following import FollowsTraining

Delays = Literal["learned", "fixed"]

NARROWEST = 0.23
"""Sigma at the end of its schedule: with `WIDENING` a standard deviation of half a step."""
WIDENING = 0.27
"""What the authors' Gaussian adds to sigma, so that the bump never falls between two steps."""
FALLING = 0.25
"""The share of training in which sigma falls."""


class DelayedLinear(FollowsTraining, SinglePrecision):
    """`(B, T, I)` spikes to `(B, T + longest / 2, O)` currents, `sum_j w_ij s_j[t - d_ij]` (equation 6).

    longest: the longest delay in steps, an even number; 0 for none.
    delays: whether delays are learned, or stay what they are drawn as.
    whole_from: the share of training after which delays are whole on the way forward, and learn by the
        gradient of their bumps; 1 for never, as in the paper.

    A delay is `longest / 2 - position`. The output is longer, so that late spikes still arrive. Raises
    `ConfigError` for an unknown kind of delays and a share that is none.

    >>> layer = DelayedLinear(3, 2, longest=4).eval()
    >>> layer(torch.ones(1, 10, 3)).shape
    torch.Size([1, 12, 2])
    """

    sigma: Tensor
    whole: Tensor

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        longest: int,
        delays: Delays = "learned",
        whole_from: float = 0.5,
    ) -> None:
        super().__init__()
        if delays not in ("learned", "fixed"):
            raise ConfigError(f"delays={delays!r} is unknown.", remedy="Known: learned, fixed.")
        if not 0 <= whole_from <= 1:
            raise ConfigError(
                f"whole_from={whole_from} is no share.",
                remedy="The default is 0.5; the paper has 1.",
            )
        self.longest, self.learned = longest, delays == "learned" and longest > 0
        self.weight = nn.Parameter(torch.empty(outputs, inputs))
        nn.init.kaiming_uniform_(self.weight, nonlinearity="relu")  # of as many inputs as synapses
        half = longest // 2
        position = (
            torch.empty(outputs, inputs).uniform_(-half - 0.5, half + 0.5).clamp_(-half, half)
        )
        self.position: Tensor
        if self.learned:
            self.position = nn.Parameter(position)
            # Positions are counted in steps, of which there are many: 100 times the rate of weights.
            self.optimizer_hints = {
                "position": {"learning_rate_factor": 100.0, "weight_decay": 0.0}
            }
        else:
            self.register_buffer("position", position.round())
        self.register_buffer("sigma", torch.tensor(float(half)))
        self.register_buffer("whole", torch.tensor(0.0))
        self.widest, self.steps, self.whole_from = float(half), 0, whole_from

    @property
    def tail(self) -> int:
        """How many steps the output is longer than the input."""
        return self.longest // 2

    @property
    def delay(self) -> Tensor:
        """`(O, I)` whole numbers: the delays of evaluation, `d = K - 1 - (P + K // 2)` for `K` taps."""
        return (self.tail - self.position.detach()).round().long().clamp(0, self.longest)

    def start(self, steps: int) -> None:
        """Sigma will fall from what it is, so that a second training does not blur what the first found.

        Nor are delays that are whole already anything else again.
        """
        self.widest, self.steps = float(self.sigma), steps

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        """Positions are held within the kernel here, since a clamp on the way would have no gradient."""
        if not self.learned:
            return
        self.position.clamp_(-self.tail, self.tail)
        if self.steps:
            self.sigma.clamp_(max=sigma_at(step + 1, self.steps, self.widest))
            if step + 1 > self.whole_from * self.steps:
                self.whole.fill_(1.0)

    def taps(self) -> Tensor:
        """`(O, I, K)`: what an input's spike of 0 to `longest` steps ago adds, the oldest first."""
        single = single_taps(self.weight, self.delay, self.longest)
        if not (self.training and self.learned):
            return single
        bumps = gaussian_taps(self.weight, self.position, self.sigma, self.longest)
        return bumps + self.whole * (single - bumps).detach()

    def forward(self, spikes: Tensor) -> Tensor:
        # An image of one row in the layout of channels last: neither side is laid out anew.
        padded = functional.pad(spikes, (0, 0, self.longest, self.tail))
        taps = self.taps().to(spikes.dtype)[:, :, None]
        row = functional.conv2d(padded.transpose(1, 2).unsqueeze(2), taps)
        return row.squeeze(2).transpose(1, 2)

    def pending(self, batch_size: int) -> State:
        """The state before the first step: currents under way, in a ring, and where the ring begins."""
        ring = self.weight.new_zeros(batch_size, self.longest + 1, len(self.weight))
        return {
            "pending": ring,
            "clock": torch.zeros(batch_size, dtype=torch.int64, device=ring.device),
        }

    def advance(self, spikes: Tensor, state: State) -> tuple[Tensor, State]:
        """One step in evaluation's delays, event by event: `(B, I)` to `(B, O)`.

        A spike adds its weights to the places of the ring where they fall due: work in proportion to the
        spikes, whatever the longest delay.
        """
        pending, clock = state["pending"], state["clock"]
        size, outputs = pending.shape[1:]
        rows, inputs = spikes.nonzero(as_tuple=True)  # one event each
        due = (clock[rows, None] + self.delay[:, inputs].T) % size  # (events, O)
        sent = spikes[rows, inputs, None] * self.weight[:, inputs].T
        targets = torch.arange(outputs, device=pending.device)
        pending = pending.index_put((rows[:, None], due, targets), sent, accumulate=True)
        every = torch.arange(len(pending), device=pending.device)
        current = pending[every, clock % size]
        pending = pending.index_put((every, clock % size), torch.zeros_like(current))
        return current, {"pending": pending, "clock": clock + 1}


def gaussian_taps(weight: Tensor, position: Tensor, sigma: Tensor, longest: int) -> Tensor:
    """`(O, I, K)`: Gaussians around `position + K // 2`, each with the sum `weight`.

    >>> one = torch.ones(1, 1)
    >>> gaussian_taps(one, 0 * one, torch.tensor(0.23), 4).round(decimals=2).flatten()
    tensor([0.0000, 0.1100, 0.7900, 0.1100, 0.0000])
    """
    places = torch.arange(longest + 1, device=weight.device, dtype=weight.dtype)
    away = (places - position[:, :, None] - longest // 2) / (sigma.to(weight) + WIDENING)
    bump = torch.exp(-0.5 * away * away)
    return weight[:, :, None] * (bump / (bump.sum(2, keepdim=True) + 1e-7))


def single_taps(weight: Tensor, delay: Tensor, longest: int) -> Tensor:
    """`(O, I, K)`: each weight at its delay alone, the longest delay first.

    >>> single_taps(torch.tensor([[2.0]]), torch.tensor([[1]]), 2).flatten()
    tensor([0., 2., 0.])
    """
    empty = weight.new_zeros(*weight.shape, longest + 1)
    return empty.scatter(2, (longest - delay)[:, :, None], weight[:, :, None])


def sigma_at(step: int, steps: int, widest: float) -> float:
    """Sigma after so many of all steps: by one factor a step to `NARROWEST` at a quarter, then constant.

    >>> [round(sigma_at(step, 100, 12.0), 2) for step in (0, 12, 25, 99)]
    [12.0, 1.8, 0.23, 0.23]
    """
    if widest <= NARROWEST:
        return widest
    share = min(1.0, step / (FALLING * steps))
    return float(widest * (NARROWEST / widest) ** share)
