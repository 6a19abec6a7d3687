"""What each feature is worth to a model: by how much its score falls where that is shuffled.

Breiman, 2001 (section 10), on samples that the model did not learn from. Features that say the same stand
in for each other, so that each of them alone may look worthless.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final

import numpy as np
import torch

from tacita.data.dataset import Dataset, joined
from tacita.learner import Learner
from tacita.report.content import Importance

SAMPLES: Final = 500
PASSES: Final = 300
"""Passes over the samples in all: five repeats of up to 60 columns, fewer of more."""
REPEATS: Final = 5
ROWS: Final = 5000
"""Shuffled samples that are predicted by one call."""


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
        (base,) = _scores(learner, [data], metric)
        shuffled = (
            data.kind.shuffled(data, column, torch.randperm(len(data), generator=generator))
            for column in columns
            for _ in range(repeats)
        )
        # Many at once: a call of a forest takes as long for three samples as for three hundred.
        scores = [
            score
            for together in batched(shuffled, max(1, ROWS // len(data)))
            for score in _scores(learner, together, metric)
        ]
        falls += sign * (base - np.array(scores).reshape(falls.shape))
    falls /= len(outside)
    ranked = np.argsort(-falls.mean(1), kind="stable")
    return [
        Importance(features[i], float(falls[i].mean()), float(falls[i].std()))
        for i in ranked.tolist()
    ]


def _scores(learner: Learner, parts: Sequence[Dataset], metric: str) -> list[float]:
    """Of each part, predicted in one call."""
    logits = torch.split(learner.logits(joined(parts)), [len(part) for part in parts])
    scores = (
        learner.task_.scores(*each) for each in zip(logits, (p.y for p in parts), strict=True)
    )
    return [each.get(metric, 0.0) for each in scores]


def batched(parts: Iterator[Dataset], size: int) -> Iterator[list[Dataset]]:
    """So many at once, the last of them fewer."""
    while some := list(islice(parts, size)):
        yield some
