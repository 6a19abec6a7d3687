"""Schedules: where phases meet, what they may depend on, and that a loop of one's own can use them."""

from __future__ import annotations

import itertools
import math
from typing import Any, get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from tacita.engine.optimizer import build_optimizer, scale_learning_rate
from tacita.engine.schedules import CoolDown, Falling, Infinite, branch, infinite, make_schedule
from tacita.errors import ConfigError

SHAPES = get_args(CoolDown)
every_shape = pytest.mark.parametrize("shape", SHAPES)


@st.composite
def schedules(draw: st.DrawFn) -> Infinite:
    constant = draw(st.floats(0.05, 1.0))
    schedule = Infinite(
        warmup=draw(st.integers(1, 30)),
        cooldown=draw(st.integers(1, 60)),
        constant=constant,
        shape=draw(st.sampled_from(SHAPES)),
        final=draw(st.floats(0.001, 1.0)) * constant,
    )
    at = schedule.cooled + draw(st.integers(0, 50))
    return schedule.annealed(at, draw(st.integers(1, 40)))


def reference(schedule: Infinite, step: int) -> float:
    """The four phases as the paper writes them, but that the first step moves already."""
    warm, cool = schedule.warmup, schedule.warmup + schedule.cooldown
    constant, at, steps = schedule.constant, schedule.anneal_at, schedule.anneal
    if step < warm:
        return (step + 1) / warm
    if step < cool:
        progress = (step - warm) / (cool - warm)
        if schedule.shape == "cosine":
            return constant + 0.5 * (1 - constant) * (1 + math.cos(math.pi * progress))
        if schedule.shape == "linear":
            return 1 - (1 - constant) * progress
        fallen = (1 - 1 / math.sqrt(1 + 10 * progress)) / (1 - 1 / math.sqrt(11))
        return 1 - (1 - constant) * fallen
    if at is None or step < at:
        return constant
    progress = min(1.0, (step - at) / steps)
    return constant * (schedule.final / constant) ** progress


@given(schedule=schedules())
def test_the_rate_is_that_of_the_equations(schedule: Infinite) -> None:
    assert schedule.anneal_at is not None
    for step in range(schedule.anneal_at + schedule.anneal + 5):
        assert schedule(step) == pytest.approx(reference(schedule, step), rel=1e-12)


@given(schedule=schedules())
def test_phases_meet_without_a_jump(schedule: Infinite) -> None:
    assert schedule.anneal_at is not None
    end = schedule.anneal_at + schedule.anneal
    for border in (schedule.warmup, schedule.cooled, schedule.anneal_at, end):
        for near in (math.nextafter(border, -1.0), math.nextafter(border, math.inf)):
            assert abs(schedule(near) - schedule(border)) < 1e-12
    assert schedule(schedule.warmup) == 1.0
    assert schedule(schedule.cooled) == schedule(schedule.anneal_at) == schedule.constant
    assert schedule(end) == schedule(end + 7) == schedule.final


@given(schedule=schedules())
def test_each_phase_goes_one_way(schedule: Infinite) -> None:
    assert schedule.anneal_at is not None
    rates = [schedule(step) for step in range(schedule.anneal_at + schedule.anneal + 2)]
    rising, falling = rates[: schedule.warmup], rates[schedule.warmup :]
    assert all(a < b for a, b in itertools.pairwise(rising))
    assert all(a >= b * (1 - 1e-12) for a, b in itertools.pairwise(falling))


@given(schedule=schedules(), later=st.integers(0, 100), steps=st.integers(1, 50))
def test_a_rate_does_not_depend_on_what_is_decided_later(
    schedule: Infinite, later: int, steps: int
) -> None:
    assert schedule.anneal_at is not None
    endless = schedule.endless()
    other = schedule.annealed(schedule.anneal_at + later, steps)
    for step in range(schedule.anneal_at + 1):
        assert schedule(step) == endless(step) == other(step)
    assert endless(10**9) == schedule.constant


@given(steps=st.integers(1, 300), more=st.integers(1, 300))
def test_a_run_that_goes_on_has_the_rates_of_one_main_line(steps: int, more: int) -> None:
    first = infinite(steps, 0.1, cooldown=0.4, anneal=0.2)
    assert first.anneal_at is not None
    second = infinite(more, 0.1, cooldown=0.4, anneal=0.2, after=first, begin=first.anneal_at)
    assert second.anneal_at == first.anneal_at + more - round(0.2 * more)
    for step in range(second.anneal_at + 1):
        assert second(step) == first.endless()(step)
    # Only the first data set warms up: from there on the rate never rises again.
    rates = [second(step) for step in range(first.anneal_at, first.anneal_at + more + 1)]
    assert rates == sorted(rates, reverse=True)


@every_shape
def test_a_constant_of_one_without_an_anneal_is_a_constant_rate(shape: CoolDown) -> None:
    schedule = Infinite(warmup=1, cooldown=20, constant=1.0, shape=shape)
    assert [schedule(step) for step in range(50)] == [1.0] * 50


def test_without_a_cool_down_it_is_warm_up_constant_and_decay() -> None:
    schedule = Infinite(warmup=4, cooldown=0, constant=1.0, final=0.25).annealed(6, 2)
    assert [schedule(step) for step in range(9)] == [0.25, 0.5, 0.75, 1, 1, 1, 1, 0.5, 0.25]


def test_a_run_of_any_number_of_steps_has_its_phases_in_order() -> None:
    for steps in range(1, 60):
        schedule = infinite(steps)
        assert schedule.anneal_at is not None
        assert 1 <= schedule.warmup <= schedule.cooled <= schedule.anneal_at <= steps
    whole = infinite(1000, 0.05, cooldown=0.35, anneal=0.15)
    assert (whole.warmup, whole.cooled, whole.anneal_at) == (50, 400, 850)
    assert whole(1000) == whole.final


