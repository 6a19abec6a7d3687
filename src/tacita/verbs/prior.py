"""How much each candidate is to count before any label has spoken: by how good it was on other data.

`priors.json` is written by `python -m benchmarks.priors`: by modality, the points of accuracy by which a
candidate was above the median of all, on average over public tasks with five labels a class. And by task, for
those without classes, by `python -m benchmarks.forecasting`: points of skill.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from tacita.tasks import Task

POINTS = 4.0
"""Points that make a candidate count 2.7 times as much."""


def prior_shares(modality: str, task: Task, names: Sequence[str]) -> Tensor:
    """`(C,)` shares of candidates, whose sum is 1; one that was never measured is taken for the median.

    They are even for a modality or a task that was not measured.

    >>> from tacita.tasks import Classification
    >>> prior_shares("texts", Classification(("a", "b")), ["this", "that"]).tolist()
    [0.5, 0.5]
    """
    classes = "accuracy" in (task.metric, *task.ranking)
    known = _points().get(modality if classes else task.name, {})
    points = torch.tensor([known.get(name, 0.0) for name in names], dtype=torch.float64)
    return (points / POINTS).softmax(0)


@cache
def _points() -> dict[str, dict[str, float]]:
    text = Path(__file__).with_name("priors.json").read_text(encoding="utf-8")
    found: dict[str, dict[str, float]] = json.loads(text)
    return found
