"""Guesses brought to the shares that are aimed at."""

from __future__ import annotations

import pytest
import torch

from tacita.data.convert import as_dataset
from tacita.parts.alignment import Alignment
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


@pytest.mark.parametrize("prior", ["uniform", "labels", "none"])
def test_what_comes_out_are_probabilities(prior: str) -> None:
    q = torch.rand(16, 5).softmax(1)
    found = Alignment(5, prior=prior)(q)
    assert_close(found.sum(1), torch.ones(16))
