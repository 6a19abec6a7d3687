"""S4: the kernel that comes from a handful of sums is that of dense matrices multiplied out."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from scipy.signal import cont2discrete
from torch import Tensor

from tacita.engine.optimizer import build_optimizer
from tacita.errors import ConfigError
from tacita.layers.hippo import hippo, nplr
from tacita.layers.s4 import S4
from tests.helpers import assert_close

MEASURES = ["legs", "legt", "fout"]


def make(channels: int = 3, seed: int = 0, **options: object) -> S4:
    torch.manual_seed(seed)
    return S4(channels, **options).double()  # type: ignore[arg-type]


def dense_kernel(layer: S4, channel: int, length: int, rate: float = 1.0) -> Tensor:
    """By the full complex matrix of all conjugate pairs, scipy's bilinear rule and plain powers."""
    with torch.no_grad():
        modes = torch.complex(-layer.log_decay.exp(), layer.frequency).numpy()
        p = torch.view_as_complex(layer.P).numpy()
        b = torch.view_as_complex(layer.B).numpy()
        c_tilde = torch.view_as_complex(layer.C_tilde)[channel].numpy()
        step = float(layer.log_step[channel].exp())
    rows = np.concatenate([p, p.conj()], 1)
    a = np.diag(np.concatenate([modes, modes.conj()])) - rows.T @ rows.conj()
    b = np.concatenate([b, b.conj()])[:, None]
    eye = np.eye(len(a))

    def discrete(dt: float) -> tuple[np.ndarray, np.ndarray]:
        found = cont2discrete((a, b, eye, np.zeros_like(b)), dt, "bilinear")
        # scipy's form has the input of both ends of a step; ours is that of the paper.
        return found[0], np.linalg.solve(eye - dt / 2 * a, dt * b)

    powers = np.linalg.matrix_power(discrete(step)[0], layer.length)
    c = np.concatenate([c_tilde, c_tilde.conj()]) @ np.linalg.inv(eye - powers)
    a_bar, x = discrete(step * rate)
    kernel = []
    for _ in range(length):
        kernel.append((c @ x).item())
        x = a_bar @ x
    assert np.abs(np.imag(kernel)).max() < 1e-10
    return torch.tensor(np.real(kernel))


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize(("d_state", "length"), [(4, 16), (16, 64), (16, 65), (32, 256)])
def test_the_kernel_is_that_of_dense_powers(measure: str, d_state: int, length: int) -> None:
    layer = make(2, d_state=d_state, measure=measure, length=length)
    for asked in (7, length, length + 3):
        kernel = layer.kernel(asked)
        for channel in range(2):
            expected = dense_kernel(layer, channel, asked)
            torch.testing.assert_close(kernel[channel], expected, rtol=0, atol=1e-9)


