"""Learning-rate schedules: pure functions of the optimiser's step, as shares of the largest rate.

Each is a small object that is called with a step, so that it serves `train`, a test, or anyone's own
loop as `torch.optim.lr_scheduler.LambdaLR(optimizer, schedule)`: every group's own rate is multiplied.

The infinite schedule (Ibrahim et al., "Simple and Scalable Strategies to Continually Pre-train Large
Language Models", 2024; Singh et al., "Beyond Cosine Decay", 2025) is for pretraining on a stream of
data sets: it warms up once, cools down to a rate that stays, and anneals a branch whenever a model is
to be used. Rates rise only once, since it is the rise that forgets.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeVar, get_args

import torch
from torch import nn

from tacita.catalog.discover import did_you_mean
from tacita.catalog.signature import check_arguments, function_parameters
from tacita.errors import ConfigError

Schedule = Literal["cosine", "constant", "linear", "infinite"]
Fall = Literal["cosine", "constant", "linear"]
CoolDown = Literal["cosine", "inverse-sqrt", "linear"]

ModuleT = TypeVar("ModuleT", bound=nn.Module)
OptimizerT = TypeVar("OptimizerT", bound=torch.optim.Optimizer)

STEEPNESS = 10.0
"""Of the inverse square root: the larger, the sooner it falls."""

FALLS: dict[str, Callable[[float], float]] = {
    "cosine": lambda progress: 0.5 + 0.5 * math.cos(math.pi * progress),
    "constant": lambda progress: 1.0,
    "linear": lambda progress: 1.0 - progress,
    "inverse-sqrt": lambda progress: 1.0 - _inverse_sqrt(progress) / _inverse_sqrt(1.0),
}
"""From 1 to 0 (but for the constant) as the progress goes from 0 to 1."""


@dataclass(frozen=True)
class Falling:
    """Linear warm-up, then a fall to zero at the end of the run: the steps must be known before.

    steps: of the run; begin: the optimiser's step at which it starts, where the optimiser goes on
    from another run; warmup: steps over which the rate rises; the last of them has the full rate.

    >>> [Falling("linear", steps=4, warmup=2)(step) for step in range(4)]
    [0.5, 1.0, 1.0, 0.5]
    """

    shape: Fall
    steps: int
    warmup: int = 1
    begin: int = 0

    def __call__(self, step: float) -> float:
        """The share of the rate at an optimiser's step, from 0."""
        step = step - self.begin
        if step < self.warmup:
            return (step + 1) / self.warmup
        return FALLS[self.shape]((step - self.warmup) / max(1, self.steps - self.warmup))


@dataclass(frozen=True)
class Infinite:
    """Warm-up, cool-down, a constant rate for as long as one likes, and an exponential anneal.

    warmup: steps over which the rate rises, `N_w`; the first step moves already.
    cooldown: steps over which it then falls to the constant rate, `N_c - N_w`.
    constant: share of the largest rate that stays. The one sensitive choice: too high forgets, too
        low learns little.
    shape: of the cool-down.
    anneal_at: the step at which the anneal begins, `N_d`; None for not yet.
    anneal: steps of the anneal, `N_e - N_d`.
    final: share of the largest rate at the end of the anneal, which stays from then on.

    Continuous, and up to a step it depends on nothing that is decided later. Raises `ConfigError`
    for phases that overlap and for shares that do not fall.

    >>> schedule = Infinite(warmup=2, cooldown=2, constant=0.5, shape="linear")
    >>> [schedule(step) for step in range(6)]
    [0.5, 1.0, 1.0, 0.75, 0.5, 0.5]
    >>> ending = schedule.annealed(at=5, steps=2, final=0.125)
    >>> [round(ending(step), 6) for step in range(4, 8)]
    [0.5, 0.5, 0.25, 0.125]
    """

    warmup: int
    cooldown: int
    constant: float = 0.375
    shape: CoolDown = "cosine"
    anneal_at: int | None = None
    anneal: int = 0
    final: float = 0.01

    def __post_init__(self) -> None:
        if self.shape not in get_args(CoolDown):
            raise ConfigError(
                f"shape={self.shape!r}: unknown{did_you_mean(self.shape, get_args(CoolDown))}",
                remedy=f"Known: {', '.join(get_args(CoolDown))}.",
            )
        for name in ("warmup", "cooldown", "anneal"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name}={getattr(self, name)}: steps cannot be negative.")
        if not 0 < self.constant <= 1:
            raise ConfigError(
                f"constant={self.constant} is not a share of the largest rate.",
                remedy="Usual are 0.25 to 0.5.",
            )
        if not 0 < self.final <= self.constant:
            raise ConfigError(
                f"final={self.final} is not between 0 and constant={self.constant}.",
                remedy="Usual is a hundredth to a tenth of the constant rate.",
            )
        if self.anneal_at is not None and self.anneal_at < self.cooled:
            raise ConfigError(
                f"The anneal begins at step {self.anneal_at}, but the cool-down ends at {self.cooled}.",
                remedy="Give it more steps, or a shorter warm-up and cool-down.",
            )

    @property
    def cooled(self) -> int:
        """The first step at the constant rate, `N_c`."""
        return self.warmup + self.cooldown

    def __call__(self, step: float) -> float:
        """The share of the largest rate at an optimiser's step, from 0."""
        if step < self.warmup:
            return min(1.0, (step + 1) / self.warmup)
        if step < self.cooled:
            left = FALLS[self.shape]((step - self.warmup) / self.cooldown)
            return self.constant + (1 - self.constant) * left
        if self.anneal_at is None or not self.anneal or step <= self.anneal_at:
            return self.constant
        progress = min(1.0, (step - self.anneal_at) / self.anneal)
        # Both ends are exact: so written, the power of a quotient would miss `final` by a rounding.
        rate = self.constant ** (1 - progress) * self.final**progress
        return min(self.constant, max(self.final, rate))

    def annealed(self, at: int, steps: int, final: float | None = None) -> Infinite:
        """The schedule of a branch that anneals over `steps` from the step `at` on."""
        final = self.final if final is None else final
        return replace(self, anneal_at=at, anneal=steps, final=final)

    def endless(self) -> Infinite:
        """The schedule without an anneal: that of the main line."""
        return replace(self, anneal_at=None, anneal=0)