def test_a_cosine_restarts_exactly_where_a_task_does() -> None:
    first, second = (make_schedule("cosine", 40, 0.1, begin=begin) for begin in (0, 40))
    assert [second(40 + step) for step in range(40)] == [first(step) for step in range(40)]
    assert first(39) < 0.01 < second(40) == 0.25


def test_every_group_keeps_its_multiplier() -> None:
    module = nn.Linear(2, 2)
    module.optimizer_hints = {"weight": {"learning_rate": 0.01}}  # type: ignore[assignment]
    optimizer = build_optimizer(module, "adamw", 0.1, 0.0)
    schedule = Infinite(warmup=2, cooldown=3, constant=0.5).annealed(8, 4)
    for step in range(14):
        scale_learning_rate(optimizer, schedule(step))
        rates = sorted(group["lr"] for group in optimizer.param_groups)
        assert rates == [0.01 * schedule(step), 0.1 * schedule(step)]


# A loop of one's own


def own_loop(
    module: nn.Module, optimizer: torch.optim.Optimizer, scheduler: LambdaLR, steps: int
) -> list[float]:
    """The rates of some steps of regression, which change the module."""
    rates = []
    for step in range(steps):
        torch.manual_seed(1000 + scheduler.last_epoch + step)
        optimizer.zero_grad()
        module(torch.randn(8, 3)).square().mean().backward()
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def started() -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    module = nn.Linear(3, 2)
    optimizer = torch.optim.AdamW([{"params": [module.weight]}, {"params": [module.bias]}], lr=0.1)
    return module, optimizer


def test_torchs_scheduler_takes_it_and_saves_it() -> None:
    schedule = Infinite(warmup=3, cooldown=4, constant=0.5)
    module, optimizer = started()
    scheduler = LambdaLR(optimizer, schedule)
    assert own_loop(module, optimizer, scheduler, 10) == [0.1 * schedule(s) for s in range(10)]
    saved = scheduler.state_dict()
    assert saved["lr_lambdas"][0]["constant"] == 0.5
    later = LambdaLR(started()[1], Infinite(warmup=1, cooldown=1))
    later.load_state_dict(saved)
    assert later.lr_lambdas == [schedule, schedule]
    assert later.last_epoch == 10


def test_a_branch_leaves_the_main_line_bit_for_bit_alone() -> None:
    schedule = Infinite(warmup=3, cooldown=4, constant=0.5)

    def main_line(branched: bool) -> dict[str, Any]:
        module, optimizer = started()
        scheduler = LambdaLR(optimizer, schedule)
        own_loop(module, optimizer, scheduler, 10)
        if branched:
            copied, moments = branch(module, optimizer)
            before = {name: value.clone() for name, value in copied.state_dict().items()}
            annealing = schedule.annealed(at=10, steps=5)
            ending = LambdaLR(moments, annealing, last_epoch=9)
            rates = own_loop(copied, moments, ending, 5)
            assert rates == [0.1 * annealing(step) for step in range(10, 15)]
            assert not torch.equal(copied.weight, before["weight"])  # type: ignore[arg-type]
        own_loop(module, optimizer, scheduler, 10)
        state = optimizer.state_dict()["state"]
        moments_of = {f"{n}/{k}": v for n, kept in state.items() for k, v in kept.items()}
        return module.state_dict() | moments_of

    alone, branched = main_line(False), main_line(True)
    assert alone.keys() == branched.keys()
    assert all(torch.equal(alone[name], branched[name]) for name in alone)


# What is refused


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"constant": 0.0}, "constant=0.0 is not a share"),
        ({"constant": 1.5}, "constant=1.5 is not a share"),
        ({"final": 0.5}, r"final=0\.5 is not between 0 and constant=0\.375"),
        ({"final": 0.0}, "final=0.0 is not between"),
        ({"warmup": -1}, "warmup=-1"),
        ({"cooldown": -1}, "cooldown=-1"),
        ({"shape": "cosin"}, "did you mean cosine"),
        ({"anneal_at": 19, "anneal": 4}, "begins at step 19, but the cool-down ends at 20"),
    ],
)
def test_phases_that_cannot_be_are_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Infinite(**{"warmup": 10, "cooldown": 10, **arguments})


@pytest.mark.parametrize(
    "options, words",
    [
        ({"cooldown": 0.9}, "more than all steps"),
        ({"anneal": -0.1}, "anneal=-0.1 is not a share"),
        ({"constnat": 0.5}, "constnat: unknown; did you mean constant"),
        ({"constant": "high"}, "'high' is not a number"),
        ({"begin": 3}, "begin: unknown"),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        make_schedule("infinite", 100, 0.05, options)


def test_a_schedule_that_ends_has_no_options() -> None:
    with pytest.raises(ConfigError, match="the schedule cosine has none"):
        make_schedule("cosine", 100, 0.05, {"constant": 0.5})


def test_a_schedule_that_goes_on_keeps_its_constant() -> None:
    first = infinite(100, constant=0.5)
    with pytest.raises(ConfigError, match=r"constant=0\.25.*goes on has constant=0\.5"):
        infinite(100, constant=0.25, after=first, begin=85)


def test_the_names_give_the_schedules() -> None:
    assert make_schedule("linear", 50, 0.1) == Falling("linear", 50, 5)
    options = {"constant": 0.5, "shape": "linear"}
    expected = infinite(50, 0.1, constant=0.5, shape="linear")
    assert make_schedule("infinite", 50, 0.1, options) == expected
