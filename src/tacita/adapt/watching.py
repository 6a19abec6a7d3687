"""Early stopping of what learns from labels: which of them are watched, and by what figure."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor

from tacita.data.batch import Batch
from tacita.data.dataset import Dataset
from tacita.data.splits import hold_out
from tacita.engine.scores import label_loss
from tacita.engine.stopping import Stopping
from tacita.errors import ConfigError, DataError
from tacita.learner import NetworkLearner
from tacita.objective import Objective

SHARE = 0.2
LOOKS = 20
"""Measurements in a training that takes all of its steps."""


def watch(
    learner: NetworkLearner,
    data: Dataset,
    steps: int,
    seed: int,
    *,
    patience: int | None = None,
) -> tuple[Dataset, Stopping | None]:
    """The data to learn from and when to stop; without `patience` all of them, and never early.

    patience: stop after this many measurements without progress, of twenty in a full training. What is
        watched is the loss on a fifth of the labels, without views; they are not learnt from.

    Raises `ConfigError` for a patience below 1, `DataError` where the labels are too few to do without
    these.
    """
    if patience is None:
        return data, None
    if patience < 1:
        raise ConfigError(f"patience={patience}: it must be 1 or more.")
    learnt, watched = parts_to_watch(data, seed)

    def outputs(objective: Objective[Any], batch: Batch) -> Tensor:
        trained = copy.copy(learner)
        assert objective.head is not None
        trained.encoder, trained.head = objective.encoder, objective.head
        return trained.outputs(batch)

    score = label_loss(data.subset(watched), data.task, outputs)
    return data.hide_labels(learnt), Stopping(score, max(1, steps // LOOKS), patience)


def parts_to_watch(data: Dataset, seed: int) -> tuple[Tensor, Tensor]:
    """Positions of the labels to learn from and of those to watch; raises as `watch`."""
    known = data.targets[data.labelled]
    count, stratum = len(known), data.task.stratum(known)
    # One of each class at least.
    fewest = 1 if stratum is None else len(torch.unique(stratum))
    share = max(SHARE, fewest / max(count, 1))
    try:
        if share > 0.5:
            raise DataError(f"{count} labels of {fewest} classes")
        return hold_out(data, share, seed)
    except DataError as error:
        raise DataError(
            f"{data.source}: patience watches a fifth of the labels, and they are too few for that"
            f" ({error.message.rstrip('.')}).",
            remedy="Leave patience out, or give more labels.",
        ) from error
