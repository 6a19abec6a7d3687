"""What goes wrong with Frechet distances: roots of singular products, and noise taken for distance."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torch import Tensor

from tacita.errors import ConfigError, DataError
from tacita.measures.frechet import frechet, gaussian_distance, moments
from tacita.modalities.load import load


def drawn(count: int, dim: int = 6, seed: int = 0, scale: float = 1.0) -> Tensor:
    """Features of unequal variances that hang together."""
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(count, dim, generator=generator, dtype=torch.float64)
    mix = torch.randn(dim, dim, generator=torch.Generator().manual_seed(99), dtype=torch.float64)
    return scale * z @ mix


def distance(a: Tensor, b: Tensor) -> float:
    return gaussian_distance(*moments(a), *moments(b))


@pytest.mark.parametrize("count", [5, 40, 400])
def test_no_set_is_away_from_itself(count: int) -> None:
    a = drawn(count, 32, scale=1e3)  # of 5 samples the covariance has rank 4 of 32
    total = float(a.var(0).sum())
    assert distance(a, a) <= 1e-9 * total
    assert distance(a, a.flip(0)) <= 1e-9 * total


def test_it_is_the_root_that_scipy_finds() -> None:
    a, b = drawn(80), 0.5 * drawn(60, seed=1) ** 2 + 1
    (mean_a, one), (mean_b, other) = moments(a), moments(b)
    root = np.real(sqrtm(one.numpy() @ other.numpy()))
    expected = float((mean_a - mean_b).square().sum()) + np.trace(
        one.numpy() + other.numpy() - 2 * root
    )
    assert distance(a, b) == pytest.approx(expected, rel=1e-9)
    np.testing.assert_allclose(one.numpy(), np.cov(a.numpy().T))


def test_it_is_symmetric_and_does_not_see_a_common_turn_or_shift() -> None:
    a, b = drawn(50), drawn(70, seed=1) * 1.5 + 0.3
    turn = torch.linalg.qr(drawn(6, 6, seed=5)).Q
    found = distance(a, b)
    assert distance(b, a) == pytest.approx(found, rel=1e-10)
    assert distance(a @ turn + 7, b @ turn + 7) == pytest.approx(found, rel=1e-8)
    assert distance(3 * a, 3 * b) == pytest.approx(9 * found, rel=1e-10)


def test_equal_covariances_leave_the_means() -> None:
    a = drawn(50)
    shift = torch.arange(6.0, dtype=torch.float64)
    assert distance(a, a + shift) == pytest.approx(float(shift.square().sum()), rel=1e-9)


def test_diagonal_covariances_have_the_sum_of_squared_differences_of_roots() -> None:
    a, b = torch.tensor([4.0, 0.0, 9.0]).double(), torch.tensor([1.0, 2.0, 0.0]).double()
    expected = float((a.sqrt() - b.sqrt()).square().sum())
    zero = torch.zeros(3).double()
    assert gaussian_distance(zero, a.diag(), zero, b.diag()) == pytest.approx(expected, rel=1e-12)


def test_two_sets_of_one_law_are_apart_by_about_one_over_n() -> None:
    def mean(count: int) -> float:
        found = [distance(drawn(count, seed=s), drawn(count, seed=s + 100)) for s in range(20)]
        return float(np.mean(found))

    few, more, many = mean(50), mean(200), mean(800)
    assert few > more > many > 0
    assert few / many == pytest.approx(16, rel=0.35)


def test_the_noise_is_that_of_two_sets_of_one_law() -> None:
    expected = np.mean([distance(drawn(60, seed=s), drawn(300, seed=s + 50)) for s in range(30)])
    found = frechet(drawn(60, seed=1), drawn(300, seed=2))
    assert found.noise == pytest.approx(expected, rel=0.25)
    assert abs(found.excess) < 0.05


def test_a_part_and_the_rest_agree_with_moments_taken_anew() -> None:
    a, b = drawn(9), drawn(30, seed=1) + 2
    found = frechet(a, b, draws=1, seed=3)
    both = torch.cat([a, b])
    order = torch.randperm(39, generator=torch.Generator().manual_seed(3))
    expected = distance(both[order[:9]], both[order[9:]])
    assert found.noise == pytest.approx(expected, rel=1e-8)
    assert found.variance == pytest.approx(float(both.var(0).sum()), rel=1e-10)


def test_false_alarms_are_as_rare_as_p_says() -> None:
    p = [
        frechet(drawn(15, seed=s), drawn(90, seed=s + 1000), draws=39, seed=s).p for s in range(200)
    ]
    # 10 of 200 are expected at 0.05, and 19 or more in one of 200 such tests.
    assert 1 <= sum(value <= 0.05 for value in p) <= 19
    assert np.mean(p) == pytest.approx(0.5, abs=0.08)


@pytest.mark.parametrize("count", [20, 100])
def test_another_digit_is_further_than_noise_even_with_fewer_samples_than_features(
    count: int,
) -> None:
    data = load("digits").normalised()
    # 64 pixels; as they come, the digits are in the order of their writers, which is told too.
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))
    x, y = data.take(order).x.flatten(1), data.y[order]
    zeros, ones = x[y == 0], x[y == 1]
    apart, alike = frechet(zeros[:count], ones), frechet(zeros[:count], zeros[count:])
    assert apart.p == pytest.approx(1 / 51)
    assert apart.excess > 0.2
    assert alike.p > 0.05
    assert abs(alike.excess) < 0.1


def test_the_same_seed_gives_the_same_noise() -> None:
    a, b = drawn(20), drawn(30, seed=1)
    assert frechet(a, b) == frechet(a, b)
    assert frechet(a, b).noise != frechet(a, b, seed=1).noise


def test_sets_without_any_difference_have_no_excess() -> None:
    same = torch.ones(5, 2)
    found = frechet(same, same)
    assert (found.value, found.excess, found.p) == (0.0, 0.0, 1.0)


def test_what_has_no_distance_is_refused() -> None:
    with pytest.raises(ConfigError, match="two samples or more"):
        frechet(drawn(1), drawn(5))
    with pytest.raises(ConfigError, match="no distance"):
        frechet(drawn(5, 3), drawn(5, 4))
    with pytest.raises(DataError, match="Row 2"):
        frechet(drawn(5), drawn(5).index_fill(0, torch.tensor([2]), torch.nan))
