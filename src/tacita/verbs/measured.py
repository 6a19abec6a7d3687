"""From a finished comparison to its `metrics.json`."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from torch import Tensor

from tacita.audit.health.health import Health
from tacita.data.dataset import Dataset
from tacita.errors import ConfigError
from tacita.learner import Learner
from tacita.model.metrics import Metrics, finite
from tacita.verbs.common import held_out_intervals, held_out_scores
from tacita.verbs.plan import Plan
from tacita.verbs.ranking import Ranking
from tacita.verbs.run import Run


def measured(
    run: Run,
    plan: Plan,
    ranking: Ranking,
    learner: Learner,
    held: Dataset | None,
    gauges: Health | None,
    pooled: tuple[Tensor, Tensor] | None,
) -> Metrics:
    """Everything that is known of the candidates and of the one that is kept.

    learner: the winner as it is returned; `gauges`: of its encoder. pooled: positions in `run.scored`, and
    its logits for them out of fold.
    """
    task = run.data.task
    out_of_fold, intervals = None, {}
    if pooled is not None:
        at, logits = pooled
        y = run.scored.y[at]
        out_of_fold, intervals = finite(task.scores(logits, y)), task.intervals(logits, y)
    return Metrics(
        protocol=plan.protocol,
        winner=ranking.winner.name,
        ranked_by=plan.ranked_by,
        tie=ranking.tie,
        spread=_spread(run),
        majority=_majority(run),
        chance=task.chance(),
        leaderboard=ranking.rows,
        held_out=held_out_scores(learner, held),
        held_out_intervals=held_out_intervals(learner, held),
        out_of_fold=out_of_fold,
        out_of_fold_intervals=intervals,
        health=None if gauges is None else gauges.as_dict(),
    )


def _spread(run: Run) -> str:
    """What the deviation over the folds takes in."""
    count = len(run.folds)
    if count < 2:
        return ""
    if run.draws:
        return (
            f"The spread is one standard deviation over {count} draws of the labels to learn from;"
            " all are scored on the same samples, so how many these are is not in it."
        )
    return (
        f"The spread is one standard deviation over {count} folds, each scored on other samples;"
        " they share most of what they learn from, so it is rather too small."
    )


def _majority(run: Run) -> dict[str, float] | None:
    """The mean scores of one who knows only how common the answers are."""
    task, found = run.data.task, defaultdict[str, list[float]](list)
    for fold in run.folds:
        try:
            prior = task.prior(run.data.targets[fold.train])
        except ConfigError:  # A task of one's own need not say what other models predict.
            return None
        if prior is None:
            return None
        logits = prior.expand(len(fold.score), *prior.shape[1:])
        for name, value in task.scores(logits, run.scored.y[fold.score]).items():
            found[name].append(value)
    return finite({name: float(np.mean(values)) for name, values in found.items()})
