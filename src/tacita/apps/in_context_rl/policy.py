"""An actor and a critic on one stack of sequence layers, whose memory is erased between episodes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from tacita import layers
from tacita.catalog.signature import check_arguments, parameters
from tacita.layers.base import State
from tacita.layers.stack import Block, Stack


class ActorCritic(nn.Module):
    """Two dense layers, a stack of sequence layers, and a small network each for actor and critic.

    layer: the sequence layer by name, or None for a policy without memory.

    Inputs are `(..., inputs)`: the observation, the last action, and whether an episode starts.
    """

    def __init__(
        self,
        inputs: int,
        actions: int,
        *,
        layer: str | None,
        d_model: int,
        depth: int,
        layer_options: Mapping[str, Any],
    ) -> None:
        super().__init__()
        self.enter = nn.Sequential(
            _dense(inputs, d_model, 2**0.5),
            nn.LeakyReLU(),
            _dense(d_model, d_model, 2**0.5),
            nn.LeakyReLU(),
        )
        self.stack: Stack | None = None
        if layer is not None:
            cls = layers.get(layer)
            options = check_arguments(layer, parameters(layer), dict(layer_options))
            self.stack = Stack([Block(cls(d_model, **options), norm="none") for _ in range(depth)])
        self.actor = nn.Sequential(
            _dense(d_model, d_model, 2.0), nn.LeakyReLU(), _dense(d_model, actions, 0.01)
        )
        self.critic = nn.Sequential(
            _dense(d_model, d_model, 2.0), nn.LeakyReLU(), _dense(d_model, 1, 1.0)
        )

    def initial_state(self, count: int) -> State:
        """The memory before an episode."""
        return {} if self.stack is None else self.stack.initial_state(count)

    def step(self, x: Tensor, state: State, starts: Tensor) -> tuple[Tensor, Tensor, State]:
        """`(E, inputs)` of one moment to logits `(E, A)`, values `(E,)` and the memory after it."""
        features = self.enter(x)
        if self.stack is not None:
            features, state = self.stack.step(features, state, reset=starts)
        return self.actor(features), self.critic(features)[:, 0], state

    def forward(self, x: Tensor, state: State, starts: Tensor) -> tuple[Tensor, Tensor]:
        """`(E, T, inputs)` of a whole rollout at once; where `starts (E, T)`, memory is erased."""
        features = self.enter(x)
        if self.stack is not None:
            features = self.stack(features, state=state, resets=starts)
        return self.actor(features), self.critic(features)[..., 0]


def _dense(inputs: int, outputs: int, gain: float) -> nn.Linear:
    dense = nn.Linear(inputs, outputs)
    nn.init.orthogonal_(dense.weight, gain)
    nn.init.zeros_(dense.bias)
    return dense
