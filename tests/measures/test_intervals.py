"""Intervals against what others compute, and that they hold what they promise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from tacita.measures.intervals import mean_of_shares, wilson


@given(st.integers(1, 400), st.floats(0, 1))
def test_wilson_is_that_of_scipy_and_holds_the_share(total: int, share: float) -> None:
    right = round(share * total)
    low, high = wilson(right, total)
    expected = binomtest(right, total).proportion_ci(method="wilson")
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-6)
    assert 0 <= low <= right / total + 1e-12
    assert right / total - 1e-12 <= high <= 1


def test_the_interval_of_balanced_accuracy_holds_the_truth_about_as_often_as_it_says() -> None:
    draw = np.random.default_rng(0)
    total, truth = np.array([40, 8, 15]), np.array([0.9, 0.5, 0.7])
    held = 0
    for _ in range(1000):
        low, high = mean_of_shares(draw.binomial(total, truth), total)
        held += low <= truth.mean() <= high
    assert 0.93 < held / 1000 < 0.98


def test_classes_without_a_sample_are_left_out() -> None:
    one = mean_of_shares(np.array([5, 0]), np.array([8, 0]))
    assert one == pytest.approx(wilson(5, 8))
