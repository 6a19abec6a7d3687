"""The gate and the state space are written out, with the kernel as an explicit sum."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from tacita.errors import ConfigError
from tacita.layers.gss import GSS, UnscaledSSM
from tests.helpers import assert_close


def layer(**options: object) -> GSS:
    torch.manual_seed(0)
    return GSS(8, **{"d_state": 6, **options}).double()


def test_the_output_is_that_of_the_formula() -> None:
    one, x = layer(), torch.randn(2, 11, 8, dtype=torch.float64)
    modes = torch.complex(-one.ssm.log_decay.exp(), one.ssm.log_frequency.exp())
    c = torch.view_as_complex(one.ssm.C)
    r = functional.gelu(x @ one.enter.weight.T)
    taps = [(c * (modes.exp() - 1) / modes * (modes * age).exp()).sum(-1).real for age in range(11)]
    mixed = one.ssm.D * r + torch.stack(
        [sum(taps[t - s] * r[:, s] for s in range(t + 1)) for t in range(11)], 1
    )
    gate = functional.gelu(x @ one.gate.weight.T)
    assert_close(one(x), (gate * (mixed @ one.widen.weight.T)) @ one.leave.weight.T)


def test_the_widths_are_the_papers_unless_given() -> None:
    one = layer()
    assert one.gate.out_features == 32
    assert one.ssm.d_model == 2
    other = layer(d_gate=5, d_inner=3)
    assert (other.gate.out_features, other.ssm.d_model) == (5, 3)
    with pytest.raises(ConfigError, match="positive"):
        layer(d_inner=0)


def test_its_modes_decay_and_have_hints() -> None:
    torch.manual_seed(0)
    ssm = UnscaledSSM(2, 1000)
    assert (ssm.system()[0].real < 0).all()
    assert set(ssm.optimizer_hints) == {"log_decay", "log_frequency", "C"}


def test_a_held_input_at_half_the_step_gives_the_same_outputs() -> None:
    torch.manual_seed(0)
    ssm, x = UnscaledSSM(3, 6).double(), torch.randn(2, 9, 3, dtype=torch.float64)
    twice = x.repeat_interleave(2, 1)
    fine = ssm(twice, rate=0.5) - ssm.D * twice
    assert_close(fine[:, 1::2], ssm(x) - ssm.D * x)
