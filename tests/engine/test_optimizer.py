"""Learning rates and weight decay: who gets which, and how the rate moves over the steps."""

from __future__ import annotations

import copy
import math
from typing import get_args

import pytest
import torch
from torch import nn

from tacita.catalog.signature import function_parameters
from tacita.engine.optimizer import build_optimizer, set_learning_rate
from tacita.engine.schedules import Schedule, check_schedule
from tacita.errors import ConfigError


def factors(schedule: str, steps: int, warmup: float) -> list[float]:
    optimizer = build_optimizer(nn.Linear(2, 2), "adamw", 0.5, 0.01)
    found = []
    for step in range(steps):
        factor = set_learning_rate(optimizer, schedule, step, steps, warmup)  # type: ignore[arg-type]
        assert {group["lr"] for group in optimizer.param_groups} == {0.5 * factor}
        found.append(factor)
    return found


def test_warm_up_is_linear_and_then_a_cosine_falls_to_zero() -> None:
    found = factors("cosine", 100, 0.1)
    assert found[:10] == pytest.approx([i / 10 for i in range(1, 11)])
    expected = [0.5 * (1 + math.cos(math.pi * i / 90)) for i in range(90)]
    assert found[10:] == pytest.approx(expected)
    assert found[55] == pytest.approx(0.5)
    assert found[-1] < 0.001


def test_a_constant_rate_stays_after_warm_up() -> None:
    assert factors("constant", 10, 0.2) == [0.5] + [1.0] * 9


def test_a_line_falls_to_zero_after_warm_up() -> None:
    found = factors("linear", 100, 0.1)
    assert found[:10] == pytest.approx([i / 10 for i in range(1, 11)])
    assert found[10:] == pytest.approx([1 - i / 90 for i in range(90)])


def test_the_schedules_that_a_recipe_may_name_are_those_there_are() -> None:
    expected = function_parameters("tacita.engine.train:train")["schedule"].expected
    assert all(repr(name) in expected for name in get_args(Schedule))


def test_an_unknown_schedule_is_refused_with_the_nearest() -> None:
    check_schedule("linear")
    with pytest.raises(ConfigError, match=r"'cosin': unknown; did you mean cosine\?"):
        check_schedule("cosin")


@pytest.mark.parametrize("schedule", get_args(Schedule))
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_the_first_step_is_full_without_warm_up(schedule: str, steps: int) -> None:
    assert factors(schedule, steps, 0.0)[0] == 1.0


def test_norms_and_biases_get_no_weight_decay() -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4))
    optimizer = build_optimizer(module, "adamw", 0.1, 0.05)
    decays = {id(p): g["weight_decay"] for g in optimizer.param_groups for p in g["params"]}
    linear, norm = module
    assert decays[id(linear.weight)] == 0.05
    assert {decays[id(p)] for p in (linear.bias, norm.weight, norm.bias)} == {0.0}


def test_a_factor_is_of_the_rate_of_the_run_and_a_limit_stays_one() -> None:
    module = nn.Linear(3, 4)
    for hints, expected in (
        ({"learning_rate_factor": 100.0}, 0.2),
        ({"learning_rate_factor": 100.0, "learning_rate": 0.1}, 0.1),
        ({"learning_rate_factor": 0.5, "learning_rate": 0.1}, 0.001),
    ):
        module.optimizer_hints = {"weight": hints}  # type: ignore[assignment]
        optimizer = build_optimizer(module, "adamw", 2e-3, 0.05)
        rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
        assert rates[id(module.weight)] == pytest.approx(expected)
        assert rates[id(module.bias)] == 2e-3


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_own_rates_and_decays_win_and_follow_the_schedule(name: str) -> None:
    module = nn.Linear(3, 4)
    module.optimizer_hints = {"weight": {"learning_rate": 0.001, "weight_decay": 0.0}}  # type: ignore[assignment]
    optimizer = build_optimizer(module, name, 0.1, 0.05)  # type: ignore[arg-type]
    groups = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    set_learning_rate(optimizer, "constant", 0, 4, 0.5)
    assert groups[id(module.weight)]["lr"] == 0.0005
    assert groups[id(module.weight)]["weight_decay"] == 0.0
    assert groups[id(module.bias)]["lr"] == 0.05


class Hinted(nn.Module):
    """A layer whose own parameter `step` is learnt slowly."""

    optimizer_hints = {"step": {"learning_rate": 0.001}}

    def __init__(self) -> None:
        super().__init__()
        self.step = nn.Parameter(torch.zeros(3))
        self.linear = nn.Linear(3, 3)


def rates(module: nn.Module) -> dict[str, float]:
    optimizer = build_optimizer(module, "adamw", 0.1, 0.05)
    found = {id(p): group["base"] for group in optimizer.param_groups for p in group["params"]}
    return {name: found[id(p)] for name, p in module.named_parameters()}


def test_hints_are_there_in_a_copy_and_are_of_the_modules_own_parameters() -> None:
    module = nn.Sequential(Hinted(), nn.Linear(3, 3))
    expected = {"0.step": 0.001, "0.linear.weight": 0.1, "1.weight": 0.1}
    assert rates(module).items() >= expected.items()
    assert rates(copy.deepcopy(module)) == rates(module)


def test_a_hinted_rate_is_an_upper_limit() -> None:
    optimizer = build_optimizer(Hinted(), "adamw", 0.0001, 0.05)
    assert {group["base"] for group in optimizer.param_groups} == {0.0001}


def test_a_parameter_that_two_modules_share_is_optimised_once() -> None:
    module = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    module[1].weight = module[0].weight
    optimizer = build_optimizer(module, "adamw", 0.1, 0.05)
    assert sum(len(group["params"]) for group in optimizer.param_groups) == 3


@pytest.mark.parametrize(
    "hints, words",
    [
        ({"steb": {"learning_rate": 0.1}}, r"of 0: it has no steb"),
        ({"linear.weight": {"learning_rate": 0.1}}, r"it has no linear\.weight"),
        ({"step": {"rate": 0.1}}, r"rate is unknown"),
    ],
)
def test_a_hint_that_means_nothing_is_refused(
    hints: dict[str, dict[str, float]], words: str
) -> None:
    module = nn.Sequential(Hinted())
    module[0].optimizer_hints = hints
    with pytest.raises(ConfigError, match=words):
        build_optimizer(module, "adamw", 0.1, 0.05)


def test_frozen_parameters_are_left_out() -> None:
    module = nn.Linear(3, 4)
    module.weight.requires_grad_(False)
    optimizer = build_optimizer(module, "adamw", 0.1, 0.05)
    assert [p for group in optimizer.param_groups for p in group["params"]] == [module.bias]


def test_decay_shrinks_weights_by_the_rate_alone() -> None:
    module = nn.Linear(2, 2)
    before = module.weight.detach().clone()
    optimizer = build_optimizer(module, "adamw", 0.1, 0.5)
    module.weight.grad = torch.zeros(2, 2)
    optimizer.step()
    torch.testing.assert_close(module.weight.detach(), before * (1 - 0.1 * 0.5))
