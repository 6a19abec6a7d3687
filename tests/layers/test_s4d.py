"""Conventions are where diagonal systems go wrong: which rule, which factor of two, which precision of a
phase after 16,000 steps. All are held against dense matrix exponentials, scipy and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.linalg import expm
from scipy.signal import cont2discrete
from torch import Tensor

from tacita.errors import ConfigError
from tacita.layers.discretise import bilinear_exponent, discretise
from tacita.layers.hippo import hippo
from tacita.layers.s4d import S4D, starting_modes
from tests.helpers import assert_close


def layer(d_model: int = 3, **options: object) -> S4D:
    torch.manual_seed(0)
    return S4D(d_model, **{"d_state": 8, **options}).double()


def numbers(values: Tensor) -> np.ndarray:
    return torch.view_as_complex(values.detach()).numpy()


@pytest.mark.parametrize(
    "rule, expected",
    [
        ("zoh", [0.387011, 0.350341, 0.300985, 0.244020, 0.184809, 0.128457]),
        ("bilinear", [0.385767, 0.349877, 0.301445, 0.245362, 0.186828, 0.130827]),
    ],
)
def test_the_kernel_has_the_reference_values(rule: str, expected: list[float]) -> None:
    one = layer(1, d_state=4, start="lin", discretisation=rule)
    with torch.no_grad():
        one.log_step.fill_(math.log(0.1))
        one.log_decay.fill_(math.log(0.5))
        one.frequency.copy_(torch.tensor([[0.0, math.pi]]))
        for weights in (one.B, one.C):
            weights.copy_(torch.tensor([1.0, 0.0]))
    actual = one.kernel(6)[0].detach()
    assert torch.allclose(actual, torch.tensor(expected, dtype=torch.float64), atol=6e-7)


@pytest.mark.parametrize("rule", ["zoh", "bilinear"])
@pytest.mark.parametrize("start", ["legs", "inv", "lin", "real", "random"])
def test_the_kernel_is_that_of_the_dense_system(start: str, rule: str) -> None:
    """Each channel as a real system of `N` states, discretised by scipy and multiplied out."""
    one = layer(start=start, discretisation=rule)
    kernel = one.kernel(20).detach().numpy()
    for h in range(3):
        modes = -np.exp(one.log_decay[h].detach().numpy()) + 1j * one.frequency[h].detach().numpy()
        a = np.diag(np.concatenate([modes, modes.conj()]))
        b = np.concatenate([numbers(one.B)[h], numbers(one.B)[h].conj()])[:, None]
        c = np.concatenate([numbers(one.C)[h], numbers(one.C)[h].conj()])[None]
        step = math.exp(one.log_step[h].item())
        if rule == "zoh":  # scipy's own takes real systems only: the exponential of the whole
            whole = expm(np.block([[a, b], [np.zeros((1, 9))]]) * step)
            a_bar, b_bar = whole[:8, :8], whole[:8, 8:]
        else:
            a_bar, b_bar, *_ = cont2discrete((a, b, c, np.zeros((1, 1))), step, "bilinear")
        power = np.eye(8)
        for value in kernel[h]:
            expected = c @ power @ b_bar
            assert abs(expected.imag) < 1e-9
            assert value == pytest.approx(expected.real.item(), rel=1e-8, abs=1e-10)
            power = a_bar @ power


def test_zero_order_hold_is_that_of_scipy_for_a_real_system() -> None:
    decay, turn, step = 0.3, 2.0, 0.2
    a = np.array([[-decay, -turn], [turn, -decay]])  # the mode -0.3 + 2i in real numbers
    a_bar, b_bar, *_ = cont2discrete((a, np.eye(2)[:, :1], np.eye(2), np.zeros((2, 1))), step)
    z = torch.tensor([complex(-decay, turn)], dtype=torch.complex128)
    exponent, scale = discretise(step * z, torch.tensor(step, dtype=torch.float64), "zoh")
    assert exponent.exp()[0].item() == pytest.approx(complex(a_bar[0, 0], a_bar[1, 0]))
    assert scale[0].item() == pytest.approx(complex(b_bar[0, 0], b_bar[1, 0]))


def test_two_half_steps_with_the_input_held_are_one_step() -> None:
    one, x = layer(), torch.randn(2, 15, 3, dtype=torch.float64)
    twice = x.repeat_interleave(2, 1)
    coarse = one(x, rate=1.0) - one.D * x
    fine = one(twice, rate=0.5) - one.D * twice
    assert_close(fine[:, 1::2], coarse)


@pytest.mark.parametrize("rule", ["zoh", "bilinear"])
def test_every_mode_decays_whatever_its_parameters(rule: str) -> None:
    one = layer(discretisation=rule)
    with torch.no_grad():
        one.log_decay.normal_(0, 3)
        one.frequency.normal_(0, 1000)
    exponents, _ = one.discrete()
    assert (exponents.real < 0).all()
    assert (exponents.exp().abs() < 1).all()


def test_the_bilinear_rule_keeps_an_oscillation_and_a_decay_too_small_for_a_single_number() -> None:
    turns = torch.complex(torch.zeros(5), torch.tensor([-3.0, -0.1, 0.0, 1e-4, 40.0]))
    assert torch.equal(bilinear_exponent(turns).real, torch.zeros(5))
    exact = torch.tensor([complex(-5e-5, 0.01), complex(-3.0, 0.5), complex(-1e-9, 2.0)]).to(
        torch.complex128
    )
    expected = ((1 + exact / 2) / (1 - exact / 2)).log()
    single = bilinear_exponent(exact.to(torch.complex64)).to(torch.complex128)
    assert_close(bilinear_exponent(exact), expected)
    assert ((single.real - expected.real) / expected.real).abs().max() < 1e-6


def test_the_modes_are_those_of_the_table() -> None:
    def imaginary(start: str) -> Tensor:
        return starting_modes(start, 64)[0].imag.sort(descending=True).values

    for start, expected in (
        ("legs", [1303.3, 433.0, 258.2, 112.9]),
        ("inv", [1283.4, 414.2, 240.4, 98.2]),
    ):
        assert torch.allclose(
            imaginary(start)[[0, 1, 2, 5]],
            torch.tensor(expected, dtype=torch.float64),
            atol=0.06,
        )
    assert_close(imaginary("lin").flip(0), math.pi * torch.arange(32, dtype=torch.float64))
    for start in ("legs", "inv", "lin"):
        assert_close(
            starting_modes(start, 64)[0].real, torch.full((32,), -0.5, dtype=torch.float64)
        )
    real = starting_modes("real", 64)[0]
    assert (real.imag == 0).all()
    assert_close(real.real, -torch.arange(1, 33, dtype=torch.float64))


def test_b_and_the_modes_are_those_of_the_normal_part_of_hippo() -> None:
    a, b = hippo("legs", 8)
    p = np.sqrt(np.arange(8) + 0.5)
    modes, weights = starting_modes("legs", 8)
    for frequency in (0.3, 4.0):
        expected = b @ np.linalg.solve(1j * frequency * np.eye(8) - a - np.outer(p, p), b)
        both = (weights.abs().square() / (1j * frequency - modes)).sum()
        both = both + (weights.abs().square() / (1j * frequency - modes.conj())).sum()
        assert both.item() == pytest.approx(expected)


def test_hippo_and_its_normal_part_agree_on_slow_inputs_ever_better_with_size() -> None:
    """The first basis functions' responses to a sine: the difference falls as `1 / N`."""

    def difference(size: int, frequency: float) -> float:
        a, b = hippo("legs", size)
        p = np.sqrt(np.arange(size) + 0.5)
        shifted = 1j * frequency * np.eye(size)
        exact = np.linalg.solve(shifted - a, b)[:4]
        normal = np.linalg.solve(shifted - a - np.outer(p, p), b / 2)[:4]
        return float(np.linalg.norm(exact - normal))

    for frequency in (1.0, 5.0, 20.0):
        gain = difference(256, frequency) / difference(1024, frequency)
        assert gain == pytest.approx(4, rel=0.1)
    assert difference(64, 1.0) < 0.02


