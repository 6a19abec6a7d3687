"""Learning rates and weight decay: who gets which, and how the rate moves over the steps."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from tacita.engine.optimizer import build_optimizer, set_learning_rate


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


@pytest.mark.parametrize("schedule", ["cosine", "constant"])
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


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_own_rates_and_decays_win_and_follow_the_schedule(name: str) -> None:
    module = nn.Linear(3, 4)
    module.weight.learning_rate = 0.001  # type: ignore[assignment]
    module.weight.weight_decay = 0.0  # type: ignore[assignment]
    optimizer = build_optimizer(module, name, 0.1, 0.05)  # type: ignore[arg-type]
    groups = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    set_learning_rate(optimizer, "constant", 0, 4, 0.5)
    assert groups[id(module.weight)]["lr"] == 0.0005
    assert groups[id(module.weight)]["weight_decay"] == 0.0
    assert groups[id(module.bias)]["lr"] == 0.05


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
