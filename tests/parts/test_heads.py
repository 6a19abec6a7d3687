"""The linear head against scikit-learn's own solution of the same problem."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_diabetes, load_wine
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler

from tacita.parts.heads import fit_linear_head
from tacita.tasks import Classification, Ordinal, Regression
from tacita.tasks.heads import Standardise


@pytest.mark.parametrize("penalty", [1.0, 0.1])
def test_it_is_scikit_learns_logistic_regression(penalty: float) -> None:
    x, y = load_wine(return_X_y=True)
    known = np.random.default_rng(0).permutation(len(x))[:60]
    task = Classification(("a", "b", "c"))
    values = torch.tensor(x, dtype=torch.float32)
    head = fit_linear_head(values, torch.tensor(known), torch.tensor(y[known]), task, penalty)
    scaled = StandardScaler().fit_transform(x)
    peer = LogisticRegression(C=1 / penalty, max_iter=5000, tol=1e-8).fit(scaled[known], y[known])
    with torch.no_grad():
        found = task.probabilities(head(values)).numpy()
    np.testing.assert_allclose(found, peer.predict_proba(scaled), atol=1e-3)


def test_it_is_scikit_learns_ridge_regression() -> None:
    x, y = load_diabetes(return_X_y=True)
    values, target = torch.tensor(x, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)
    task = Regression().fitted(target)
    head = fit_linear_head(values, torch.arange(len(x)), target, task, penalty=20.0)
    # The squared error has no factor one half, so the same penalty counts half.
    scaled = StandardScaler().fit_transform(x)
    peer = Ridge(alpha=10.0).fit(scaled, (y - y.mean()) / y.std())
    with torch.no_grad():
        found = task.predict(head(values)).numpy()
    np.testing.assert_allclose(found, peer.predict(scaled) * y.std() + y.mean(), atol=0.05)


def test_ordinal_thresholds_separate_grades_in_their_order() -> None:
    values = torch.linspace(-1, 1, 30)[:, None]
    y = torch.arange(30) // 10
    task = Ordinal(("low", "mid", "high"))
    head = fit_linear_head(values, torch.arange(30), y, task, penalty=0.01)
    with torch.no_grad():
        assert (task.predict(head(values)) == y).float().mean() > 0.9


def test_the_answer_is_one_and_moves_no_random_numbers() -> None:
    task, values, y = Classification(("a", "b")), torch.randn(20, 3), torch.arange(20) % 2
    before = torch.get_rng_state()
    one = fit_linear_head(values, torch.arange(20), y, task, 1.0)
    assert torch.equal(torch.get_rng_state(), before)
    other = fit_linear_head(values, torch.arange(20), y, task, 1.0)
    assert torch.equal(one[1].weight, other[1].weight)
    assert one[1].weight.dtype == torch.float32


def test_a_dead_feature_counts_for_nothing() -> None:
    values = torch.randn(50, 2)
    values[:, 1] = 3.0
    scaled = Standardise.fit(values)(values)
    assert scaled[:, 0].std(correction=0).item() == pytest.approx(1.0, abs=1e-4)
    far = Standardise.fit(values)(torch.tensor([[0.0, 100.0]]))
    assert abs(far[0, 1].item()) < 1e-3


def test_a_new_head_is_a_linear_layer() -> None:
    head, x = Classification(("a", "b")).head(3), torch.randn(4, 3)
    assert torch.equal(head(x), head[1](x))
    assert head(x).shape == (4, 2)
