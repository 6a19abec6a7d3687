"""The products are written out, and compared with the input-dependent recurrence where they are exact."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tacita.errors import ConfigError
from tacita.layers.liquid_s4 import LiquidS4
from tests.helpers import assert_close

MODES = pytest.mark.parametrize("liquid", ["kb", "pb"])


def layer(**options: object) -> LiquidS4:
    torch.manual_seed(0)
    return LiquidS4(3, **{"d_state": 4, "dt_min": 0.3, "dt_max": 1.0, **options}).double()


def noise(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def recurrence(one: LiquidS4, u: Tensor) -> Tensor:
    """`x_t = (A + B u_t) x_{t-1} + B u_t`, one step after another."""
    exponents, b, c = one.system()
    state, outputs = torch.zeros(len(u), *b.shape, dtype=b.dtype), []
    for t in range(u.shape[1]):
        entering = b * u[:, t, :, None]
        state = (exponents.exp() + entering) * state + entering
        outputs.append((c * state).sum(-1).real + one.D * u[:, t])
    return torch.stack(outputs, 1)


@MODES
@pytest.mark.parametrize("degree", [2, 3])
def test_the_output_is_that_of_the_sum_of_products(liquid: str, degree: int) -> None:
    one, u = layer(liquid=liquid, degree=degree), noise(2, 9, 3)
    exponents, b, c = one.system()
    expected = one.D * u
    for t in range(9):
        for s in range(t + 1):
            for p in range(1, degree + 1):
                if p > s + 1 or (p > 1 and liquid == "pb" and s < t):
                    continue
                product = u[:, s - p + 1 : s + 1].prod(1)
                tap = (c * (exponents * (t - s)).exp() * b**p).sum(-1).real
                expected[:, t] += tap * product
    assert_close(one(u), expected)


def test_inputs_that_follow_each_other_without_a_pause_act_as_in_the_recurrence() -> None:
    one = layer(liquid="kb", degree=3)
    u = torch.zeros(2, 12, 3, dtype=torch.float64)
    u[:, 4:7] = noise(2, 3, 3)
    # All products of these three inputs in a row from the first; what starts in the middle is there too.
    exact = recurrence(one, u)
    exponents, b, c = one.system()
    # Left out: the first input kept by A over the second, then multiplied by the third.
    across = (c * b**2 * exponents.exp()).sum(-1).real * u[:, 4] * u[:, 6]
    missing = exact[:, 6] - one(u)[:, 6]
    assert_close(missing, across)
    pair = torch.zeros(2, 12, 3, dtype=torch.float64)
    pair[:, 4:6] = noise(2, 2, 3)
    assert_close(one(pair), recurrence(one, pair))


@MODES
def test_steps_cuts_resets_and_lengths_agree(liquid: str) -> None:
    one, u = layer(liquid=liquid, degree=3), noise(2, 13, 3)
    resets = torch.zeros(2, 13, dtype=torch.bool)
    resets[0, [4, 5]] = resets[1, 9] = True
    for marks in (None, resets):
        y, last = one(u, resets=marks, return_state=True)
        state, columns = one.initial_state(2), []
        for t in range(13):
            out, state = one.step(u[:, t], state, reset=None if marks is None else marks[:, t])
            columns.append(out)
        assert_close(torch.stack(columns, 1), y)
        for name, value in state.items():
            assert_close(last[name], value, name)
    assert_close(one(u), one(u, resets=torch.zeros_like(resets)))
    _, half = one(u[:, :5], return_state=True)
    assert_close(one(u[:, 5:], state=half), one(u)[:, 5:])
    _, short = one(u, lengths=torch.tensor([5, 0]), return_state=True)
    for name, value in half.items():
        assert_close(short[name][:1], value[:1], name)
        assert (short[name][1] == 0).all()


def test_what_multiplies_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="no inputs"):
        layer(degree=1)
    with pytest.raises(ConfigError, match="kb, pb"):
        layer(liquid="kp")
