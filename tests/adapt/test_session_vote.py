"""A window counted for another recording, or a tie decided by the order of classes, would pass unseen."""

from __future__ import annotations

from math import comb

import pytest
import torch

from tacita.adapt.session_vote import session_vote
from tacita.errors import DataError
from tests.helpers import assert_close


def test_votes_and_means_are_those_of_a_loop():
    torch.manual_seed(0)
    probabilities = torch.rand(200, 4).softmax(1)
    session = torch.randint(9, (200,)) * 11 - 20
    vote = session_vote(probabilities, session)
    assert vote.sessions.tolist() == sorted(set(session.tolist()))
    for position, name in enumerate(vote.sessions.tolist()):
        own = probabilities[session == name]
        counts = torch.bincount(own.argmax(1), minlength=4)
        assert vote.votes[position].tolist() == counts.tolist()
        assert_close(vote.probabilities[position], own.mean(0))
        assert counts[vote.predicted[position]] == counts.max()
    assert_close(vote.probabilities.sum(1), torch.ones(len(vote.sessions)))


def test_most_windows_win_whatever_their_confidence():
    sure, unsure = [0.99, 0.01], [0.49, 0.51]
    vote = session_vote(torch.tensor([sure, unsure, unsure]), torch.zeros(3).long())
    assert vote.predicted.tolist() == [1]
    assert vote.probabilities[0, 0] > vote.probabilities[0, 1]


def test_a_tie_goes_to_the_larger_mean_and_never_to_a_class_without_the_votes():
    rows = torch.tensor([[0.4, 0.3, 0.3], [0.1, 0.8, 0.1], [0.34, 0.0, 0.66], [0.3, 0.36, 0.34]])
    first = session_vote(rows[:2], torch.zeros(2).long())
    assert (first.votes.tolist(), first.predicted.tolist()) == ([[1, 1, 0]], [1])
    torn = torch.tensor([[0.5, 0.05, 0.45], [0.05, 0.5, 0.45]])
    second = session_vote(torn, torch.zeros(2).long())
    assert second.probabilities[0].argmax() == 2
    assert second.predicted.tolist() == [0]


@pytest.mark.parametrize("windows, right", [(1, 0.7), (3, 0.7), (9, 0.7), (9, 0.4)])
def test_a_vote_of_independent_windows_is_right_as_often_as_a_binomial_says(windows, right):
    torch.manual_seed(0)
    sessions = 20_000
    correct = torch.rand(sessions * windows) < right
    probabilities = torch.where(
        correct[:, None], torch.tensor([0.8, 0.2]), torch.tensor([0.2, 0.8])
    )
    vote = session_vote(probabilities, torch.arange(sessions).repeat_interleave(windows))
    expected = sum(
        comb(windows, k) * right**k * (1 - right) ** (windows - k)
        for k in range(windows // 2 + 1, windows + 1)
    )
    assert (vote.predicted == 0).float().mean().item() == pytest.approx(expected, abs=0.015)


def test_windows_of_no_session_are_refused():
    with pytest.raises(DataError, match="a row a window"):
        session_vote(torch.rand(3, 2), torch.zeros(4).long())
    with pytest.raises(DataError, match=r"\(3,\)"):
        session_vote(torch.rand(3), torch.zeros(3).long())
