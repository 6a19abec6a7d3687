"""Self-training must be plain ridge where the pool brings nothing, and learn of it where it does."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import RidgeClassifierCV

from tacita.errors import ConfigError
from tacita.modalities.memory import as_dataset

pytest.importorskip("aeon")

from tacita.baselines.minirocket import ALPHAS, MiniRocket
from tacita.baselines.minirocket_self_training import (
    UNKNOWN,
    MiniRocketSelfTraining,
    SelfTrainedRidge,
    surest,
)


def waves(count: int) -> tuple[torch.Tensor, list[str]]:
    """`(count, 40, 1)` sines of two frequencies in turn, under noise."""
    generator = torch.Generator().manual_seed(0)
    turns = torch.tensor([2.0, 3.0]).repeat(count // 2)[:, None]
    phase = torch.rand(count, 1, generator=generator)
    x = torch.sin(2 * torch.pi * (turns * torch.linspace(0, 1, 40) + phase))
    return (x + 0.5 * torch.randn(x.shape, generator=generator))[:, :, None], ["slow", "fast"] * (
        count // 2
    )


def clusters(spread: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`(90, 30)` rows around three corners, a label each for three of them, and all the classes."""
    numbers = np.random.default_rng(0)
    truth = np.arange(90) % 3
    x = 4 * np.eye(3, 30)[truth] + spread * numbers.normal(size=(90, 30))
    return x, np.where(np.arange(90) < 3, truth, UNKNOWN), truth


def test_without_unlabelled_series_it_is_minirocket():
    x, y = waves(12)
    data = as_dataset(x, y)
    plain, ours = MiniRocket().fit(data), MiniRocketSelfTraining().fit(data)
    assert torch.equal(ours.logits(data), plain.logits(data))


def test_it_learns_from_series_without_labels():
    x, y = waves(60)
    data = as_dataset(x, y)
    few = data.hide_labels(torch.arange(2))
    ours = MiniRocketSelfTraining().fit(few)
    assert ours.estimator_.steps[-1][1].guessed_ == 58
    assert ours.score(data) > MiniRocket().fit(few).score(data)


def test_guesses_are_learnt_from_where_rows_lie_in_clusters():
    x, y, truth = clusters(1.0)
    alone = RidgeClassifierCV(alphas=ALPHAS).fit(x[:3], truth[:3])
    ours = SelfTrainedRidge().fit(x, y)
    assert ours.guessed_ > 80
    assert ours.score(x, truth) > alone.score(x, truth)


def test_guesses_that_bring_too_little_are_dropped():
    x, y, _ = clusters(1.0)
    alone = RidgeClassifierCV(alphas=ALPHAS).fit(x[:3], y[:3])
    ours = SelfTrainedRidge(gain=1e-9).fit(x, y)
    assert ours.guessed_ == 0
    assert np.array_equal(ours.decision_function(x), alone.decision_function(x))


def test_the_gain_is_the_labels_error_by_leaving_each_out():
    x, _, truth = clusters(1.0)
    known = np.arange(12)
    ridge = SelfTrainedRidge()
    error = ridge._of(x[:60], truth[:60], len(known))
    # Written out: as many fits as there are labels, at the penalty that was chosen.
    codes = 2.0 * np.eye(3)[truth] - 1
    left_out = []
    for row in known:
        rest = np.delete(np.arange(60), row)
        mean, target = x[rest].mean(0), codes[rest].mean(0)
        z = x[rest] - mean
        weight = np.linalg.solve(z.T @ z + ridge.alpha_ * np.eye(30), z.T @ (codes[rest] - target))
        left_out.append(((x[row] - mean) @ weight + target - codes[row]) ** 2)
    assert error == pytest.approx(np.mean(left_out), rel=1e-6)


def test_labels_of_the_pool_are_never_needed_and_order_does_not_matter():
    x, y, _ = clusters(1.0)
    order = np.random.default_rng(0).permutation(90)
    there = SelfTrainedRidge().fit(x, y).decision_function(x)
    back = SelfTrainedRidge().fit(x[order], y[order]).decision_function(x)
    np.testing.assert_allclose(back, there, rtol=1e-6, atol=1e-9)


@settings(deadline=None, max_examples=30)
@given(
    guesses=st.lists(st.integers(0, 3), min_size=1, max_size=30),
    most=st.integers(1, 9),
    seed=st.integers(0, 9),
)
def test_the_surest_of_each_class_are_taken(guesses, most, seed):
    codes = np.array(guesses)
    margins = np.random.default_rng(seed).random(len(codes))
    taken = surest(margins, codes, most)
    for code in np.unique(codes):
        of_class = np.flatnonzero(codes == code)
        mine = np.intersect1d(taken, of_class)
        assert len(mine) == min(most, len(of_class))
        left = np.setdiff1d(of_class, mine)
        assert not len(left) or margins[mine].min() >= margins[left].max()
    assert len(np.unique(taken)) == len(taken)


@pytest.mark.parametrize("option", [{"rounds": 0}, {"gain": 0.0}, {"gain": 1.5}])
def test_options_that_cannot_be_are_refused(option):
    (name,) = option
    with pytest.raises(ConfigError, match=name):
        MiniRocketSelfTraining(**option)
