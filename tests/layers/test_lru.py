"""The recurrence is written out; its initialisation is checked by what it is for."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tacita.errors import ConfigError
from tacita.layers.lru import LRU
from tests.helpers import assert_close


def layer(d_model: int = 3, **options: object) -> LRU:
    torch.manual_seed(0)
    return LRU(d_model, **{"d_state": 5, **options}).double()


def test_the_outputs_are_those_of_the_recurrence() -> None:
    one, x = layer(), torch.randn(2, 12, 3, dtype=torch.float64)
    nu, theta, gamma = (p.detach().numpy() for p in (one.nu, one.theta, one.log_gamma))
    eigenvalues = np.exp(-np.exp(nu) + 1j * np.exp(theta))
    enter, leave = one.B.detach().numpy(), one.C.detach().numpy()
    b, c = enter[:, 0] + 1j * enter[:, 1], leave[..., 0] + 1j * leave[..., 1]
    expected = np.zeros((2, 12, 3))
    for row in range(2):
        state = np.zeros(5, dtype=complex)
        for t in range(12):
            u = x[row, t].numpy()
            state = eigenvalues * state + np.exp(gamma) * (b @ u)
            expected[row, t] = (c @ state).real + one.D.detach().numpy() * u
    assert_close(one(x), torch.from_numpy(expected))


def test_states_decay_whatever_the_parameters() -> None:
    one = layer(d_state=1000)
    with torch.no_grad():
        one.nu.normal_(0, 3)
        one.theta.normal_(0, 3)
    assert (one.eigenvalues().abs() < 1).all()


def test_states_start_evenly_over_a_ring_with_phases_up_to_the_largest() -> None:
    one = layer(d_state=20_000, r_min=0.6, r_max=0.9, max_phase=1.0)
    radius = one.eigenvalues().abs().detach()
    phase = one.eigenvalues().angle().detach()
    assert 0.6 - 1e-6 <= radius.min() < 0.601
    assert 0.899 < radius.max() <= 0.9 + 1e-6
    assert radius.square().mean().item() == pytest.approx((0.36 + 0.81) / 2, abs=0.003)
    assert 0 < phase.min() < 0.001
    assert phase.mean().item() == pytest.approx(0.5, abs=0.01)
    assert phase.max() <= 1.0 + 1e-6


@pytest.mark.parametrize("r_min, r_max", [(0.0, 0.5), (0.9, 0.99)])
def test_white_noise_keeps_its_power_in_every_state(r_min: float, r_max: float) -> None:
    one = layer(16, d_state=200, r_min=r_min, r_max=r_max)
    with torch.no_grad():
        _, state = one(torch.randn(64, 1000, 16, dtype=torch.float64), return_state=True)
    power = state["ssm"].abs().square().mean(0)
    assert power.mean().item() == pytest.approx(1.0, abs=0.08)
    radius = one.eigenvalues().abs().detach()
    slow = radius > radius.median()
    assert power[slow].mean().item() == pytest.approx(power[~slow].mean().item(), rel=0.2)


def test_hints_and_options_are_checked() -> None:
    assert set(layer().optimizer_hints) == {"nu", "theta", "log_gamma", "B"}
    assert all(hint["weight_decay"] == 0 for hint in layer().optimizer_hints.values())
    for wrong in ({"r_min": 0.9, "r_max": 0.5}, {"r_max": 1.1}, {"max_phase": 3 * math.pi}):
        with pytest.raises(ConfigError, match="ring"):
            layer(**wrong)
    with pytest.raises(ConfigError, match="positive"):
        layer(d_state=0)
