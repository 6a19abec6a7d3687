"""Figures of learning one thing after another, worked out by hand."""

from __future__ import annotations

import pytest

from tacita.measures.forgetting import average_final, forgetting, learning

LOSSES = [[1.0], [1.5, 2.0], [2.5, 2.25, 4.0]]


def test_means_over_the_last_row_and_over_the_diagonal() -> None:
    assert average_final(LOSSES) == pytest.approx((2.5 + 2.25 + 4.0) / 3)
    assert learning(LOSSES) == pytest.approx((1.0 + 2.0 + 4.0) / 3)


def test_forgetting_is_how_much_worse_the_earlier_ones_end() -> None:
    assert forgetting(LOSSES) == pytest.approx(((2.5 - 1.0) + (2.25 - 2.0)) / 2)
    accuracies = [[0.75], [0.5, 0.875]]
    assert forgetting(accuracies, higher_is_better=True) == 0.25
    assert forgetting([[3.0]]) == 0.0


def test_what_ends_better_than_it_was_learnt_counts_as_less_than_nothing_forgotten() -> None:
    assert forgetting([[2.0], [1.5, 1.0]]) == -0.5
