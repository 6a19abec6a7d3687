"""What goes wrong with a target a step: padding or missing steps count, labels slip against their series."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn import metrics
from torch.nn import functional

from tacita.errors import ConfigError, DataError
from tacita.tasks import SequenceLabels, SequenceRegression, StepLabels, encode
from tacita.values import Ragged
from tests.helpers import assert_close

X = Ragged.of(torch.zeros(2, 3, 1), torch.tensor([3, 2]))
NAN = float("nan")


@pytest.mark.parametrize(
    "raw",
    [
        [["a", "b", "b"], ["b", None]],
        [np.array(["a", "b", "b"]), np.array(["b", ""])],
        np.array([["a", "b", "b"], ["b", "", "never looked at"]]),
        np.array(["a", "b", "b", "b", ""]),
        StepLabels(np.array(["a", "b", "b", "b", None], object), np.array([3, 2])),
    ],
)
def test_labels_come_in_many_forms(raw: Any) -> None:
    y, task = encode(raw, "sequence-labels", X, "test")
    assert y.tolist() == [[0, 1, 1], [1, -1, -1]]  # type: ignore[union-attr]
    assert task.classes == ("a", "b")


@pytest.mark.parametrize("raw", [[1, 2], np.zeros((2, 4)), [[1, 1, 1], [1]], np.zeros(6)])
def test_labels_that_are_not_as_many_as_the_steps_are_refused(raw: Any) -> None:
    with pytest.raises(DataError, match="labels of shape"):
        encode(raw, "sequence-labels", X, "test")


def test_what_is_no_series_and_what_is_no_class_is_refused() -> None:
    with pytest.raises(ConfigError, match="needs series"):
        encode([["a"]], "sequence-labels", torch.zeros(1, 4), "test")
    measured = np.linspace(0, 1, 30).reshape(1, 30)
    with pytest.raises(ConfigError, match="sequence-regression"):
        encode(measured, "sequence-labels", torch.zeros(1, 30, 1), "test")


def test_whole_numbers_come_back_as_such_and_an_unknown_class_is_named() -> None:
    y, task = encode(np.array([[3, 7, -1], [7, 7, 0]]), "sequence-labels", X, "test")
    one, other = task.decode(y)
    assert one.tolist() == [3, 7, None]
    assert task.classes == ("3", "7")
    assert other.tolist() == [7, 7, None]
    with pytest.raises(DataError, match="step 1 of series 1 is labelled '9'"):
        task.encode_like([[3, 3, 3], [7, 9]], X, "test", str)


def test_interpolated_steps_take_the_nearest_class_and_numbers_between_two_known_ones() -> None:
    at = np.array([0.0, 0.4, 1.0, 1.6, 2.5])
    labels = StepLabels(np.array(["a", "b", "c", "d"]), np.array([5]), at)
    x = torch.zeros(1, 5, 1)
    y, _ = SequenceLabels.encode(labels, x, "test")
    assert y.tolist() == [[0, 0, 1, 2, 2]]  # type: ignore[union-attr]
    numbers = StepLabels(np.array([0.0, 1.0, 3.0, NAN]), np.array([5]), at)
    found, _ = SequenceRegression.encode(numbers, x, "test")
    assert_close(
        found[0, :4, 0],  # type: ignore[call-overload]
        torch.tensor([0.0, 0.4, 1.0, 2.2], dtype=torch.float64),
    )
    assert found[0, 4].isnan().all()  # type: ignore[call-overload]


def logits_and_labels() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 4, 9, generator=generator, dtype=torch.float64)
    return logits, torch.randint(-1, 4, (3, 9), generator=generator)


def test_the_loss_is_the_mean_over_known_steps() -> None:
    task, (logits, y) = SequenceLabels(("a", "b", "c", "d")), logits_and_labels()
    assert_close(task.loss(logits, y), functional.cross_entropy(logits, y, ignore_index=-1))
    other = logits.clone()
    other[:, :, :] = torch.where((y < 0)[:, None], 100.0, logits)
    assert_close(task.loss(other, y), task.loss(logits, y))


def test_scores_of_classes_are_scikit_learns() -> None:
    task, (logits, y) = SequenceLabels(("a", "b", "c", "d")), logits_and_labels()
    known = y >= 0
    true, guess = y[known], logits.argmax(1)[known]
    scores = task.scores(logits, y)
    assert scores["accuracy"] == pytest.approx(metrics.accuracy_score(true, guess))
    assert scores["macro_f1"] == pytest.approx(metrics.f1_score(true, guess, average="macro"))
    shares = logits.softmax(1).transpose(1, 2)[known]
    expected = metrics.log_loss(true, shares, labels=range(4))
    assert scores["log_loss"] == pytest.approx(expected)


def test_scores_of_numbers_are_scikit_learns_for_each_target_and_their_mean() -> None:
    generator = torch.Generator().manual_seed(1)
    y = torch.randn(3, 9, 2, generator=generator, dtype=torch.float64) * 3 + 5
    y[0, 4] = torch.nan
    y[1, 2, 1] = torch.nan
    task = SequenceRegression(targets=("u", "v"), mean=(0.0, 0.0), std=(1.0, 1.0)).fitted(y)
    logits = torch.randn(3, 2, 9, generator=generator, dtype=torch.float64)
    known = ~y.isnan().any(2)
    true, guess = y[known], task.predict(logits)[known]
    scores = task.scores(logits, y)
    assert scores["r2"] == pytest.approx(metrics.r2_score(true, guess))
    assert scores["r2 of v"] == pytest.approx(metrics.r2_score(true[:, 1], guess[:, 1]))
    assert scores["mean_squared_error"] == pytest.approx(metrics.mean_squared_error(true, guess))
    assert scores["mean_absolute_error"] == pytest.approx(metrics.mean_absolute_error(true, guess))
    standard = (true - true.mean(0)) / true.std(0, correction=0)
    expected = (logits.transpose(1, 2)[known] - standard).square().mean()
    assert_close(task.loss(logits, y), expected)
    assert_close(task.predict(task.logits_from(y.nan_to_num())).float(), y.nan_to_num().float())


def test_pieces_of_any_length_are_joined_and_what_is_padded_has_no_target() -> None:
    task = SequenceLabels(("a", "b"))
    y = [torch.tensor([[0, 1]]), torch.tensor([[1, 1, 0]])]
    logits = [torch.ones(1, 2, 2), torch.ones(1, 2, 3)]
    both = task.joined(logits, y)
    assert both[0].shape == (2, 2, 3)
    assert both[1].tolist() == [[0, 1, -1], [1, 1, 0]]


def test_a_series_weight_is_that_of_its_steps_and_logits_of_samples_are_refused() -> None:
    task, (logits, y) = SequenceLabels(("a", "b", "c", "d")), logits_and_labels()
    weights = torch.tensor([0.5, 2.0, 0.0])
    each, counts = task.losses(logits, y), (y >= 0).sum(1)
    expected = (each * counts * weights).sum() / counts.sum()
    assert_close(task.loss(logits, y, weights), expected)
    with pytest.raises(ConfigError, match="method per-step"):
        task.loss(torch.zeros(2, 2), y)


@pytest.mark.parametrize("task", [SequenceLabels(("a", "b", "c", "d"))])
def test_gradients_are_those_of_finite_differences(task: SequenceLabels) -> None:
    logits, y = logits_and_labels()
    assert torch.autograd.gradcheck(lambda at: task.loss(at, y), logits.requires_grad_())