def infinite(
    steps: int,
    warmup: float = 0.05,
    *,
    cooldown: float = 0.35,
    constant: float = 0.375,
    shape: CoolDown = "cosine",
    anneal: float = 0.15,
    final: float = 0.01,
    after: Infinite | None = None,
    begin: int = 0,
) -> Infinite:
    """The infinite schedule of a run of so many steps, the last of them annealing.

    warmup: share of the steps over which the rate rises.
    cooldown: share of the steps over which it then falls to the constant rate.
    constant: share of the largest rate that stays.
    shape: of the cool-down.
    anneal: share of the steps, the last ones, in which the model is annealed.
    final: share of the largest rate at the end.
    after, begin: the schedule of the run that this one goes on from, and the step it had reached: then
        there is no warm-up and no cool-down, and the constant rate is that one's.

    Defaults are in the paper's ranges: cooled down at 40% of the first data set, and its constant rate
    for images. Raises `ConfigError` where the phases are more than the steps.
    """
    shares = {"warmup": warmup, "cooldown": cooldown, "anneal": anneal}
    for name, share in shares.items():
        if not 0 <= share <= 1:
            raise ConfigError(f"{name}={share} is not a share of the steps, from 0 to 1.")
    annealing = round(anneal * steps)
    if after is not None:
        if (after.constant, after.shape) != (constant, shape):
            raise ConfigError(
                f"constant={constant}, shape={shape}: the schedule that goes on has "
                f"constant={after.constant}, shape={after.shape}.",
                remedy="Give the same, or begin a new schedule from the model's encoder.",
            )
        return after.annealed(begin + steps - annealing, annealing, final)
    if sum(shares.values()) > 1:
        raise ConfigError(
            f"warmup={warmup}, cooldown={cooldown} and anneal={anneal} are more than all steps.",
            remedy="Give shares that add up to 1 or less.",
        )
    rising = max(1, round(warmup * steps))
    cooled = max(rising, round((warmup + cooldown) * steps))
    # Of a few steps, rounding can make the phases longer than the run.
    ending = max(cooled, steps - annealing)
    first = Infinite(rising, cooled - rising, constant, shape, final=final)
    return first.annealed(ending, annealing)


def make_schedule(
    name: Schedule,
    steps: int,
    warmup: float,
    options: Mapping[str, float | str] | None = None,
    *,
    after: Infinite | None = None,
    begin: int = 0,
) -> Falling | Infinite:
    """The schedule that a recipe names; `options` are arguments of `infinite`.

    Raises `ConfigError` with the nearest name for a schedule or an option that there is not.
    """
    check_schedule(name)
    if name == "infinite":
        known = function_parameters("tacita.engine.schedules:infinite")
        settable = {key: known[key] for key in known if key not in ("after", "begin")}
        chosen = check_arguments("schedule_options", settable, options or {})
        return infinite(steps, warmup, **chosen, after=after, begin=begin)
    if options:
        raise ConfigError(
            f"schedule_options: the schedule {name} has none.",
            remedy="Leave them out, or choose schedule=infinite.",
        )
    return Falling(name, steps, max(1, round(warmup * steps)), begin)


def check_schedule(name: str) -> None:
    """Raise `ConfigError` with the nearest name for a schedule that there is not."""
    known = get_args(Schedule)
    if name not in known:
        raise ConfigError(
            f"schedule={name!r}: unknown{did_you_mean(name, known)}",
            remedy=f"Known: {', '.join(known)}.",
        )


def branch(module: ModuleT, optimizer: OptimizerT) -> tuple[ModuleT, OptimizerT]:
    """Copies of a module and its optimiser that belong together: anneal these, and go on with those.

    >>> module = nn.Linear(2, 2)
    >>> copied, moments = branch(module, torch.optim.AdamW(module.parameters()))
    >>> moments.param_groups[0]["params"][0] is copied.weight, copied.weight is module.weight
    (True, False)
    """
    return copy.deepcopy((module, optimizer))


def _inverse_sqrt(progress: float) -> float:
    return 1.0 / math.sqrt(1.0 + STEEPNESS * progress) - 1.0
