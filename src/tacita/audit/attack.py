"""The contract of an attack: a change of samples that misleads a model, within a budget that can be said.

A budget is in the data's own units: levels of 8-bit images, the units of a sensor or of a column. How
well an attack works means nothing without how much of it is seen, so both are reported together, beside
random changes of the same size.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tacita.data.batch import Batch
from tacita.data.dataset import Dataset
from tacita.errors import ConfigError, DataError
from tacita.learner import CHUNK, Learner
from tacita.tasks import require_one_class


class Attack(ABC):
    """A change of samples by at most a budget.

    A subclass says what it measures a budget by; of the ones here it is the largest change of a value.
    """

    @abstractmethod
    def perturb(self, model: Learner, batch: Batch, budget: float) -> Batch:
        """The raw samples of a batch, changed so that the model errs; their targets are the true ones.

        Samples stay such as the data set holds them: 8-bit images 8-bit, padding padding. Raises
        `ConfigError` for a model or a budget that this cannot be done with.
        """


@dataclass(frozen=True)
class AttackReport:
    """What an attack did to the samples that a model had right, and how much of it is seen.

    budget, mean_change, max_change: in the data's own units; the mean is over all values.
    attacked: how many samples the model had right before.
    success: the share of them that it has wrong afterwards.
    control: the same of random changes of the same size: what an attack must beat.
    signal_to_noise: the power of the samples over that of the change, in decibels.
    """

    budget: float
    attacked: int
    success: float
    control: float
    mean_change: float
    max_change: float
    signal_to_noise: float


class RandomSigns(Attack):
    """The control: every value goes up or down by the whole budget, as a coin falls."""

    def __init__(self, *, seed: int = 0) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def perturb(self, model: Learner, batch: Batch, budget: float) -> Batch:
        up = torch.rand(batch.x.shape, generator=self.generator) < 0.5
        return within(model, batch, up.float() * 2 - 1, budget)


def attacked(
    attack: Attack, model: Learner, data: Any, budget: float, *, seed: int = 0
) -> AttackReport:
    """Try an attack on the labelled samples of a data set that the model has right.

    seed: of the control.

    Raises `ConfigError` for a task whose labels are no classes, `DataError` where the model has no
    sample right.
    """
    data = model.like_training(data).recoded(model.task_)
    require_one_class(
        "An attack succeeds where a class changes", model.task_, remedy="Give a model of classes."
    )
    data = data.subset(data.labelled)
    data = data.subset(_right(model, data))
    if not len(data):
        raise DataError(
            f"{data.source}: the model has none of the labelled samples right.",
            remedy="Give samples that it knows.",
        )
    control = RandomSigns(seed=seed)
    fooled, by_chance, largest = 0, 0, 0.0
    signal = noise = total = count = 0.0
    for start in range(0, len(data), CHUNK):
        part = data.subset(torch.arange(start, min(start + CHUNK, len(data))))
        before = Batch(part.samples, part.targets, part.index)
        after = attack.perturb(model, before, budget)
        fooled += int((~_right(model, part.with_samples(after.samples))).sum())
        drawn = control.perturb(model, before, budget)
        by_chance += int((~_right(model, part.with_samples(drawn.samples))).sum())
        valid = _valid(before)
        values = before.x.double()[valid]
        change = (after.x.double()[valid] - values).abs()
        largest = max(largest, float(change.max()))
        total, count = total + float(change.sum()), count + len(values)
        signal += float(values.square().sum())
        noise += float(change.square().sum())
    return AttackReport(
        budget,
        len(data),
        fooled / len(data),
        by_chance / len(data),
        total / count,
        largest,
        10 * math.log10(signal / noise) if signal and noise else math.inf,
    )


def within(model: Learner, batch: Batch, direction: Tensor, budget: float) -> Batch:
    """Raw samples moved by `budget` times a direction of -1, 0 and 1, as far as their values may go.

    Padding, missing values and categories stay. No value changes by more than the budget, not even by
    rounding. Raises `ConfigError` for a budget that is negative or, of 8-bit samples, not whole.
    """
    kind, meta = model.data_.kind, model.data_.meta
    if "numbers" not in kind.card.gives:
        raise kind.lacks("numbers")
    x = batch.x
    whole = x.dtype == torch.uint8
    if not (math.isfinite(budget) and budget >= 0) or (whole and budget != round(budget)):
        raise ConfigError(
            f"budget={budget} is none.",
            remedy="Give a whole number of levels, from 0 to 255." if whole else "Give 0 or more.",
        )
    if meta.spec.cardinalities:
        direction = direction * (torch.tensor(meta.spec.cardinalities) == 0)
    direction = direction.where(_valid(batch), 0)
    limits = meta.limits(batch.samples)
    if whole:
        moved = x.float() + budget * direction
    else:
        moved = x + budget * direction
        over = (moved.double() - x.double()).abs() > budget
        moved = torch.where(over, torch.nextafter(moved, x), moved)
    if limits is not None:
        moved = moved.clamp(*limits)
    return batch.with_x(moved.to(x.dtype))


def as_floats(x: Tensor) -> Tensor:
    """Raw values as a model's `differentiable_logits` take them."""
    return x.float() / 255 if x.dtype == torch.uint8 else x


def _valid(batch: Batch) -> Tensor:
    """Where there are values: neither padding nor missing."""
    x = batch.x
    valid = torch.ones_like(x, dtype=torch.bool) if x.dtype == torch.uint8 else ~x.isnan()
    if batch.mask is not None:
        valid &= batch.mask.reshape(*batch.mask.shape, *(1,) * (x.ndim - 2))
    return valid


def _right(model: Learner, data: Dataset) -> Tensor:
    """`(N,)` bool: which labelled samples the model has right."""
    return model.task_.predict(model.logits(data)) == data.y