def test_the_order_of_the_modes_and_what_B_takes_from_C_change_nothing() -> None:
    one, x = layer(), torch.randn(2, 15, 3, dtype=torch.float64)
    before = one(x).detach()
    with torch.no_grad():
        order = torch.tensor([2, 0, 3, 1])
        for parameter in (one.log_decay, one.frequency, one.B, one.C):
            parameter.copy_(parameter[:, order].clone())
        one.B.mul_(7.0)
        one.C.div_(7.0)
    assert_close(one(x), before)


def test_a_mode_of_zero_sums_its_input() -> None:
    one = layer(1, d_state=2)
    with torch.no_grad():
        one.log_decay.fill_(-1000.0)  # a decay of e^-1000, which is 0
        one.frequency.zero_()
        one.B.copy_(torch.tensor([1.0, 0.0]))
        one.C.copy_(torch.tensor([0.5, 0.0]))
        one.D.zero_()
    x = torch.randn(1, 9, 1, dtype=torch.float64)
    y = one(x)
    assert_close(y, x.cumsum(1) * one.log_step.exp())
    y.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in one.parameters())


@pytest.mark.parametrize("rule", ["zoh", "bilinear"])
@pytest.mark.parametrize("dt", [1e-4, 0.1])
def test_single_precision_keeps_the_phase_over_16384_steps(rule: str, dt: float) -> None:
    """What remains is the rounding of one step's phase, and that is a change of the parameter."""
    torch.manual_seed(0)
    one = S4D(2, discretisation=rule, dt_min=dt, dt_max=dt)
    exponents, b = (value.to(torch.complex128) for value in one.discrete())
    weights = 2 * torch.view_as_complex(one.C).to(torch.complex128) * b
    powers = (exponents[..., None] * torch.arange(16384, dtype=torch.float64)).exp()
    expected = (weights[..., None] * powers).sum(1).real
    kernel = one.kernel(16384)
    assert (kernel - expected).abs().max() <= 2e-6 * expected.abs().max()
    kernel.square().sum().backward()
    for name, parameter in one.named_parameters():
        if name != "D":
            assert parameter.grad is not None
            assert parameter.grad.isfinite().all(), name


def test_state_space_parameters_learn_slowly_and_do_not_decay() -> None:
    hints = layer().optimizer_hints
    assert set(hints) == {"log_step", "log_decay", "frequency", "B"}
    assert all(hint == {"learning_rate": 1e-3, "weight_decay": 0.0} for hint in hints.values())


@pytest.mark.parametrize(
    "options, message",
    [
        ({"d_state": 7}, "even"),
        ({"start": "legz"}, "unknown"),
        ({"discretisation": "euler"}, "unknown"),
        ({"dt_min": 0.1, "dt_max": 0.01}, "range"),
        ({"dt_min": 0.0}, "range"),
    ],
)
def test_what_makes_no_system_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        layer(**options)
