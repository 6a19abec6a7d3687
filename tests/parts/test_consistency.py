"""A consistency of the wrong scale trains a little worse and is never seen: the sums are over classes
and samples, both divided out, as its weights assume."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.special import rel_entr

from tacita.errors import ConfigError
from tacita.parts.consistency import RampUp, consistency
from tests.helpers import assert_close


def two(rows: int = 6, classes: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    logits = 3 * torch.randn(2, rows, classes, dtype=torch.float64)
    p, q = logits.softmax(2)
    return p, q


def test_the_squared_distance_is_divided_by_samples_and_classes() -> None:
    p, q = two()
    total = sum(((p[b] - q[b]) ** 2).sum() for b in range(6))
    assert_close(consistency(p, q), total / (6 * 4))
    assert_close(consistency(q, p), consistency(p, q))


def test_the_squared_distance_is_at_most_two_over_the_classes() -> None:
    sure = torch.eye(5)
    assert consistency(sure, sure.roll(1, 0)).item() == pytest.approx(2 / 5)
    assert consistency(sure, sure).item() == 0


def test_the_divergence_is_that_of_the_target_and_is_divided_alike() -> None:
    p, q = two()
    expected = rel_entr(q.numpy(), p.numpy()).sum() / (6 * 4)
    assert consistency(p, q, "kl").item() == pytest.approx(expected)
    assert consistency(p, p, "kl").item() == 0


@pytest.mark.parametrize("distance", ["squared", "kl"])
def test_gradients_flow_into_both(distance: str) -> None:
    logits = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)

    def of(u: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return consistency(u.softmax(1), v.softmax(1), distance)

    assert torch.autograd.gradcheck(of, tuple(logits.unbind(0)))


@pytest.mark.parametrize("distance", ["squared", "kl"])
def test_sure_predictions_have_finite_gradients(distance: str) -> None:
    u = torch.tensor([[200.0, -200.0]], requires_grad=True)
    v = torch.tensor([[-200.0, 200.0]], requires_grad=True)
    value = consistency(u.softmax(1), v.softmax(1), distance)
    value.backward()
    assert value.isfinite()
    assert u.grad.isfinite().all()
    assert v.grad.isfinite().all()


def test_the_weight_rises_as_published() -> None:
    ramp = RampUp(0.5)
    ramp.start(20)
    factors = [ramp.factor.item()]
    for step in range(20):
        ramp.after_step(step)
        factors.append(ramp.factor.item())
    t = np.minimum(np.arange(21) / 10, 1)
    assert np.allclose(factors, np.exp(-5 * (1 - t) ** 2))
    assert factors[0] == pytest.approx(math.exp(-5))


def test_a_line_rises_from_nothing() -> None:
    ramp = RampUp(1.0, shape="linear")
    ramp.start(4)
    factors = [ramp.factor.item()]
    for step in range(4):
        ramp.after_step(step)
        factors.append(ramp.factor.item())
    assert factors == [0.0, 0.25, 0.5, 0.75, 1.0]


def test_without_a_rise_the_weight_is_whole_from_the_first_step() -> None:
    ramp = RampUp(0.0)
    assert ramp.factor == 1
    ramp.start(10)
    ramp.after_step(0)
    assert ramp.factor == 1


def test_the_factor_is_part_of_the_saved_state() -> None:
    ramp, other = RampUp(1.0), RampUp(1.0)
    ramp.start(10)
    ramp.after_step(4)
    other.load_state_dict(ramp.state_dict())
    assert other.factor == ramp.factor


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(ConfigError, match="ramp_up="):
        RampUp(share)
