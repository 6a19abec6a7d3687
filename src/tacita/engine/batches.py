"""The batches that an objective reads: labelled, unlabelled or pairs, in parts and on its device."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from tacita.data.batch import Batch, SemiBatch
from tacita.data.dataset import Dataset
from tacita.engine.streams import Stream, mix
from tacita.objective import Objective


class Batches:
    """The batches of each step, in parts where gradients are accumulated, in the networks' type.

    rank, processes: which share of every part is taken, where several processes train together.
    """

    def __init__(
        self,
        objective: Objective[Any],
        data: Dataset,
        batch_size: int,
        *,
        accumulate: int = 1,
        seed: int = 0,
        device: torch.device,
        rank: int = 0,
        processes: int = 1,
    ) -> None:
        self.data = data
        self.hidden = data.hide_labels(torch.empty(0, dtype=torch.int64))
        self.accumulate = accumulate
        self.device = device
        self.rank = rank
        self.processes = processes
        self.dtype = next(objective.parameters()).dtype
        labelled = data.labelled.nonzero().squeeze(1)
        everything = torch.arange(len(data))
        self.labelled: Stream | None = None
        self.unlabelled: Stream | None = None
        if objective.reads == "unlabelled":
            self.unlabelled = Stream(everything, self._even(batch_size), mix(seed, 1))
        elif objective.reads == "labelled":
            few = self._even(min(batch_size, len(labelled)))
            self.labelled = Stream(labelled, few, mix(seed, 2))
        else:
            # All samples, the labelled ones too, are unlabelled data: as FixMatch does. Where labels
            # are fewer than a batch, the ratio holds to what there is, down to twice the batch.
            few = min(batch_size, len(labelled))
            many = max(few * objective.unlabelled_ratio, 2 * batch_size)
            self.labelled = Stream(labelled, self._even(few), mix(seed, 2))
            self.unlabelled = Stream(everything, self._even(min(many, len(data))), mix(seed, 1))

    def at(self, step: int) -> list[Batch | SemiBatch]:
        """The parts of one step's batch."""
        labelled = [] if self.labelled is None else self._parts(self.labelled.at(step))
        unlabelled = [] if self.unlabelled is None else self._parts(self.unlabelled.at(step))
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
        batch = data.take(positions)
        return batch.with_x(batch.x.to(self.dtype))

    def _even(self, size: int) -> int:
        """The next size that parts and processes share evenly, so that a mean of means is the mean."""
        shares = self.accumulate * self.processes
        return math.ceil(size / shares) * shares

    def _parts(self, positions: Tensor) -> list[Tensor]:
        mine = positions[self.rank :: self.processes]
        return list(mine.tensor_split(self.accumulate))
