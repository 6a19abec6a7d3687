"""The softmax is checked as a softmax over time written out, and the `exp` form as S4D."""

from __future__ import annotations

import pytest
import torch

from tacita.errors import ConfigError
from tacita.layers.dss import DSS
from tacita.layers.s4d import S4D
from tests.helpers import assert_close


def layer(**options: object) -> DSS:
    torch.manual_seed(0)
    return DSS(3, **{"d_state": 4, "max_length": 30, **options}).double()


@pytest.mark.parametrize("growth", [0.0, 8.0])
def test_the_kernel_is_a_softmax_over_the_training_length(growth: float) -> None:
    one = layer(dt_min=0.05)
    with torch.no_grad():
        one.decay[::2] += growth  # some modes grow
    modes = one.modes()
    rows = one.log_step.exp()[:, None, None] * modes[:, None] * torch.arange(30)
    rows = rows.exp()
    weights = torch.view_as_complex(one.W) / modes
    expected = (weights[..., None] * rows / rows.sum(-1, keepdim=True)).sum(1).real
    torch.testing.assert_close(one.kernel(30), expected, rtol=1e-4, atol=1e-5)
    assert_close(one.kernel(11), one.kernel(30)[:, :11])


def test_with_weights_that_are_the_modes_the_kernel_sums_to_their_number() -> None:
    one = layer()
    with torch.no_grad():
        one.W.copy_(torch.view_as_real(one.modes().expand(3, 4)))
    assert torch.allclose(one.kernel(30).sum(-1), torch.full((3,), 4.0).double(), atol=1e-3)


def test_a_growing_mode_of_any_size_neither_overflows_nor_loses_its_gradient() -> None:
    one = layer(max_length=4000, dt_min=0.1).float()
    with torch.no_grad():
        one.decay[0] = 50.0  # e^(0.1 * 50 * 4000) has no number in any precision
    kernel = one.kernel(4000)
    kernel.square().sum().backward()
    assert kernel.isfinite().all()
    for name, parameter in one.named_parameters():
        assert name == "D" or parameter.grad.isfinite().all(), name


def test_a_growing_mode_streams_as_it_convolves() -> None:
    one, x = layer(dt_min=0.05), torch.randn(2, 30, 3, dtype=torch.float64)
    with torch.no_grad():
        one.decay[::2] += 8.0
    state, columns = one.initial_state(2), []
    for t in range(30):
        y, state = one.step(x[:, t], state)
        columns.append(y)
    assert_close(torch.stack(columns, 1), one(x))
    _, half = one(x[:, :13], return_state=True)
    assert_close(one(x[:, 13:], state=half), one(x)[:, 13:])


def test_the_exp_form_is_s4d_with_the_same_modes_for_all_channels() -> None:
    one = layer(form="exp")
    torch.manual_seed(1)
    other = S4D(3, d_state=8).double()
    with torch.no_grad():
        other.log_step.copy_(one.log_step)
        other.log_decay.copy_(one.decay.expand(3, 4))
        other.frequency.copy_(one.frequency.expand(3, 4))
        other.B.copy_(torch.tensor([0.5, 0.0]))  # S4D adds the conjugate modes, DSS does not
        other.C.copy_(one.W)
        other.D.copy_(one.D)
    x = torch.randn(2, 50, 3, dtype=torch.float64)
    # The reciprocal of the paper is off by 1e-7 / |A|^2.
    torch.testing.assert_close(one(x), other(x), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(one(x, rate=2.0), other(x, rate=2.0), rtol=1e-5, atol=1e-5)


def test_softmax_is_tied_to_its_length_and_exp_to_nothing() -> None:
    x = torch.zeros(1, 31, 3, dtype=torch.float64)
    with pytest.raises(ConfigError, match="at most 30"):
        layer()(x)
    with pytest.raises(ConfigError, match="time scale"):
        layer()(x[:, :30], rate=2.0)
    assert layer(form="exp")(x, rate=2.0).shape == x.shape


def test_hints_and_options_are_checked() -> None:
    assert set(layer().optimizer_hints) == {"log_step", "decay", "frequency", "W"}
    assert all(hint["weight_decay"] == 0 for hint in layer().optimizer_hints.values())
    with pytest.raises(ConfigError, match="softmax, exp"):
        layer(form="linear")
    with pytest.raises(ConfigError, match="positive"):
        layer(max_length=0)
