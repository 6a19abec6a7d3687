"""Metrics against scikit-learn's, and probabilities that are probabilities."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics
from torch.nn import functional

from tacita.errors import ConfigError
from tacita.measures.calibration import ece
from tacita.tasks import Classification, Ordinal, Regression

GRADES = ("a", "b", "c", "d")


def drawn(width: int, count: int = 50, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, width, generator=generator), torch.randint(
        0, 4, (count,), generator=generator
    )


def test_classification_scores_are_scikit_learns() -> None:
    task, (logits, y) = Classification(GRADES), drawn(4)
    y[y == 3] = 0  # A class that is absent counts for no recall.
    scores, predicted = task.scores(logits, y), logits.argmax(1)
    with pytest.warns(UserWarning, match="y_pred contains classes"):
        balanced = metrics.balanced_accuracy_score(y, predicted)
    assert scores["accuracy"] == pytest.approx(metrics.accuracy_score(y, predicted))
    assert scores["balanced_accuracy"] == pytest.approx(balanced)
    loss = metrics.log_loss(y, logits.double().softmax(1), labels=range(4))
    assert scores["log_loss"] == pytest.approx(loss, rel=1e-5)
    assert scores["ece"] == ece(logits.softmax(1), y)


def test_ordinal_scores_are_scikit_learns() -> None:
    task, (logits, y) = Ordinal(GRADES), drawn(3)
    scores, predicted = task.scores(logits, y), task.predict(logits)
    # Kappa by its definition: squared distances seen, over those of independent raters.
    seen = float((predicted - y).square().double().mean())
    chance = float((predicted[:, None] - y).square().double().mean())
    assert scores["quadratic_kappa"] == pytest.approx(1 - seen / chance)
    assert scores["mean_absolute_error"] == pytest.approx(metrics.mean_absolute_error(y, predicted))


def test_regression_scores_are_scikit_learns() -> None:
    y = torch.randn(50, generator=torch.Generator().manual_seed(1)) * 7 + 100
    task = Regression().fitted(torch.cat([y, torch.tensor([torch.nan])]))
    assert (task.mean, task.std) == pytest.approx((float(y.mean()), float(y.std(correction=0))))
    logits = drawn(1)[0]
    scores, predicted = task.scores(logits, y), task.predict(logits)
    assert scores["r2"] == pytest.approx(metrics.r2_score(y, predicted), rel=1e-4)
    root = metrics.root_mean_squared_error(y, predicted)
    assert scores["root_mean_squared_error"] == pytest.approx(root, rel=1e-5)
    assert task.loss(logits, y).item() == pytest.approx((root / task.std) ** 2, rel=1e-4)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.lists(st.floats(-50, 50, width=32), min_size=3, max_size=3), min_size=1))
def test_probabilities_of_grades_are_probabilities(rows: list[list[float]]) -> None:
    found = Ordinal(GRADES).probabilities(torch.tensor(rows))
    assert (found >= 0).all()
    assert found.sum(1).numpy() == pytest.approx(np.ones(len(rows)), abs=1e-5)


@pytest.mark.parametrize("task", [Classification(GRADES), Ordinal(GRADES)])
def test_logits_from_probabilities_say_the_same(task: Classification | Ordinal) -> None:
    wanted = drawn(4)[0].softmax(1)
    torch.testing.assert_close(
        task.probabilities(task.logits_from(wanted)), wanted, rtol=1e-4, atol=1e-5
    )
    certain = functional.one_hot(torch.tensor([0, 1, 2, 3]), 4).float()
    assert task.predict(task.logits_from(certain)).tolist() == [0, 1, 2, 3]


def test_logits_from_values_predict_them() -> None:
    values = torch.tensor([3.0, -8.0, 120.0])
    task = Regression(mean=10.0, std=4.0)
    predicted = task.predict(task.logits_from(values))
    torch.testing.assert_close(predicted, values.double(), rtol=1e-6, atol=0)
    with pytest.raises(ConfigError, match="no classes"):
        task.probabilities(values[:, None])


def test_the_ordinal_loss_is_the_mean_over_thresholds() -> None:
    logits, y = torch.tensor([[2.0, -1.0]], dtype=torch.float64), torch.tensor([1])
    expected = -(np.log(1 / (1 + np.exp(-2.0))) + np.log(1 - 1 / (1 + np.exp(1.0)))) / 2
    assert Ordinal(("a", "b", "c")).loss(logits, y).item() == pytest.approx(expected)


def test_missing_labels_are_known_as_such() -> None:
    assert Classification(GRADES).known(torch.tensor([0, -1])).tolist() == [True, False]
    assert Regression().known(torch.tensor([0.0, torch.nan])).tolist() == [True, False]
