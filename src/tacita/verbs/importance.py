"""What each feature is worth to a model: by how much its score falls where that is shuffled.

Breiman, 2001 (section 10), on samples that the model did not learn from. Features that say the same stand
in for each other, so that each of them alone may look worthless.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch

from tacita.data.dataset import Dataset
from tacita.learner import Learner
from tacita.report.content import Importance

SAMPLES: Final = 500
PASSES: Final = 300
"""Passes over the samples in all: five repeats of up to 60 columns, fewer of more."""
REPEATS: Final = 5


def importance(outside: Sequence[tuple[Learner, Dataset]], metric: str) -> list[Importance]:
    """The features that there are, the most valuable first; none where samples have none.

    outside: learners and labelled samples that each has not learnt from; falls are meant over these.
    """
    features = outside[0][1].kind.features(outside[0][1]) if outside else ()
    if not features:
        return []
    columns = range(min(len(features), PASSES))
    repeats = max(1, min(REPEATS, PASSES // len(columns)))
    falls = np.zeros((len(columns), repeats))
    for learner, data in outside:
        generator = torch.Generator().manual_seed(0)
        data = data.subset(torch.randperm(len(data), generator=generator)[:SAMPLES])
        sign = -1.0 if metric in learner.task_.lower else 1.0
        base = _score(learner, data, metric)
        for column in columns:
            for repeat in range(repeats):
                order = torch.randperm(len(data), generator=generator)
                shuffled = data.kind.shuffled(data, column, order)
                falls[column, repeat] += sign * (base - _score(learner, shuffled, metric))
    falls /= len(outside)
    ranked = np.argsort(-falls.mean(1), kind="stable")
    return [
        Importance(features[i], float(falls[i].mean()), float(falls[i].std()))
        for i in ranked.tolist()
    ]


def _score(learner: Learner, data: Dataset, metric: str) -> float:
    return learner.task_.scores(learner.logits(data), data.y).get(metric, 0.0)
