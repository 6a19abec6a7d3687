"""The batches that an objective reads: labelled, unlabelled or pairs, in parts and on its device.

Unlabelled batches can replay earlier data: a share of every batch, drawn evenly from all of the past.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor

from tacita.data.batch import Batch, SemiBatch
from tacita.data.dataset import Dataset, check_alike, joined
from tacita.engine.passes import Passes, mix
from tacita.errors import ConfigError
from tacita.objective import Objective
from tacita.values import Ragged, lengths_of


class Batches:
    """The batches of each step, in parts where gradients are accumulated, in the networks' type.

    past: how many of the data set's last samples are earlier ones, to be replayed.
    replay_share: their share of a batch; the rest are new.
    rank, processes: which stretch of every part is taken, where several processes train together.

    Raises `ConfigError` for a share that is no sample or the whole batch, and for objectives that read
    labels.
    """

    def __init__(
        self,
        objective: Objective[Any],
        data: Dataset,
        batch_size: int,
        *,
        past: int = 0,
        replay_share: float = 0.1,
        accumulate: int = 1,
        seed: int = 0,
        device: torch.device,
        rank: int = 0,
        processes: int = 1,
    ) -> None:
        self.data = data
        hidden = data.hide_labels(torch.empty(0, dtype=torch.int64))
        self.hidden = replace(hidden, weights=None)
        self.accumulate = accumulate
        self.device = device
        self.rank = rank
        self.processes = processes
        self.dtype = next(objective.parameters()).dtype
        labelled = data.labelled.nonzero().squeeze(1)
        everything = torch.arange(len(data))
        self.labelled: Passes | None = None
        self.unlabelled: Passes | None = None
        self.replayed: Passes | None = None
        if past:
            old = replayed_samples(objective, batch_size, replay_share)
            new = len(data) - past
            self.unlabelled = Passes(everything[:new], self._even(batch_size - old), mix(seed, 1))
            self.replayed = Passes(everything[new:], self._even(old), mix(seed, 3))
        elif objective.reads == "unlabelled":
            self.unlabelled = Passes(everything, self._even(batch_size), mix(seed, 1))
        elif objective.reads == "labelled":
            few = self._even(min(batch_size, len(labelled)))
            self.labelled = Passes(labelled, few, mix(seed, 2))
        else:
            few, many = pair_sizes(objective, data, batch_size)
            self.labelled = Passes(labelled, self._even(few), mix(seed, 2))
            self.unlabelled = Passes(everything, self._even(many), mix(seed, 1))

    def at(self, step: int) -> list[Batch | SemiBatch]:
        """The parts of one step's batch."""
        labelled = [] if self.labelled is None else self._parts(self.labelled.at(step))
        unlabelled = [] if self.unlabelled is None else self._parts(self.unlabelled.at(step))
        if self.replayed is not None:
            old = self._parts(self.replayed.at(step))
            unlabelled = [torch.cat(pair) for pair in zip(unlabelled, old, strict=True)]
        parts: list[Batch | SemiBatch]
        if labelled and unlabelled:
            pairs = zip(labelled, unlabelled, strict=True)
            parts = [
                SemiBatch(self._take(self.data, a), self._take(self.hidden, b)) for a, b in pairs
            ]
        elif labelled:
            parts = [self._take(self.data, a) for a in labelled]
        else:
            parts = [self._take(self.hidden, b) for b in unlabelled]
        return [part.to(self.device) for part in parts]

    def _take(self, data: Dataset, positions: Tensor) -> Batch:
        batch = data.take(positions.chunk(self.processes)[self.rank])
        lengths = lengths_of(data.samples)
        if self.processes > 1 and lengths is not None:
            # As wide as the samples of all processes, so that what is drawn for each is of one shape.
            wide = cast(Ragged, batch.samples)
            longest = max(wide.longest, int(lengths[positions].max()))
            batch = batch.with_samples(wide.widened(longest))
        # Token numbers stay whole numbers, whatever the networks' type.
        return batch.with_x(batch.x.to(self.dtype)) if batch.x.is_floating_point() else batch

    def _even(self, size: int) -> int:
        """The next size that parts and processes share evenly, so that a mean of means is the mean."""
        shares = self.accumulate * self.processes
        return math.ceil(size / shares) * shares

    def _parts(self, positions: Tensor) -> list[Tensor]:
        return list(positions.chunk(self.accumulate))


def pair_sizes(objective: Objective[Any], data: Dataset, batch_size: int) -> tuple[int, int]:
    """How many labelled and unlabelled samples a step has, of an objective that reads both.

    All samples, the labelled ones too, are unlabelled data: as FixMatch does. Where labels are fewer
    than a batch, the ratio holds to what there is, but not below what a full batch would have by it, or
    twice the batch where that is less. With a batch of labels it is exactly the ratio.
    """
    few, ratio = min(batch_size, int(data.labelled.sum())), objective.unlabelled_ratio
    many = max(few * ratio, min(ratio, 2) * batch_size)
    return few, min(many, len(data))


def replayed_samples(objective: Objective[Any], batch_size: int, share: float) -> int:
    """How many samples of a batch are earlier ones.

    Raises `ConfigError` where they would be none or all, and for objectives that read labels.
    """
    if objective.reads != "unlabelled":
        raise ConfigError(
            f"replay: {type(objective).__name__} learns from labels; only pretraining replays.",
            remedy="Join the data sets instead.",
        )
    count = round(share * batch_size)
    if not 0 < count < batch_size:
        raise ConfigError(
            f"replay_share={share} of batch_size={batch_size} is {count} samples.",
            remedy="Give a share that leaves some of each kind, such as 0.1.",
        )
    return count


def with_past(data: Dataset, past: Dataset) -> Dataset:
    """New samples and then earlier ones as one data set, seen through the normaliser of the new.

    Samples are numbered anew, since both may count from 0. Raises `DataError` as `check_alike` does.
    """
    check_alike(data, past)
    old = replace(past.with_labels(data.task.unlabelled(past.samples), data.task), ids=())
    both = joined([replace(data, ids=()), old])
    return replace(both, index=torch.arange(len(both)))
