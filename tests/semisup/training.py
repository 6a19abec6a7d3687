"""A short training on digits of which a few a class have labels, scored on held-out ones."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import torch

from tacita.adapt.supervised import Supervised
from tacita.adapt.trained import Trained
from tacita.claim.data import few_digits
from tacita.encoders import build
from tacita.engine.history import History
from tacita.objective import Objective
from tacita.semisup.base import SemiSupervised
from tacita.tasks import Task


class Learnt(NamedTuple):
    """The task's metric on held-out digits, and how training went."""

    score: float
    history: History


@cache  # several tests compare with the same training on labels alone
def score_on_digits(objective: type[Objective[Any]], labels: int = 2, **options: Any) -> float:
    """The task's metric after `train_on_digits`."""
    return train_on_digits(objective, labels, **options).score


def labels_alone(method: type[SemiSupervised], **options: Any) -> float:
    """The better of the method itself without its pool, and of the supervised network with strong views."""
    steps = {name: value for name, value in options.items() if name == "steps"}
    deaf = score_on_digits(method, **{**options, **method.deaf})
    return max(deaf, score_on_digits(Supervised, **steps))


def train_on_digits(
    objective: type[Objective[Any]],
    labels: int = 2,
    *,
    task: Task | None = None,
    steps: int = 200,
    seed: int = 0,
    **options: Any,
) -> Learnt:
    """With so many labels a class; the classes are the task's own or, for grades, the digits themselves."""
    few, test = few_digits(labels, seed)
    if task is not None:
        few, test = few.with_labels(few.y, task), test.with_labels(test.y, task)
    torch.manual_seed(seed)
    encoder = build("residual-cnn", few.spec, width=16)
    engine = {"steps": steps, "batch_size": 32}
    learner = Trained(encoder, objective, options=options, engine=engine).fit(few)
    return Learnt(learner.score(test), learner.history_)
