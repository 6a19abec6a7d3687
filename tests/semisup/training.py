"""A short training on digits of which a few a class have labels, scored on held-out ones."""

from __future__ import annotations

from typing import Any

import torch

from tacita.adapt.trained import Trained
from tacita.data.read import load
from tacita.data.splits import draw_labels, hold_out
from tacita.encoders import build
from tacita.objective import Objective
from tacita.tasks import Task


def score_on_digits(
    objective: type[Objective[Any]],
    labels: int = 2,
    *,
    task: Task | None = None,
    steps: int = 200,
    seed: int = 0,
    **options: Any,
) -> float:
    """The task's metric; the classes are the task's own or, for grades, the digits themselves."""
    whole = load("digits")
    if task is not None:
        whole = whole.with_labels(whole.y, task)
    kept, held = hold_out(whole, 0.3, seed)
    pool = whole.subset(kept).normalised()
    test = whole.subset(held).normalised(pool.normaliser)
    few = pool.hide_labels(draw_labels(pool, labels, seed))
    torch.manual_seed(seed)
    encoder = build("residual-cnn", pool.spec, width=16)
    engine = {"steps": steps, "batch_size": 32}
    return Trained(encoder, objective, options=options, engine=engine).fit(few).score(test)
