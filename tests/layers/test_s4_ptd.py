"""S4-PTD and S5-PTD start as HiPPO's whole system, but for the perturbation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import expm
from torch import Tensor

from tacita.errors import ConfigError
from tacita.layers.hippo import hippo
from tacita.layers.perturb import perturbed_legs
from tacita.layers.s4_ptd import S4PTD
from tacita.layers.s5_ptd import S5PTD

SIZE = 12
STEP = 0.02


def perturbed() -> np.ndarray:
    return hippo("legs", SIZE)[0] + perturbed_legs(SIZE, 0.01).perturbation


def held(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Zero-order hold of a dense system."""
    discrete = expm(STEP * a)
    return discrete, np.linalg.solve(a, (discrete - np.eye(len(a))) @ b)


def test_s4_ptd_has_the_kernel_of_the_perturbed_system_with_the_whole_of_b() -> None:
    torch.manual_seed(0)
    layer = S4PTD(3, d_state=SIZE, dt_min=STEP, dt_max=STEP)
    torch.manual_seed(0)
    c = torch.randn(3, SIZE, dtype=torch.float64).numpy()
    a, b = held(perturbed(), hippo("legs", SIZE)[1])
    expected, state = [], b
    for _ in range(40):
        expected.append(c @ state)
        state = a @ state
    actual = layer.kernel(40).detach().double().numpy()
    np.testing.assert_allclose(actual, np.array(expected).T, atol=1e-3 * np.abs(actual).max())


def test_s5_ptd_starts_from_the_perturbed_system_in_its_eigenvectors() -> None:
    torch.manual_seed(0)
    layer = S5PTD(3, d_state=SIZE, dt_min=STEP, dt_max=STEP)
    torch.manual_seed(0)
    entering = (torch.randn(1, SIZE, 3) / SIZE**0.5)[0].double().numpy()
    a, _ = held(perturbed(), entering)
    discrete, b = layer.discrete()
    near = perturbed_legs(SIZE, 0.01)
    back = near.vectors * near.weights  # from the modes to the state
    step = 2 * (back @ np.diag(discrete.detach().numpy()) @ near.inverse).real
    np.testing.assert_allclose(step, a, atol=1e-4)
    written = 2 * (back @ b.detach().numpy()).real
    np.testing.assert_allclose(written, held(perturbed(), entering)[1], atol=1e-5)


def test_blocks_are_perturbed_alone() -> None:
    modes = torch.view_as_complex(S5PTD(2, d_state=16, blocks=4).modes.detach())
    expected = torch.from_numpy(perturbed_legs(4, 0.01).modes).to(modes.dtype)
    torch.testing.assert_close(modes, expected.repeat(4))


def response(layer: S4PTD | S5PTD, x: Tensor) -> Tensor:
    y = layer(x)
    assert isinstance(y, Tensor)
    return y


@pytest.mark.parametrize("cls", [S4PTD, S5PTD])
def test_a_perturbation_makes_another_start_and_must_be_positive(cls: type[S4PTD]) -> None:
    x, results = torch.randn(1, 20, 3), []
    for share in (0.01, 0.1):
        torch.manual_seed(0)
        results.append(response(cls(3, d_state=8, perturbation=share), x))
    assert not torch.allclose(*results)
    with pytest.raises(ConfigError, match="not positive"):
        cls(3, d_state=8, perturbation=0.0)
    with pytest.raises(ConfigError, match="even"):
        cls(3, d_state=7)
