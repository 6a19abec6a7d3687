"""Tasks that need memory, many at once as tensors: what matters is not in the present observation.

The memory-length task of bsuite (Osband et al., 2020), pole balancing that hides velocities (as in POPGym,
Morad et al., 2023), and the meta-task of Lu et al., 2023: the same inner task under observations and
actions that are scrambled anew in every episode, so that a policy has to find out how, within it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor

from tacita.errors import ConfigError


class Transition(NamedTuple):
    """What follows an action: `observation (E, O)`, `reward (E,)`, `ended (E,)` bool.

    Where an episode ended, the observation is the first one of the next.
    """

    observation: Tensor
    reward: Tensor
    ended: Tensor


class Environment(ABC):
    """`count` copies of a task that step together; each starts its next episode by itself.

    count: copies, `E`.
    seed: of all its randomness.

    >>> task = MemoryLength(2, length=1)
    >>> cue = task.start()[:, 2]
    >>> _ = task.step(torch.zeros(2, dtype=torch.long))
    >>> bool((task.step((cue > 0).long()).reward == 1).all())
    True
    """

    observation_size: int
    actions: int

    def __init__(self, count: int, *, seed: int = 0, device: str = "cpu") -> None:
        if count < 1:
            raise ConfigError(f"count={count} environments: there must be one at least.")
        self.count = count
        self.device = torch.device(device)
        self.generator = torch.Generator(self.device).manual_seed(seed)

    def start(self) -> Tensor:
        """Begin an episode in every copy, and return the first observations `(E, O)`."""
        self._begin(torch.ones(self.count, dtype=torch.bool, device=self.device))
        return self._observe()

    def step(self, action: Tensor) -> Transition:
        """Act, `(E,)` int64, and see what follows. Raises `ConfigError` for what is no action."""
        if action.shape != (self.count,) or action.is_floating_point():
            raise ConfigError(
                f"an action is {self.count} whole numbers, not {tuple(action.shape)} of {action.dtype}."
            )
        reward, ended = self._act(action)
        self._begin(ended)
        return Transition(self._observe(), reward, ended)

    def _uniform(self, *shape: int) -> Tensor:
        return torch.rand(*shape, generator=self.generator, device=self.device)

    @abstractmethod
    def _begin(self, which: Tensor) -> None:
        """Begin an episode in the copies of `which (E,)`."""

    @abstractmethod
    def _observe(self) -> Tensor:
        """`(E, O)` of the present."""

    @abstractmethod
    def _act(self, action: Tensor) -> tuple[Tensor, Tensor]:
        """The reward and whether the episode ended."""


class MemoryLength(Environment):
    """A cue at the first step has to be named `length` steps later; nothing between tells of it.

    Observations: the share of time that is left, whether it is time to answer, and the cue (-1 or 1) or
    0. Reward 1 for the right answer and -1 for the wrong one, so without memory the mean is 0.
    """

    observation_size = 3
    actions = 2

    def __init__(self, count: int, *, length: int = 10, seed: int = 0, device: str = "cpu") -> None:
        super().__init__(count, seed=seed, device=device)
        if length < 1:
            raise ConfigError(f"length={length} steps: there must be one at least.")
        self.length = length
        self.time = torch.zeros(count, dtype=torch.long, device=self.device)
        self.cue = torch.zeros(count, device=self.device)

    def _begin(self, which: Tensor) -> None:
        cue = (self._uniform(self.count) < 0.5).float() * 2 - 1
        self.cue = torch.where(which, cue, self.cue)
        self.time = torch.where(which, 0, self.time)

    def _observe(self) -> Tensor:
        left = 1 - self.time / self.length
        asked = (self.time == self.length).float()
        return torch.stack([left, asked, self.cue * (self.time == 0)], 1)

    def _act(self, action: Tensor) -> tuple[Tensor, Tensor]:
        ended = self.time == self.length
        right = (action.float() * 2 - 1) == self.cue
        self.time = self.time + 1
        return torch.where(ended, right.float() * 2 - 1, 0.0), ended


class HiddenVelocityPole(Environment):
    """A pole on a cart, of which only the positions are seen: how fast they change must be remembered.

    The dynamics of Barto, Sutton and Anderson, 1983, by Euler steps of 0.02 s. Observations: the cart's
    position and the pole's angle, as shares of where they end an episode. Reward `1 / limit` a step, so
    that a perfect episode has return 1.
    """

    observation_size = 2
    actions = 2
    edge, tilt = 2.4, 12 * 2 * torch.pi / 360
    gravity, pole_mass, total_mass, half_length, force, pause = 9.8, 0.1, 1.1, 0.5, 10.0, 0.02

    def __init__(self, count: int, *, limit: int = 200, seed: int = 0, device: str = "cpu") -> None:
        super().__init__(count, seed=seed, device=device)
        if limit < 1:
            raise ConfigError(f"limit={limit} steps: there must be one at least.")
        self.limit = limit
        self.time = torch.zeros(count, dtype=torch.long, device=self.device)
        self.physics = torch.zeros(count, 4, device=self.device)
        """`(E, 4)`: position, its velocity, angle, its velocity."""

    def _begin(self, which: Tensor) -> None:
        fresh = self._uniform(self.count, 4) * 0.1 - 0.05
        self.physics = torch.where(which[:, None], fresh, self.physics)
        self.time = torch.where(which, 0, self.time)

    def _observe(self) -> Tensor:
        return self.physics[:, [0, 2]] / self.physics.new_tensor([self.edge, self.tilt])

    def _act(self, action: Tensor) -> tuple[Tensor, Tensor]:
        self.physics = self.moved(self.physics, action)
        self.time = self.time + 1
        fallen = (self.physics[:, 0].abs() > self.edge) | (self.physics[:, 2].abs() > self.tilt)
        reward = torch.full((self.count,), 1 / self.limit, device=self.device)
        return reward, fallen | (self.time >= self.limit)

    def moved(self, physics: Tensor, action: Tensor) -> Tensor:
        """`(E, 4)` one step later, pushed left by action 0 and right by action 1."""
        _, x_speed, angle, angle_speed = physics.unbind(1)
        push = torch.where(action > 0, self.force, -self.force)
        swing = self.pole_mass * self.half_length
        common = (push + swing * angle_speed.square() * angle.sin()) / self.total_mass
        turn = (self.gravity * angle.sin() - angle.cos() * common) / (
            self.half_length * (4 / 3 - self.pole_mass * angle.cos().square() / self.total_mass)
        )
        slide = common - swing * turn * angle.cos() / self.total_mass
        speeds = torch.stack([x_speed, slide, angle_speed, turn], 1)
        return physics + self.pause * speeds


class Scrambled(Environment):
    """An inner task whose observations and actions are scrambled, anew in every episode.

    An episode is `trials` episodes of the inner task under one random projection of the observations
    (orthonormal columns times sqrt 2) and one random order of the actions. Observations: the projected
    ones, and whether the last trial just ended.

    inner: the task; its episodes follow each other by themselves.
    size: length of the projected observation.

    Differs from the paper: a trial's start state is drawn anew; actions are permuted, as they are
    discrete here.
    """

    def __init__(
        self, inner: Environment, *, size: int = 8, trials: int = 4, seed: int = 0
    ) -> None:
        super().__init__(inner.count, seed=seed, device=str(inner.device))
        if size < inner.observation_size or trials < 1:
            raise ConfigError(
                f"size={size} must be {inner.observation_size} or more, and trials={trials} positive."
            )
        self.inner, self.size, self.trials = inner, size, trials
        self.observation_size, self.actions = size + 1, inner.actions
        self.trial = torch.zeros(self.count, dtype=torch.long, device=self.device)
        self.just_ended = torch.zeros(self.count, device=self.device)
        self.projection = torch.zeros(self.count, size, inner.observation_size, device=self.device)
        self.order = torch.zeros(self.count, self.actions, dtype=torch.long, device=self.device)
        self.seen = torch.zeros(self.count, inner.observation_size, device=self.device)

    def start(self) -> Tensor:
        self.seen = self.inner.start()
        return super().start()

    def _begin(self, which: Tensor) -> None:
        shape = (self.count, self.size, self.inner.observation_size)
        normal = torch.randn(*shape, generator=self.generator, device=self.device)
        fresh = 2**0.5 * torch.linalg.qr(normal)[0]
        order = self._uniform(self.count, self.actions).argsort(1)
        self.projection = torch.where(which[:, None, None], fresh, self.projection)
        self.order = torch.where(which[:, None], order, self.order)
        self.trial = torch.where(which, 0, self.trial)
        self.just_ended = torch.where(which, 0.0, self.just_ended)

    def _observe(self) -> Tensor:
        projected = (self.projection @ self.seen[:, :, None])[:, :, 0]
        return torch.cat([projected, self.just_ended[:, None]], 1)

    def _act(self, action: Tensor) -> tuple[Tensor, Tensor]:
        meant = self.order.gather(1, action[:, None])[:, 0]
        self.seen, reward, ended = self.inner.step(meant)
        self.trial = self.trial + ended
        self.just_ended = ended.float()
        return reward / self.trials, self.trial >= self.trials