def test_the_published_kernel_of_legs() -> None:
    """N = 4, a step of 0.1, and ones for C in the basis of HiPPO's own states."""
    layer = make(1, d_state=4, length=64)
    v = nplr("legs", 4)[3]
    with torch.no_grad():
        layer.log_step.fill_(np.log(0.1))
        for name, value in zip(("P", "B"), nplr("legs", 4)[1:3], strict=True):
            getattr(layer, name).copy_(torch.view_as_real(torch.from_numpy(value)))
        layer.log_decay.fill_(np.log(0.5))
        layer.frequency.copy_(torch.from_numpy(nplr("legs", 4)[0].imag))
        c = torch.from_numpy(np.ones(4) @ v)[None]
        layer.C_tilde.copy_(torch.view_as_real(c))
        power = layer._power(64, 1.0)
        row = torch.cat([c.real, -c.imag], -1)
        real, minus = (row - (row[:, None] @ power)[:, 0]).chunk(2, -1)
        layer.C_tilde.copy_(torch.stack([real, -minus], -1))
        kernel = layer.kernel(6)[0]
    expected = [0.547052, 0.223439, 0.063994, -0.004599, -0.025622, -0.023929]
    np.testing.assert_allclose(kernel.numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("measure", MEASURES)
def test_the_system_is_hippo_in_another_basis(measure: str) -> None:
    layer = make(1, d_state=8, measure=measure)
    with torch.no_grad():
        modes, p, _, step = layer._system(1.0)
        full = torch.cat([p[0], p[0].conj()], 1)
        a = torch.diag(torch.cat([modes[0], modes[0].conj()])) - full.T @ full.conj()
    ours = torch.linalg.eigvals(a / step.item())
    expected = torch.from_numpy(np.linalg.eigvals(hippo(measure, 8)[0]))
    gaps = (ours[:, None] - expected).abs()  # single precision moves LegS's by a hundredth
    assert gaps.min(0).values.max() < 0.02
    assert gaps.min(1).values.max() < 0.02
    assert (ours.real < 0).all()


def test_doubling_the_length_changes_no_output() -> None:
    layer = make(d_state=8, length=16)
    x = torch.randn(2, 40, 3, dtype=torch.float64)
    before, after = layer(x), copy.deepcopy(layer)
    after.lengthen()
    assert after.length == 32
    assert_close(after(x), before)
    assert (after.C_tilde - layer.C_tilde).abs().max() > 1e-3
    other = make(seed=1, d_state=8, length=16)
    other.load_state_dict(after.state_dict())
    assert_close(other(x), before)


def test_twice_the_rate_is_every_second_value_of_a_fine_kernel() -> None:
    layer = make(d_state=4, length=128, dt_min=1e-3, dt_max=2e-3)
    assert_close(layer.kernel(64, 2.0)[0], dense_kernel(layer, 0, 64, 2.0))
    fine, coarse = layer.kernel(128)[:, ::2], layer.kernel(64, 2.0)
    assert (2 * fine - coarse).abs().max() < 0.03 * coarse.abs().max()


def test_steps_follow_the_weights_after_training_and_keep_the_readout_in_between() -> None:
    layer = make(d_state=8, length=16)
    x = torch.randn(2, 3, dtype=torch.float64)
    state = layer.initial_state(2)
    with torch.no_grad():
        layer.step(x, state)
        kept = layer._kept
        layer.step(x, state, rate=2.0)
        assert layer._kept is kept
    optimizer = torch.optim.AdamW(layer.parameters(), lr=0.1, fused=True)
    layer(x[:, None]).square().sum().backward()
    optimizer.step()
    with torch.no_grad():
        assert_close(layer.step(x, state)[0], layer(x[:, None])[:, 0])


def test_steps_have_the_gradients_of_the_parallel_form() -> None:
    layer = make(d_state=4, length=8, measure="legt")
    x = torch.randn(2, 5, 3, dtype=torch.float64)
    state, outputs = layer.initial_state(2), []
    for t in range(5):
        y, state = layer.step(x[:, t], state)
        outputs.append(y)
    weights = torch.randn(2, 5, 3, dtype=torch.float64)
    own = list(layer.parameters())
    stepped = torch.autograd.grad((torch.stack(outputs, 1) * weights).sum(), own)
    whole = torch.autograd.grad((layer(x) * weights).sum(), own)
    for a, b in zip(stepped, whole, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-9)


def test_single_precision_is_near_double_at_the_usual_size() -> None:
    layer = make(4, d_state=64, length=1024)
    exact = layer.kernel(1024)
    assert (layer.float().kernel(1024) - exact).abs().max() < 1e-3 * exact.abs().max()


def test_the_system_learns_slowly_and_does_not_decay() -> None:
    layer = S4(4, d_state=8, length=8)
    groups = build_optimizer(layer, "adamw", 0.01, 0.05).param_groups
    slow = [g for g in groups if g["lr"] == 1e-3]
    found = {id(p) for g in slow for p in g["params"]}
    for name in ("log_step", "log_decay", "frequency", "P", "B"):
        assert id(getattr(layer, name)) in found, name
    assert id(layer.C_tilde) not in found
    assert all(g["weight_decay"] == 0 for g in slow)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigError, match="even"):
        S4(4, d_state=5)
    with pytest.raises(ConfigError, match="measure"):
        S4(4, measure="lagt")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="positive"):
        S4(4, length=0)


@pytest.mark.parametrize("measure", ["legs", "legt", "fout"])
def test_at_tiny_steps_kernels_and_steps_are_those_of_double_precision(measure):
    layer = S4(3, measure=measure, d_state=16, length=64, dt_min=1e-6, dt_max=2e-6).eval()
    x = torch.randn(2, 50, 3)
    with torch.no_grad():
        y, state, outputs = layer(x), layer.initial_state(2), []
        for t in range(50):
            out, state = layer.step(x[:, t], state)
            outputs.append(out)
        expected = layer.double()(x.double())
    for found in (y, torch.stack(outputs, 1)):
        torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=1e-6)
    assert layer.float()(x, rate=1e-3).isfinite().all()


@pytest.mark.parametrize("measure", ["legs", "fout"])
def test_a_kernel_in_single_precision_is_near_that_in_double(measure):
    layer = S4(3, measure=measure, d_state=16, length=64, dt_min=1e-3, dt_max=1e-2)
    found = layer.kernel(64)
    expected = layer.double().kernel(64)
    assert (found - expected).abs().max() <= 1e-4 * expected.abs().max()
