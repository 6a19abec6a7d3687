"""The averaged network: its rate, its warm start, and what is copied rather than averaged."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tacita.errors import ConfigError
from tacita.parts.ema import EMA, cosine_momentum


def network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))


def test_the_teacher_follows_by_its_momentum() -> None:
    student, average = network(1), EMA(network(0), momentum=0.9)
    before = [p.clone() for p in average.teacher.parameters()]
    average.update(student, step=5)
    pairs = zip(average.teacher.parameters(), before, student.parameters(), strict=True)
    for after, old, new in pairs:
        torch.testing.assert_close(after.detach(), (0.9 * old + 0.1 * new).detach())


@pytest.mark.parametrize(
    "rise, rates", [("none", [0.9, 0.9]), ("linear", [0.95, 1.0]), ("cosine", [0.95, 1.0])]
)
def test_the_rate_rises_once_it_knows_the_steps(rise: str, rates: list[float]) -> None:
    average = EMA(network(0), momentum=0.9, rise=rise)
    assert average.rate(50) == 0.9
    average.start(100)
    assert [average.rate(50), average.rate(100)] == pytest.approx(rates)


def test_a_momentum_outside_0_to_1_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"momentum=1\.1"):
        EMA(network(0), momentum=1.1)


@pytest.mark.parametrize(("step", "rate"), [(0, 0.0), (1, 0.5), (3, 0.75), (10_000, 0.99)])
def test_a_warm_start_rises_to_the_momentum(step: int, rate: float) -> None:
    student, average = (
        nn.Linear(1, 1, bias=False),
        EMA(nn.Linear(1, 1, bias=False), momentum=0.99, warm=True),
    )
    nn.init.ones_(student.weight)
    nn.init.zeros_(average.teacher.weight)
    average.update(student, step)
    assert average.teacher.weight.item() == pytest.approx(1 - rate, abs=1e-6)


def test_statistics_are_copied() -> None:
    student, average = network(0), EMA(network(0))
    student(torch.randn(8, 3))
    average.update(student, step=0)
    for mine, theirs in zip(average.teacher.buffers(), student.buffers(), strict=True):
        assert torch.equal(mine, theirs)


def test_the_teacher_is_a_copy_that_no_gradient_reaches() -> None:
    student = network(0)
    average = EMA(student)
    assert not any(p.requires_grad for p in average.parameters())
    assert all(p.requires_grad for p in student.parameters())
    with torch.no_grad():
        student[0].weight.add_(1.0)  # type: ignore[index]
    assert not torch.equal(average.teacher[0].weight, student[0].weight)


def test_the_momentum_rises_to_1_along_half_a_cosine() -> None:
    rates = [cosine_momentum(0.9, step, 60) for step in range(61)]
    assert rates[0] == pytest.approx(0.9)
    assert rates[20] == pytest.approx(0.925)  # the cosine of 60 degrees is a half
    assert rates[60] == 1
    assert rates == sorted(rates)
