"""Guesses brought to the shares that are aimed at."""

from __future__ import annotations

import pytest
import torch

from tacita.errors import ConfigError
from tacita.modalities.memory import as_dataset
from tacita.parts.alignment import EPSILON, Alignment, QueueAlignment
from tests.helpers import assert_close


def test_guesses_of_one_kind_are_brought_to_the_target() -> None:
    alignment = Alignment(3, rate=1.0)
    q = torch.tensor([[0.7, 0.2, 0.1]] * 4)
    assert_close(alignment(q), torch.full((4, 3), 1 / 3))


def test_uniform_guesses_stay() -> None:
    q = torch.tensor([[0.7, 0.2, 0.1]])
    assert_close(Alignment(3).eval()(q), q)


def test_it_learns_nothing_while_it_is_evaluated() -> None:
    alignment = Alignment(2).eval()
    alignment(torch.tensor([[0.9, 0.1]]))
    assert alignment.mean.tolist() == [0.5, 0.5]


def test_the_labels_shares_are_the_target() -> None:
    data = as_dataset(torch.randn(8, 2), ["a", "a", "a", "b", None, None, None, None])
    alignment = Alignment(2, prior="labels", rate=1.0)
    alignment.prepare(data)
    assert alignment.target.tolist() == [0.75, 0.25]
    assert_close(alignment(torch.full((4, 2), 0.5)), torch.tensor([[0.75, 0.25]] * 4))


@pytest.mark.parametrize("kind", [Alignment, QueueAlignment])
def test_guesses_in_the_labels_shares_stay_from_the_first_batch_on(kind: type[Alignment]) -> None:
    data = as_dataset(torch.randn(8, 2), ["a", "a", "a", "b", None, None, None, None])
    alignment = kind(2, prior="labels")
    alignment.prepare(data)
    q = torch.tensor([[0.9, 0.1], [0.6, 0.4]])
    assert_close(q.mean(0), alignment.target)
    for _ in range(3):
        assert torch.allclose(alignment(q), q, atol=1e-4)


@pytest.mark.parametrize("prior", ["uniform", "labels", "none"])
def test_what_comes_out_are_probabilities(prior: str) -> None:
    q = torch.rand(16, 5).softmax(1)
    found = Alignment(5, prior=prior)(q)
    assert_close(found.sum(1), torch.ones(16))


def test_a_queue_forgets_what_is_older_than_its_length() -> None:
    alignment = QueueAlignment(3, length=4)
    batches = torch.rand(9, 5, 3).softmax(2)
    for seen in range(1, 10):
        alignment(batches[seen - 1])
        # Those that are not there yet are zeros in the mean over all four places.
        expected = batches[max(0, seen - 4) : seen].mean(1).sum(0) / 4
        assert_close(alignment.mean, expected + EPSILON)


def test_a_queue_of_zeros_aligns_as_the_mean_of_what_is_there() -> None:
    long, short = QueueAlignment(3, length=128), QueueAlignment(3, length=1)
    q = torch.rand(6, 3).softmax(1)
    expected = q / q.mean(0)
    expected = expected / expected.sum(1, keepdim=True)
    for alignment in (long, short):
        torch.testing.assert_close(alignment(q), expected, rtol=2e-3, atol=0)


def test_a_queue_of_even_guesses_leaves_others_as_they_are() -> None:
    alignment = QueueAlignment(4, length=8)
    for _ in range(8):
        alignment(torch.full((2, 4), 0.25))
    alignment.eval()
    q = torch.rand(6, 4).softmax(1)
    assert_close(alignment(q), q)
    assert_close(QueueAlignment(4).eval()(q), q)


def test_a_class_that_is_never_guessed_stays_finite() -> None:
    alignment = QueueAlignment(2, length=2)
    for _ in range(3):
        found = alignment(torch.tensor([[1.0, 0.0]]))
    assert found.isfinite().all()
    with pytest.raises(ConfigError, match="length=0"):
        QueueAlignment(2, length=0)
