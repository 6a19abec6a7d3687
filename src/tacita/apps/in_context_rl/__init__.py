"""In-context reinforcement learning: a policy with a long memory learns within an episode.

Lu et al., "Structured State Space Models for In-Context Reinforcement Learning", NeurIPS 2023. A rollout
holds many episodes; a state-space layer whose scan erases its state where one starts is trained on the
whole rollout in parallel, which a convolution or plain attention cannot and a recurrent network does
step by step. Trained by proximal policy optimisation (Schulman et al., 2017).

`environments.py` has the tasks, `policy.py` the network, this file the training.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from tacita.apps.base import App
from tacita.apps.in_context_rl.environments import Environment
from tacita.apps.in_context_rl.policy import ActorCritic
from tacita.catalog.cards import method
from tacita.engine.optimizer import build_optimizer
from tacita.errors import ConfigError
from tacita.kernels import linear_scan
from tacita.layers.base import State

__all__ = ["InContextRL", "Update"]

WIDEST = 2**20
"""Of what a file may say a policy is as wide as."""


@dataclass(frozen=True)
class Update:
    """What one update saw and did; `mean_return` is that of the episodes which ended, NaN if none."""

    number: int
    steps: int
    """Steps of all environments so far."""
    mean_return: float
    policy_loss: float
    value_loss: float
    entropy: float


@dataclass(frozen=True)
class Rollout:
    """`T` steps of `E` environments; all tensors `(E, T, ...)`, `state` is the memory before them."""

    x: Tensor
    action: Tensor
    log_probability: Tensor
    value: Tensor
    starts: Tensor
    advantage: Tensor
    state: State
    returns: list[float]
    """Of the episodes that ended within it."""


@method(
    "in-context-rl",
    title="In-context reinforcement learning with resettable state-space layers",
    paper="https://arxiv.org/abs/2303.03982",
    year=2023,
    family="app",
    modalities=("series",),
    summary="Trains a policy with memory for tasks that show only a part of what matters.",
    reuses=("s5", "linear_scan", "stack"),
    claim="A policy of S5 layers learns to recall a cue 30 steps later in 8 of 10 seeds, where every one "
    "was asked; one with a GRU in 7 within the same updates, one without memory never. Poles it balances "
    "in all.",
)
class InContextRL(App):
    """Proximal policy optimisation over whole rollouts, with episodes cut inside the layer.

    layer: the memory, by the name of any sequence layer with resets; None for none.
    d_model, depth: width and number of its blocks; the paper has 256 and 4.
    layer_options: arguments of the layer.
    rollout: steps of each environment before an update; the paper has 1,024.
    epochs: how often an update goes over its rollout; the paper has 30.
    minibatches: parts of a rollout, by environments, since sequences stay whole; the paper has 8.
    learning_rate: constant, of Adam; the paper has 5e-5 for 15 million steps.
    discount, trace: of the advantages (generalised advantage estimation); the paper has 0.99 and 1.
    clip: of the ratio of probabilities and of the change in value.
    entropy_weight: of the bonus for staying undecided; the paper has 0.
    seed: of the weights, the actions and the minibatches.

    After `fit`: `policy_`, and `history_`, an `Update` each.

    Differs from the paper: a smaller network and fewer, larger steps by default; discrete actions only.

    >>> from tacita.apps.in_context_rl.environments import MemoryLength
    >>> agent = InContextRL(layer="gru", d_model=16, depth=1, rollout=8)
    >>> agent.fit(environment=MemoryLength(8, length=3), updates=2).history_[-1].steps
    128
    """

    policy_: ActorCritic
    history_: list[Update]

    def __init__(
        self,
        *,
        layer: str | None = "s5",
        d_model: int = 64,
        depth: int = 2,
        layer_options: Mapping[str, Any] | None = None,
        rollout: int = 128,
        epochs: int = 4,
        minibatches: int = 4,
        learning_rate: float = 1e-3,
        discount: float = 0.99,
        trace: float = 1.0,
        clip: float = 0.2,
        entropy_weight: float = 0.01,
        seed: int = 0,
    ) -> None:
        if rollout < 1 or epochs < 1 or minibatches < 1:
            raise ConfigError(
                f"rollout={rollout}, epochs={epochs} and minibatches={minibatches} must be positive."
            )
        if not (0 <= discount <= 1 and 0 <= trace <= 1):
            raise ConfigError(f"discount={discount} and trace={trace} must be from 0 to 1.")
        self.layer, self.d_model, self.depth = layer, d_model, depth
        self.layer_options = dict(layer_options or {})
        self.rollout, self.epochs, self.minibatches = rollout, epochs, minibatches
        self.learning_rate = learning_rate
        self.discount, self.trace, self.clip = discount, trace, clip
        self.entropy_weight = entropy_weight
        self.seed = seed

    def fit(
        self,
        *,
        environment: Environment,
        updates: int,
        callback: Callable[[Update], object] | None = None,
    ) -> Self:
        """Learn from the beginning; a callback is told after each update.

        environment: many copies of a task (`environments.py`, or your own subclass of `Environment`).

        Raises `ConfigError` for a layer without resets and for more minibatches than environments.
        """
        if self.minibatches > environment.count:
            raise ConfigError(
                f"minibatches={self.minibatches} of {environment.count} environments.",
                remedy="Sequences stay whole: give as many environments as minibatches, or more.",
            )
        self.environment = environment
        inputs = environment.observation_size + environment.actions + 1
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self.policy_ = self._policy(inputs, environment.actions).to(environment.device)
        self.optimizer = build_optimizer(self.policy_, "adamw", self.learning_rate, 0.0)
        self.generator = torch.Generator(environment.device).manual_seed(self.seed)
        self.history_ = []
        self._moment = self._first(environment)
        return self.go_on(updates, callback=callback)

    def go_on(self, updates: int, *, callback: Callable[[Update], object] | None = None) -> Self:
        """So many updates more, in the environment that `fit` was given."""
        for _ in range(updates):
            rollout = self._collect()
            losses = self._improve(rollout)
            number, ended = len(self.history_) + 1, rollout.returns
            update = Update(
                number,
                number * self.rollout * self.environment.count,
                sum(ended) / len(ended) if ended else float("nan"),
                *losses,
            )
            self.history_.append(update)
            if callback is not None:
                callback(update)
        return self

    def figures(self) -> dict[str, float]:
        """Those of the last update."""
        if not getattr(self, "history_", None):
            raise ConfigError("There was no update yet.", remedy="Call fit first.")
        last = self.history_[-1]
        return {
            "updates": last.number,
            "steps": last.steps,
            "mean return": last.mean_return,
            "policy loss": last.policy_loss,
            "value loss": last.value_loss,
            "entropy": last.entropy,
        }

    def modules(self) -> dict[str, nn.Module]:
        return {"policy": self.policy_} if hasattr(self, "policy_") else {}

    def rebuild(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        first, last = (
            shapes.get("policy/enter.0.weight", ()),
            shapes.get("policy/actor.2.weight", ()),
        )
        if not (len(first) == len(last) == 2 and max(*first, *last) <= WIDEST):
            raise ConfigError("the file holds no policy.", remedy="Give one that `save` wrote.")
        self.policy_ = self._policy(first[1], last[0])

    def evaluate(self, environment: Environment, episodes: int = 1) -> float:
        """Mean return in other environments, so many episodes of each, by the likeliest actions."""
        return float(self.predict(environment, episodes).mean() / episodes)

    @torch.no_grad()
    def predict(self, environment: Environment, episodes: int = 1) -> Tensor:
        """`(E,)`: the return of the first episodes in each of other environments, by the likeliest actions.

        Raises `ConfigError` before `fit`.
        """
        if not hasattr(self, "policy_"):
            raise ConfigError("There is no policy yet.", remedy="Call fit or load first.")
        moment = self._first(environment)
        counted = torch.zeros(environment.count, device=environment.device)
        total = torch.zeros_like(counted)
        while bool((counted < episodes).any()):
            logits, _, state = self.policy_.step(self._input(moment), moment.state, moment.starts)
            moment = self._next(environment, moment, logits.argmax(1), state, [])
            # The first episodes of each, not the first to end: these would be the short ones.
            total += torch.where(counted < episodes, moment.reward, 0.0)
            counted += moment.starts
        return total

    def _policy(self, inputs: int, actions: int) -> ActorCritic:
        policy = ActorCritic(
            inputs,
            actions,
            layer=self.layer,
            d_model=self.d_model,
            depth=self.depth,
            layer_options=self.layer_options,
        )
        if policy.stack is not None and not policy.stack.resettable:
            raise ConfigError(
                f"layer={self.layer!r} cannot erase its memory where an episode starts.",
                remedy="Choose one that can: s5, lru, mamba, s4d, attention, gru.",
            )
        return policy

    @torch.no_grad()
    def _collect(self) -> Rollout:
        """Act for `rollout` steps; the step form of the policy, one moment after another."""
        began, moment, returns = self._moment.state, self._moment, list[float]()
        steps = []
        for _ in range(self.rollout):
            x = self._input(moment)
            logits, value, state = self.policy_.step(x, moment.state, moment.starts)
            probabilities = logits.softmax(1)
            action = torch.multinomial(probabilities, 1, generator=self.generator)[:, 0]
            chosen = logits.log_softmax(1).gather(1, action[:, None])[:, 0]
            after = self._next(self.environment, moment, action, state, returns)
            steps.append((x, action, chosen, value, moment.starts, after.reward, after.starts))
            moment = after
        _, last, _ = self.policy_.step(self._input(moment), moment.state, moment.starts)
        self._moment = moment
        x, action, chosen, value, starts, reward, ended = (
            torch.stack(each, 1) for each in zip(*steps, strict=True)
        )
        advantage = advantages(reward, value, last, ended, self.discount, self.trace)
        return Rollout(x, action, chosen, value, starts, advantage, began, returns)

    def _improve(self, rollout: Rollout) -> tuple[float, float, float]:
        """Some epochs over the rollout in parts of whole sequences; the mean of each loss."""
        target = rollout.advantage + rollout.value
        sums = torch.zeros(3, device=target.device)
        for _ in range(self.epochs):
            order = torch.randperm(
                self.environment.count, generator=self.generator, device=target.device
            )
            for part in order.chunk(self.minibatches):
                state = {name: value[part] for name, value in rollout.state.items()}
                logits, value = self.policy_(rollout.x[part], state, rollout.starts[part])
                logs = logits.log_softmax(-1)
                ratio = logs.gather(2, rollout.action[part][..., None])[..., 0]
                ratio = (ratio - rollout.log_probability[part]).exp()
                advantage = rollout.advantage[part]
                advantage = (advantage - advantage.mean()) / (advantage.std(correction=0) + 1e-8)
                bounded = ratio.clamp(1 - self.clip, 1 + self.clip)
                policy_loss = -torch.minimum(ratio * advantage, bounded * advantage).mean()
                old = rollout.value[part]
                near = old + (value - old).clamp(-self.clip, self.clip)
                error = torch.maximum(
                    (value - target[part]).square(), (near - target[part]).square()
                )
                value_loss = 0.5 * error.mean()
                entropy = -(logs.exp() * logs).sum(-1).mean()
                loss = policy_loss + value_loss - self.entropy_weight * entropy
                self.optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(self.policy_.parameters(), 0.5)
                self.optimizer.step()
                sums += torch.stack([policy_loss, value_loss, entropy]).detach()
        policy_mean, value_mean, entropy_mean = (sums / (self.epochs * self.minibatches)).tolist()
        return policy_mean, value_mean, entropy_mean

    def _first(self, environment: Environment) -> Moment:
        none = torch.zeros(environment.count, device=environment.device)
        return Moment(
            environment.start(),
            torch.zeros(environment.count, environment.actions, device=environment.device),
            none == 0,
            none,
            none.clone(),
            self.policy_.initial_state(environment.count),
        )

    def _next(
        self,
        environment: Environment,
        moment: Moment,
        action: Tensor,
        state: State,
        returns: list[float],
    ) -> Moment:
        observation, reward, ended = environment.step(action)
        total = moment.total + reward
        returns.extend(total[ended].tolist())
        # The last action belongs to its episode: where another starts, there is none.
        last_action = functional.one_hot(action, environment.actions).float() * ~ended[:, None]
        return Moment(observation, last_action, ended, reward, total * ~ended, state)

    @staticmethod
    def _input(moment: Moment) -> Tensor:
        return torch.cat(
            [moment.observation, moment.last_action, moment.starts[:, None].float()], 1
        )


@dataclass(frozen=True)
class Moment:
    """Where all environments are: what is seen, what was done, and whether an episode starts here."""

    observation: Tensor
    last_action: Tensor
    """`(E, A)` one-hot; zeros at the start of an episode."""
    starts: Tensor
    reward: Tensor
    total: Tensor
    """Reward since the start of the episode."""
    state: State
    """The memory before this moment, not yet erased where an episode starts."""


def advantages(
    reward: Tensor, value: Tensor, last: Tensor, ended: Tensor, discount: float, trace: float
) -> Tensor:
    """`(E, T)` generalised advantage estimates, Schulman et al., 2016, by one scan from the end.

    Shapes: `reward`, `value` and `ended (E, T)`; `last (E,)`, the value after the last step.

    >>> one = torch.ones(1, 2)
    >>> advantages(one, 0 * one, torch.zeros(1), one.bool() & False, 0.5, 1.0)
    tensor([[1.5000, 1.0000]])
    """
    going = (~ended).to(value.dtype)
    following = torch.cat([value[:, 1:], last[:, None]], 1)
    surprise = reward + discount * going * following - value
    decay = discount * trace * going
    return linear_scan(decay[..., None], surprise[..., None], reverse=True)[..., 0]
