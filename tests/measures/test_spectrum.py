"""The figures of a spectrum against closed forms, and what they must not depend on."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tacita.errors import ConfigError, DataError
from tacita.measures.spectrum import (
    SpectrumTracker,
    alpha_req,
    effective_rank,
    gram_singular_values,
    nesum,
    participation_ratio,
    singular_values,
    stable_rank,
)
from tests.helpers import assert_close

FIGURES = [alpha_req, participation_ratio, stable_rank, nesum]


def gaussian(rows: int, columns: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, columns, generator=generator, dtype=torch.float64)


def with_deviations(deviations: Tensor, rows: int = 40) -> Tensor:
    """Centred samples whose covariance has exactly these eigenvalues, squared, up to a factor."""
    columns = len(deviations)
    basis = gaussian(rows, columns)
    q = torch.linalg.qr(basis - basis.mean(0))[0]
    return q @ torch.diag(deviations.double()) @ torch.linalg.qr(gaussian(columns, columns, 1))[0]


def test_the_power_of_a_power_law_is_found() -> None:
    for alpha in (0.5, 1.0, 2.5):
        z = with_deviations(torch.arange(1, 13).double().pow(-alpha / 2))
        assert alpha_req(z + 7) == pytest.approx(alpha, rel=1e-6)


def test_directions_that_are_only_rounding_do_not_bend_the_power_law() -> None:
    z = with_deviations(torch.arange(1, 9).double().pow(-0.5))
    wide = torch.cat([z, z @ gaussian(8, 8, 2) / 3], 1)
    assert alpha_req(torch.cat([z, 0 * z], 1).float()) == pytest.approx(1.0, rel=1e-4)
    assert alpha_req(wide.float()) == pytest.approx(alpha_req(wide), rel=1e-3)
    assert alpha_req(torch.arange(5.0)[:, None] * torch.ones(1, 3)) == math.inf


def test_ratios_of_known_variances() -> None:
    z = with_deviations(torch.tensor([2.0, 1.0, 1.0]))
    assert participation_ratio(z) == pytest.approx(36 / 18, rel=1e-9)
    assert stable_rank(z) == pytest.approx(1.5, rel=1e-9)
    assert nesum(z + 5) == pytest.approx(1.5, rel=1e-9)
    equal = with_deviations(torch.ones(6))
    assert participation_ratio(equal) == pytest.approx(6)
    assert nesum(equal) == pytest.approx(6)


def test_only_the_stable_rank_sees_a_common_mean() -> None:
    z = with_deviations(torch.ones(6))
    assert stable_rank(z + 1000) == pytest.approx(1.0, abs=1e-4)
    assert participation_ratio(z + 1000) == pytest.approx(participation_ratio(z), rel=1e-6)


@pytest.mark.parametrize("figure", FIGURES)
def test_rotation_scale_and_order_change_nothing(figure) -> None:  # type: ignore[no-untyped-def]
    z = with_deviations(torch.tensor([5.0, 3.0, 2.0, 1.0, 0.5])) + 1
    rotation = torch.linalg.qr(gaussian(5, 5, 3))[0]
    order = torch.randperm(40, generator=torch.Generator().manual_seed(0))
    assert figure(0.01 * z[order] @ rotation) == pytest.approx(figure(z), rel=1e-8)
    assert figure(torch.cat([z, z])) == pytest.approx(figure(z), rel=1e-8)


@pytest.mark.parametrize("figure", [participation_ratio, stable_rank, nesum])
@pytest.mark.parametrize("z", [torch.zeros(5, 3), torch.full((50, 3), 0.1)])
def test_one_point_is_one_direction(figure, z: Tensor) -> None:  # type: ignore[no-untyped-def]
    assert figure(z) == pytest.approx(1.0, abs=1e-9)


def test_rounding_about_a_mean_is_no_spread() -> None:
    z = 100 * (1 + 1e-7 * gaussian(50, 4)).float()
    assert len(z.unique()) > 1
    assert singular_values(z, centre=True).tolist() == [0.0] * 4
    tracker = SpectrumTracker(4)
    tracker.update(z)
    assert tracker.singular_values(centre=True).tolist() == [0.0] * 4
    real = 100 * (1 + 1e-5 * gaussian(50, 4)).float()
    assert singular_values(real, centre=True).min() > 0


def test_the_effective_rank_of_equal_and_of_no_values() -> None:
    assert effective_rank(torch.ones(7)) == pytest.approx(7)
    assert effective_rank(torch.tensor([2.0, 0.0, 0.0])) == pytest.approx(1)
    assert effective_rank(torch.zeros(3)) == 1.0
    assert effective_rank(torch.ones(2), 0.5) == pytest.approx(1.0)  # p of 1 has no entropy


@settings(deadline=None, max_examples=25)
@given(
    parts=st.lists(st.integers(1, 9), min_size=1, max_size=6),
    columns=st.integers(1, 6),
    shift=st.floats(-1e4, 1e4),
)
def test_batches_give_the_spectrum_of_all(parts: list[int], columns: int, shift: float) -> None:
    z = gaussian(sum(parts), columns) + shift
    tracker = SpectrumTracker(columns)
    for part in z.split(parts):
        tracker.update(part)
    assert tracker.count == len(z)
    assert_close(tracker.mean, z.mean(0))
    assert_close(tracker.gram, z.T @ z)
    for centre in (False, True):
        exact = np.linalg.svd(z.numpy() - centre * z.numpy().mean(0), compute_uv=False)
        found = tracker.singular_values(centre=centre).numpy()
        # The root of an eigenvalue is known to 1e-8 of the largest.
        assert np.abs(found - exact).max() <= 1e-7 * max(exact.max(), 1e-9 * abs(shift))
        expected = effective_rank(torch.from_numpy(exact), 1e-7)
        assert tracker.rank(centre=centre) == pytest.approx(expected, rel=1e-4)


def test_a_small_spread_about_a_large_mean_survives_the_stream() -> None:
    z = with_deviations(torch.tensor([3.0, 1.0])) + 1e5
    tracker = SpectrumTracker(2)
    for part in z.split(7):
        tracker.update(part)
    assert tracker.rank(0, centre=True) == pytest.approx(1.7548, abs=1e-4)
    assert tracker.spread == pytest.approx(10 / (2 * 40 * 1e10), rel=1e-3)


def test_the_gram_route_keeps_no_more_values_than_samples() -> None:
    z = gaussian(3, 8)
    assert_close(gram_singular_values(z.T @ z, 3), singular_values(z))
    assert len(gram_singular_values(z.T @ z)) == 8


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_row_that_is_not_finite_is_named(value: float) -> None:
    z = torch.ones(10, 2)
    z[6, 1] = value
    with pytest.raises(DataError, match="Row 6 of the features is not finite"):
        singular_values(z)
    tracker = SpectrumTracker(2)
    tracker.update(z[:5])
    with pytest.raises(DataError, match="Row 6"):
        tracker.update(z[5:])
    assert tracker.count == 5


def test_what_is_no_matrix_is_refused() -> None:
    for z in (torch.ones(3), torch.ones(0, 3), torch.ones(2, 2, 2)):
        with pytest.raises(ConfigError, match="samples, features"):
            singular_values(z)
    with pytest.raises(ConfigError, match="square"):
        gram_singular_values(torch.ones(2, 3))
    with pytest.raises(ConfigError, match="at least one column"):
        SpectrumTracker(0)
    with pytest.raises(ConfigError, match="3 features was added to a spectrum of 2"):
        SpectrumTracker(2).update(torch.ones(4, 3))
