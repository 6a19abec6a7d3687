"""From windows to the recordings they were cut from: a vote, and the mean of the probabilities.

A recording has one label and many windows; what is asked is the label of the recording, or of the
person. Corponi et al., 2024, let the windows vote.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from tacita.errors import DataError


class SessionVote(NamedTuple):
    """Shapes, for `S` sessions and `K` classes: `sessions (S,)` their numbers in ascending order;
    `predicted (S,)` the class of most windows; `votes (S, K)` windows a class; `probabilities (S, K)`
    the mean over windows."""

    sessions: Tensor
    predicted: Tensor
    votes: Tensor
    probabilities: Tensor


def session_vote(probabilities: Tensor, session: Tensor) -> SessionVote:
    """Each window votes for its likeliest class; where classes have as many votes, the mean decides.

    `probabilities (N, K)` of windows, `session (N,)` int64, the recording (or the person) of each.
    Raises `DataError` where they do not fit together.

    >>> vote = session_vote(torch.tensor([[0.9, 0.1], [0.4, 0.6], [0.4, 0.6]]), torch.tensor([7, 7, 7]))
    >>> vote.predicted.tolist(), vote.votes.tolist()
    ([1], [[1, 2]])
    """
    if probabilities.ndim != 2 or session.shape != probabilities.shape[:1]:
        raise DataError(
            f"probabilities of shape {tuple(probabilities.shape)} and sessions of {tuple(session.shape)}.",
            remedy="Give (N, K) and (N,), a row a window.",
        )
    sessions, owner = torch.unique(session, return_inverse=True)
    count, classes = len(sessions), probabilities.shape[1]
    choice = torch.nn.functional.one_hot(probabilities.argmax(1), classes)
    votes = choice.new_zeros(count, classes).index_add(0, owner, choice)
    total = probabilities.new_zeros(count, classes).index_add(0, owner, probabilities)
    mean = total / votes.sum(1, keepdim=True)
    # Of the classes with most votes, the one of the largest mean.
    leading = votes == votes.amax(1, keepdim=True)
    predicted = mean.masked_fill(~leading, -torch.inf).argmax(1)
    return SessionVote(sessions, predicted, votes, mean)
