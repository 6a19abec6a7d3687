"""`tacita.fit` on one task, in a process of its own; and what each of its candidates would have got.

`python -m benchmarks.choice_fit fit|candidates TASK LABELS DRAW BUDGET DATA OUT`: prints one JSON object as
its last line. `candidates` reads the plan that `fit` left in OUT.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any

import numpy as np

import tacita
from benchmarks.few_label_tasks import TASKS
from tacita.data.dataset import Dataset
from tacita.errors import TacitaError
from tacita.verbs.folder import PLAN
from tacita.verbs.plan import load_plan, parts
from tacita.verbs.run import Run
from tacita.verbs.workers import one_thread


def fit(pool: Dataset, test: Dataset, draw: int, budget: str, out: Path) -> dict[str, Any]:
    """The returned model's accuracy on the test part, and what `fit` said of its candidates."""
    began = monotonic()
    model = tacita.fit(pool, budget=budget, seed=draw, out=out, overwrite=out.exists(), quiet=True)
    took = monotonic() - began
    return {
        "accuracy": {"fit": accuracy(model.predict(test), test)},
        "winner": model.metrics.winner,
        "tie": model.metrics.tie,
        "protocol": model.metrics.protocol,
        "metric": model.metrics.leaderboard[0].metric,
        "validated": {
            row.name: round(row.mean, 4)
            for row in model.metrics.leaderboard
            if row.mean is not None
        },
        "without_score": {
            row.name: row.error for row in model.metrics.leaderboard if row.error is not None
        },
        "seconds": round(took, 1),
    }


def accuracy(predicted: Any, test: Dataset) -> float:
    """The share of the predicted words that are right."""
    words = np.array(test.task.classes)
    return round(float((np.array([str(each) for each in predicted]) == words[test.y]).mean()), 4)


def candidates(pool: Dataset, test: Dataset, out: Path) -> dict[str, Any]:
    """By name, the test accuracy of every candidate of the plan, fitted on all labels as `fit` would have.

    The plan's steps are taken, whatever time is left; what shares a pretraining shares it here.
    """
    plan = load_plan(out / PLAN)
    learnt, _ = parts(pool, None, plan)
    found: dict[str, float] = {}
    errors: dict[str, str] = {}
    # On one thread, as `fit` trains on processors, so that the weights come out alike.
    with TemporaryDirectory() as work, one_thread():
        run = Run(learnt, learnt, [], Path(work), metric=plan.metric, warn=lambda _: None)
        # The number of the last fit is that of the folds, and so are the seeds that it draws from.
        number = len(plan.splits.train)
        for recipe in plan.recipes:
            try:
                learner = run.fitted(recipe, learnt, number)
                found[recipe.name] = accuracy(learner.predict(learner.like_training(test)), test)
            except TacitaError as error:
                errors[recipe.name] = error.message
    return {"accuracy": found, "errors": errors}


def main(words: list[str]) -> None:
    """One measurement; an error of tacita's is its result."""
    what, name, labels, draw, budget, data, out = words
    warnings.simplefilter("ignore")
    task = next(task for task in TASKS if task.name == name)
    try:
        pool, test = task.drawn(Path(data), int(labels), int(draw))
        if what == "fit":
            found = fit(pool, test, int(draw), budget, Path(out))
        else:
            found = candidates(pool, test, Path(out))
    except TacitaError as error:
        found = {"errors": {what: error.message}}
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1:])
