"""LSSL is what the other layers are tested against, so it is tested against others' programs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from scipy.signal import cont2discrete
from torch import Tensor

from tacita.engine.optimizer import build_optimizer
from tacita.errors import ConfigError
from tacita.layers.hippo import hippo
from tacita.layers.krylov import generalised_bilinear, krylov
from tacita.layers.lssl import FAMILY, LSSL, tridiagonal_form
from tests.helpers import assert_close

MEASURES = ["legs", "legt", "lagt"]


def make(channels: int = 3, seed: int = 0, **options: object) -> LSSL:
    torch.manual_seed(seed)
    return LSSL(channels, **options).double()  # type: ignore[arg-type]


def system(measure: str, size: int) -> tuple[Tensor, Tensor]:
    a, b = hippo(measure, size)
    return torch.from_numpy(a), torch.from_numpy(b)


@pytest.mark.parametrize("alpha", [0.0, 0.25, 0.5, 1.0])
def test_every_rule_is_that_of_scipy(alpha: float) -> None:
    a, b = system("legs", 6)
    found = generalised_bilinear(a, b, torch.tensor([0.05], dtype=torch.float64), alpha)
    made = (a.numpy(), b.numpy()[:, None], np.eye(6), np.zeros((6, 1)))
    expected = cont2discrete(made, 0.05, "gbt", alpha=alpha)
    np.testing.assert_allclose(found[0][0], expected[0], atol=1e-12)
    np.testing.assert_allclose(found[1][0], expected[1][:, 0], atol=1e-12)


@pytest.mark.parametrize("length", [1, 2, 5, 8, 13, 64])
def test_doubling_gives_the_powers_one_by_one(length: int) -> None:
    torch.manual_seed(0)
    a, x = 0.5 * torch.randn(2, 4, 4, dtype=torch.float64), torch.randn(2, 4, dtype=torch.float64)
    columns = []
    power = krylov(a, x, length)
    for _ in range(length):
        columns.append(x)
        x = (a @ x[..., None]).squeeze(-1)
    assert_close(power, torch.stack(columns, -1))


@pytest.mark.parametrize("learn", ["none", "shared", "per_feature"])
@pytest.mark.parametrize("measure", MEASURES)
def test_the_tridiagonal_family_begins_at_hippo(measure: str, learn: str) -> None:
    for size in (2, 6, 15):
        layer = make(2, d_state=size, measure=measure, learn=learn)
        a, b = layer.system()
        wanted_a, wanted_b = system(measure, size)
        assert len(a) == (2 if learn == "per_feature" else 1)
        for own_a, own_b in zip(a, b, strict=True):
            # The weights were made in single precision.
            torch.testing.assert_close(own_a, wanted_a, rtol=1e-5, atol=1e-4)
            torch.testing.assert_close(own_b, wanted_b, rtol=1e-6, atol=1e-6)


def test_in_double_precision_the_family_is_exact() -> None:
    for measure in MEASURES:
        left, right, lower, diagonal, upper, shift, drive = tridiagonal_form(measure, 6)
        tri = torch.diag(diagonal) + torch.diag(lower, -1) + torch.diag(upper, 1)
        inner = torch.linalg.inv(tri) + torch.diag(shift)
        a, b = system(measure, 6)
        torch.testing.assert_close(-left[:, None] * inner * right, a, rtol=0, atol=1e-12)
        torch.testing.assert_close(left * drive, b, rtol=0, atol=1e-12)


def test_the_published_kernel_of_legs() -> None:
    layer = make(1, d_state=4, learn="none")
    with torch.no_grad():
        layer.C.fill_(1.0)
        layer.log_step.fill_(np.log(0.1))
        a, b = system("legs", 4)
        layer.A.copy_(a[None])
        layer.B.copy_(b[None])
    expected = [0.547052, 0.223439, 0.063994, -0.004599, -0.025622, -0.023929]
    np.testing.assert_allclose(layer.kernel(6)[0].detach().numpy(), expected, atol=1e-6)


def test_one_state_and_the_backward_rule_are_a_gated_recurrence() -> None:
    z = torch.linspace(-4, 4, 9, dtype=torch.float64)
    minus, one = -torch.ones(1, 1, dtype=torch.float64), torch.ones(9, 1, dtype=torch.float64)
    a, b = generalised_bilinear(minus, one, z.exp(), 1.0)
    assert_close(a.flatten(), 1 - z.sigmoid())
    assert_close(b.flatten(), z.sigmoid())


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("alpha", [0.5, 1.0])
def test_implicit_rules_keep_stable_systems_stable(measure: str, alpha: float) -> None:
    layer = make(4, d_state=16, measure=measure, alpha=alpha, dt_min=1e-3, dt_max=1.0)
    radius = torch.linalg.eigvals(layer.discrete()[0]).abs().amax(-1)
    assert (radius < 1).all()


def test_it_is_the_differential_equation_to_second_order() -> None:
    """The input is a sine; halving the step size divides the error by four."""
    a, b = hippo("legt", 6)
    solved = solve_ivp(
        lambda t, x: a @ x + b * np.sin(3 * t), (0, 1), np.zeros(6), rtol=1e-11, atol=1e-12
    ).y[:, -1]
    errors = []
    for steps in (64, 128, 256):
        layer = make(1, d_state=6, measure="legt", learn="none")
        with torch.no_grad():
            layer.log_step.fill_(-np.log(steps))
            layer.A.copy_(torch.from_numpy(a))
            layer.B.copy_(torch.from_numpy(b))
        # The mean of both ends of a step, as the trapezoid rule takes it.
        t = torch.arange(steps + 1, dtype=torch.float64) / steps
        u = torch.sin(3 * t)
        x = ((u[1:] + u[:-1]) / 2)[None, :, None]
        last = layer(x, return_state=True)[1]["ssm"][0, 0]
        errors.append(np.abs(last.detach().numpy() - solved).max())
    slopes = np.log2(np.array(errors[:-1]) / errors[1:])
    np.testing.assert_allclose(slopes, 2, atol=0.1)


def test_steps_of_unequal_length_follow_the_same_equation() -> None:
    """A constant input over irregular gaps, held as long as they are: near the even fine steps."""
    layer = make(2, d_state=4, dt_min=0.01, dt_max=0.01)
    gaps = [0.5, 2.0, 1.0, 0.25, 1.25]
    x = torch.ones(1, 2, dtype=torch.float64)
    coarse, fine = layer.initial_state(1), layer.initial_state(1)
    for gap in gaps:
        coarse = layer.step(x, coarse, rate=gap)[1]
    for _ in range(500):
        fine = layer.step(x, fine, rate=0.01)[1]
    torch.testing.assert_close(coarse["ssm"], fine["ssm"], rtol=1e-3, atol=1e-4)


def test_without_a_readout_only_the_skip_is_left() -> None:
    layer = make(d_state=4)
    with torch.no_grad():
        layer.C.zero_()
    x = torch.randn(2, 7, 3, dtype=torch.float64)
    assert_close(layer(x), layer.D * x)


def test_the_output_follows_the_weights_at_once() -> None:
    layer, x = make(d_state=4), torch.randn(2, 7, 3, dtype=torch.float64)
    before = layer(x)
    optimizer = build_optimizer(layer, "adamw", 0.1, 0.0)
    before.square().sum().backward()
    optimizer.step()
    after = layer(x)
    assert (after - before).abs().max() > 1e-3
    assert_close(layer.step(x[:, 0], layer.initial_state(2))[0], after[:, 0])


def test_the_matrix_learns_most_slowly() -> None:
    layer = LSSL(4, d_state=4)
    rates = {
        id(p): (g["lr"], g["weight_decay"])
        for g in build_optimizer(layer, "adamw", 0.01, 0.05).param_groups
        for p in g["params"]
    }
    assert all(rates[id(getattr(layer, name))] == (1e-4, 0.0) for name in FAMILY)
    assert rates[id(layer.log_step)] == (1e-3, 0.0)
    assert rates[id(layer.C)] == (0.01, 0.05)
    fixed = LSSL(4, d_state=4, learn="none")
    assert {name for name, _ in fixed.named_parameters()} == {"C", "D"}


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigError, match="learn"):
        LSSL(4, learn="all")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="measure"):
        LSSL(4, measure="fout")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="alpha"):
        LSSL(4, alpha=1.5)
    with pytest.raises(ConfigError, match="less than 2"):
        LSSL(4, d_state=1)
    layer = LSSL(4, d_state=4, memory_limit=4 * 4 * 100 * 4)
    layer(torch.zeros(1, 100, 4))
    with pytest.raises(ConfigError, match="memory_limit"):
        layer(torch.zeros(1, 101, 4))
