"""Perturb then diagonalise: against the dense system itself, and against what the theory says of it."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import scipy.signal
import torch

from tacita.errors import ConfigError
from tacita.layers.hippo import hippo, nplr
from tacita.layers.perturb import (
    Diagonalised,
    condition_and_growth,
    eigvec_condition,
    hinf_gap,
    perturb_then_diagonalise,
    perturbed_legs,
    transfer_function,
    with_conjugates,
)

GRID = np.linspace(0, 300, 301)


def matrix_of(near: Diagonalised) -> np.ndarray:
    """`A + E` again, from its modes."""
    return 2 * ((near.vectors * near.weights * near.modes) @ near.inverse).real


@pytest.mark.parametrize("size", [2, 5, 16, 32])
def test_the_modes_are_those_of_the_perturbed_matrix(size: int) -> None:
    near, a = perturbed_legs(size, 0.01), hippo("legs", size)[0]
    scale = np.linalg.norm(a, 2)
    condition = eigvec_condition(a + near.perturbation)
    error = np.linalg.norm(matrix_of(near) - a - near.perturbation, 2)
    assert error <= 1e-10 * condition * scale
    assert np.linalg.norm(near.perturbation, 2) <= 0.01 * scale * (1 + 1e-12)
    assert np.isrealobj(near.perturbation)
    np.testing.assert_allclose(np.linalg.norm(near.vectors, axis=0), 1)


@pytest.mark.parametrize("size", [5, 16, 32])
def test_the_spectrum_is_closed_under_conjugation_and_stable(size: int) -> None:
    near = perturbed_legs(size, 0.01)
    paired = near.weights == 1
    whole = np.concatenate([near.modes, near.modes[paired].conj()])
    assert len(whole) == size
    expected = np.linalg.eigvals(hippo("legs", size)[0] + near.perturbation)
    distances = np.abs(whole[:, None] - expected)
    rows, columns = scipy.optimize.linear_sum_assignment(distances)
    assert distances[rows, columns].max() < 1e-9 * np.abs(expected).max()
    assert (near.modes[~paired].imag == 0).all()
    assert (near.modes[paired].imag > 0).all()
    assert near.modes.real.max() < 0


def test_the_condition_is_far_below_that_of_a_random_perturbation() -> None:
    """At size 32 and 0.01: some 25 to 40 here, 135 and more at random, 1e19 without."""
    a = hippo("legs", 32)[0]
    condition = eigvec_condition(a + perturbed_legs(32, 0.01).perturbation)
    noise = np.random.default_rng(0).standard_normal(a.shape)
    noise *= 0.01 * np.linalg.norm(a, 2) / np.linalg.norm(noise, 2)
    assert condition < 45
    assert eigvec_condition(a + noise) > 3 * condition
    assert eigvec_condition(a) > 1e12


def test_the_condition_falls_as_the_perturbation_grows() -> None:
    a = hippo("legs", 16)[0]
    small, middle, large = (
        eigvec_condition(a + perturbed_legs(16, size).perturbation) for size in (1e-3, 1e-2, 1e-1)
    )
    assert small > 2 * middle > 4 * large


def test_hippo_s_own_eigenvectors_are_hopeless() -> None:
    """86 at size 4 and 77 thousand at 8, and a normal matrix has 1."""
    assert eigvec_condition(hippo("legs", 4)[0]) == pytest.approx(86, rel=0.02)
    assert eigvec_condition(hippo("legs", 8)[0]) == pytest.approx(7.7e4, rel=0.02)
    assert eigvec_condition([[0.0, 3.0], [-3.0, 0.0]]) == pytest.approx(1)


def test_its_kernel_is_that_of_the_matrix_exponential() -> None:
    near = perturbed_legs(12, 0.01)
    a, b = hippo("legs", 12)
    c = np.random.default_rng(0).standard_normal(12)
    for t in (0.0, 0.1, 1.0):
        expected = c @ scipy.linalg.expm(t * (a + near.perturbation)) @ b
        waves = (c @ near.vectors) * near.weights * np.exp(near.modes * t) * (near.inverse @ b)
        assert 2 * waves.sum().real == pytest.approx(expected, rel=1e-8, abs=1e-8)


def test_the_gradient_of_the_condition_is_that_of_finite_differences() -> None:
    a = torch.from_numpy(hippo("legs", 5)[0])
    noise = torch.randn(5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    point = (a + noise).requires_grad_()
    assert torch.autograd.gradcheck(condition_and_growth, (point,), atol=1e-5)


def test_the_same_arguments_give_the_same_whatever_mode_the_caller_is_in() -> None:
    a = hippo("legs", 6)[0]
    first = perturb_then_diagonalise(a)
    state = torch.get_rng_state()
    with torch.inference_mode(), torch.device("meta"):
        second = perturb_then_diagonalise(a)
    assert np.array_equal(first.perturbation, second.perturbation)
    assert torch.equal(torch.get_rng_state(), state)
    third = perturb_then_diagonalise(a, seed=1)
    assert not np.array_equal(first.perturbation, third.perturbation)


def test_it_serves_any_matrix_also_one_that_grows() -> None:
    companion = scipy.linalg.companion([1.0, 10.0, 35.0, 50.0, 24.0])
    near = perturb_then_diagonalise(companion, 0.01)
    assert eigvec_condition(companion + near.perturbation) < eigvec_condition(companion) / 2
    growing = np.diag([1.0, 2.0, 3.0])
    with pytest.raises(ConfigError, match="stable"):
        perturb_then_diagonalise(growing, 0.01)
    assert perturb_then_diagonalise(growing, 0.01, stable=False).modes.real.min() > 0.9


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ConfigError, match="as good as dependent"):
        perturb_then_diagonalise(hippo("legs", 4)[0], 0.0)
    for wrong in (np.zeros((2, 3)), np.zeros(3), np.eye(2) * 1j):
        with pytest.raises(ConfigError, match="real"):
            perturb_then_diagonalise(wrong)


def test_the_transfer_function_is_scipy_s_and_no_matter_how_the_state_is_scaled() -> None:
    a, b = hippo("legs", 6)
    c = np.random.default_rng(0).standard_normal(6)
    points = np.linspace(0.1, 20, 15)
    # scipy goes by way of polynomials, whose leading coefficient must not vanish: hence the skip of 1.
    _, shifted = scipy.signal.freqresp((a, b[:, None], c[None], np.ones((1, 1))), points)
    np.testing.assert_allclose(transfer_function(a, b, c, 1j * points), shifted - 1, rtol=1e-8)
    scales = np.arange(1.0, 7)
    near = perturbed_legs(6, 0.01)
    modes, vectors = np.linalg.eig(a + near.perturbation)
    b_modes, c_modes = np.linalg.solve(vectors, b), c @ vectors
    dense = transfer_function(a + near.perturbation, b, c, 1j * points)
    for scale in (np.ones(6), scales):
        actual = transfer_function(modes, b_modes / scale, c_modes * scale, 1j * points)
        np.testing.assert_allclose(actual, dense, rtol=1e-9)
    halves = with_conjugates(near.modes, near.inverse @ b, (c @ near.vectors) * near.weights)
    np.testing.assert_allclose(transfer_function(*halves, 1j * points), dense, rtol=1e-9)


def test_many_inputs_and_outputs_are_all_pairs_of_them() -> None:
    a = hippo("legs", 5)[0]
    generator = np.random.default_rng(0)
    b, c = generator.standard_normal((5, 3)), generator.standard_normal((2, 5))
    points = 1j * np.array([0.0, 1.0, 4.0])
    together = transfer_function(a, b, c, points)
    for k in range(2):
        for h in range(3):
            np.testing.assert_allclose(
                together[:, k, h], transfer_function(a, b[:, h], c[k], points)
            )
    diagonal = -np.arange(1.0, 6)
    np.testing.assert_allclose(
        transfer_function(diagonal, b, c, points),
        transfer_function(np.diag(diagonal), b, c, points),
    )
    assert transfer_function(diagonal, b[:, 0], c, points).shape == (3, 2)
    assert transfer_function(diagonal, b, c[0], points).shape == (3, 3)
    gap = hinf_gap((a, b, c), (a, 0 * b, c), points.imag)
    assert gap == pytest.approx(max(np.linalg.norm(g, 2) for g in together))


def test_the_gap_looks_at_peaks_between_the_points_of_the_grid() -> None:
    sharp = with_conjugates([-1e-3 + 37.123j], [1.0], [1.0])
    nothing = ([-1.0], [0.0], [0.0])
    assert hinf_gap(sharp, nothing, GRID) == pytest.approx(1e3, rel=1e-3)


def test_dropping_the_low_rank_part_leaves_spikes_and_perturbing_does_not() -> None:
    """The paper's theorems 2 and 3: at its top frequency S4D's system is off, by far more."""
    size = 32
    a, b = hippo("legs", size)
    normal, _, b_modes, basis = nplr("legs", size)
    near = perturbed_legs(size, 0.01)
    unit = b / np.linalg.norm(b)
    for seed in range(3):
        c = np.random.default_rng(seed).standard_normal(size)
        c /= np.linalg.norm(c)
        # S4D's limit is HiPPO's with half of B.
        s4d = with_conjugates(normal, b_modes / (2 * np.linalg.norm(b)), c @ basis)
        ptd = with_conjugates(near.modes, near.inverse @ unit, (c @ near.vectors) * near.weights)
        dense = (a, unit, c)
        assert hinf_gap(ptd, dense, GRID) < hinf_gap(s4d, dense, GRID) / 2


def test_a_smaller_perturbation_is_nearer() -> None:
    size = 12
    a, b = hippo("legs", size)
    c = np.random.default_rng(0).standard_normal(size)
    gaps = []
    for share in (1e-1, 1e-2, 1e-3, 1e-4):
        near = perturbed_legs(size, share)
        ptd = with_conjugates(near.modes, near.inverse @ b, (c @ near.vectors) * near.weights)
        gaps.append(hinf_gap(ptd, (a, b, c), GRID))
    assert gaps[3] < gaps[2] / 3 < gaps[1] / 9 < gaps[0] / 27
