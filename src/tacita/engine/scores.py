"""Scores to stop by: of held-out labels, or of none at all. Higher is better in all of them.

>>> from tacita import load, train
>>> from tacita.adapt.supervised import Supervised
>>> from tacita.data.splits import hold_out
>>> from tacita.encoders import build
>>> from tacita.engine.stopping import Stopping
>>> data = load("digits").normalised()
>>> rest, aside = (data.subset(part) for part in hold_out(data, 0.2, seed=0))
>>> objective = Supervised(build("residual-cnn", data.spec, width=4), data.task)
>>> stopping = Stopping(held_out_score(aside), every=5, patience=2)
>>> history = train(objective, rest, steps=10, stopping=stopping)
>>> [row["step"] for row in history.rows], history.stopped_at
([5, 10], None)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from tacita.data.batch import Batch
from tacita.data.dataset import Dataset
from tacita.data.splits import drawn
from tacita.engine.batches import Batches
from tacita.errors import ConfigError, DataError
from tacita.learner import chunks
from tacita.measures.spectrum import SpectrumTracker
from tacita.objective import Losses, Objective
from tacita.tasks import Task, full_precision

Score = Callable[[Objective[Any]], float]


def held_out_score(data: Dataset) -> Score:
    """The task's metric on the labelled samples of a data set that is not trained on.

    It is for objectives with a head. Raises `DataError` where there is no label, and `ConfigError`
    for samples that are not normalised (by the training data) and objectives without a head.
    """
    _check_normalised(data)
    _check_labelled(data)
    data = data.subset(data.labelled)

    @torch.no_grad()
    def score(objective: Objective[Any]) -> float:
        if objective.head is None:
            raise ConfigError(
                f"{type(objective).__name__} has no head to score.",
                remedy="Stop by held_out_loss or effective_rank_score instead.",
            )
        # Where the objective has a task of its own, it knows the training labels' mean and deviation.
        task = getattr(objective, "task", data.task)
        logits = torch.cat(
            [
                objective.head(objective.encoder(batch).pooled).float().cpu()
                for batch in _chunks(objective, data)
            ]
        )
        return task.scores(logits, data.y)[task.metric]

    return score


def held_out_loss(data: Dataset, batch_size: int = 64) -> Score:
    """Minus the objective's own loss on samples that are not trained on; it may need no label.

    The same batches with the same views each time, one pass over what the objective reads.
    Raises `ConfigError` for samples that are not normalised (by the training data), and `DataError`
    where the objective reads labels and there is none.
    """
    _check_normalised(data)

    @torch.no_grad()
    def score(objective: Objective[Any]) -> float:
        count = len(data)
        if objective.reads != "unlabelled":
            _check_labelled(data)
            count = int(data.labelled.sum()) if objective.reads == "labelled" else count
        device = next(objective.parameters()).device
        size = min(batch_size, count)
        batches = Batches(objective, data, size, device=device)
        losses: list[Losses] = [
            objective(part) for step in range(count // size) for part in batches.at(step)
        ]
        return -sum(float(each.total) for each in losses) / len(losses)

    return score


def label_loss(
    data: Dataset, task: Task, outputs: Callable[[Objective[Any], Batch], Tensor]
) -> Score:
    """Minus the task's loss of what an objective's networks say of labelled samples, without views.

    outputs: of these networks for a batch, such as the task reads. Raises as `held_out_loss`.
    """
    _check_normalised(data)
    _check_labelled(data)

    @torch.no_grad()
    def score(objective: Objective[Any]) -> float:
        total = 0.0
        for batch in _chunks(objective, data):
            loss = task.loss(full_precision(outputs(objective, batch)), batch.y)
            total += float(loss) * len(batch)
        return -total / len(data)

    return score


def effective_rank_score(data: Dataset) -> Score:
    """The effective rank of the features (RankMe), of at most 2560 samples; it needs no label.

    It says when features begin to collapse, not how good they are for a task. Raises `ConfigError`
    for samples that are not normalised (by the training data).
    """
    _check_normalised(data)
    data = drawn(data)

    @torch.no_grad()
    def score(objective: Objective[Any]) -> float:
        spectrum = SpectrumTracker(objective.encoder.dim)
        for batch in _chunks(objective, data):
            spectrum.update(objective.encoder(batch).pooled)
        return spectrum.rank()

    return score


def _chunks(objective: Objective[Any], data: Dataset) -> Iterator[Batch]:
    """All samples in order, as the objective's networks read them."""
    weight = next(objective.parameters())
    for batch in chunks(data):
        yield batch.with_x(batch.x.to(weight.dtype)).to(weight.device)


def _check_normalised(data: Dataset) -> None:
    if data.normaliser is None:
        raise ConfigError(
            f"{data.source}: the held-out samples are not normalised.",
            remedy="Normalise them as the training data: held.normalised(data.normaliser).",
        )


def _check_labelled(data: Dataset) -> None:
    if not bool(data.labelled.any()):
        raise DataError(
            f"{data.source}: none of the held-out samples has a label.",
            remedy="Hold out labelled samples, or stop by effective_rank_score.",
        )
