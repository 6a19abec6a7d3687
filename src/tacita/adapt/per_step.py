"""A head on every time step: an encoder, pretrained or not, learns a class or numbers a step of series."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from tacita.adapt.trained import Trained
from tacita.catalog.cards import method
from tacita.data.batch import Batch
from tacita.data.dataset import Dataset
from tacita.encoder import Encoder
from tacita.errors import ConfigError
from tacita.objective import Losses, Objective
from tacita.tasks import Task, require_steps
from tacita.values import Ragged, as_tensor

AT_ONCE = 2**17
"""Steps of a forward pass when predicting: whole series, so many together."""


class EveryStep(Objective[Batch]):
    """The task's loss over the known steps of series, or of windows of them.

    Raises `ConfigError` for a task without a target a step.
    """

    head: nn.Module
    reads = "labelled"
    weighs = True

    def __init__(self, encoder: Encoder, task: Task) -> None:
        super().__init__()
        require_steps(task)
        self.encoder = encoder
        self.task = task
        self.head = task.head(encoder.dim)

    def loss(self, batch: Batch) -> Losses:
        logits = step_logits(self.encoder, self.head, batch)
        return Losses(supervised=self.task.loss(logits, batch.y, batch.weights))


@method(
    "per-step",
    title="A head on every time step",
    family="adapt",
    modalities=("series",),
    needs=("steps",),
    labels="few",
    tasks=("sequence-labels", "sequence-regression"),
    summary="Adapts an encoder to a class, or numbers, a time step of series, and predicts every step.",
)
class PerStep(Trained):
    """A linear head on the features of each step, all weights trained from where the encoder is.

    window: steps of the stretches that are learnt from, each overlapping the next by half; series up to
        this length are learnt whole. With 512, and batches twice as large, a step costs three times as much.
        Predictions are of whole series, whatever their length.
    engine: arguments of `tacita.engine.train.train`; they override the method's own.

    Raises `ConfigError` for an encoder without features of each step, as one that pools them has none.
    """

    tiny = {"window": 16}
    engine_defaults = {"steps": 400, "batch_size": 8, "learning_rate": 3e-3, "weight_decay": 0.01}

    def __init__(
        self,
        encoder: Encoder,
        *,
        window: int = 256,
        engine: Mapping[str, Any] | None = None,
    ) -> None:
        if window < 2:
            raise ConfigError(
                f"window={window}: it must be 2 or more.", remedy="The default is 256."
            )
        super().__init__(encoder, EveryStep, engine={**self.engine_defaults, **(engine or {})})
        self.window = window

    def learnt_from(self, data: Dataset) -> Dataset:
        return windows_of(data, self.window)

    def try_out(self, data: Dataset, seed: int) -> None:
        super().try_out(data, seed)
        some = windows_of(data.subset(torch.arange(1)), self.window).normalised(data.normaliser)
        with torch.no_grad():
            self.build(data)(some.take(torch.arange(1)))

    def rebuild(self, task: Task, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self.head = task.head(self.encoder.dim)

    def outputs(self, batch: Batch) -> Tensor:
        return step_logits(self.encoder, self.head, batch)

    @torch.no_grad()
    def _logits(self, batch: Batch) -> Tensor:
        """Whole series, a few at a time; each is only as wide as the longest of its few."""
        count, longest = batch.x.shape[:2]
        few = max(1, AT_ONCE // longest)
        logits = batch.x.new_zeros(count, self.task_.out_dim, longest, dtype=torch.float32)
        for start in range(0, count, few):
            part = slice(start, start + few)
            lengths = None if batch.lengths is None else batch.lengths[part]
            wide = longest if lengths is None else int(lengths.max())
            x = batch.x[part, :wide]
            found = self.outputs(Batch.of(x if lengths is None else Ragged.of(x, lengths)))
            logits[part, :, :wide] = found.float()
        return logits


def step_logits(encoder: Encoder, head: nn.Module, batch: Batch) -> Tensor:
    """`(B, K, L)` logits of series, by a head on the features of their steps."""
    logits: Tensor = head(encoder.per_step(batch))
    return logits.transpose(1, 2)


def windows_of(data: Dataset, window: int) -> Dataset:
    """Series with their targets as stretches of at most `window` steps, each overlapping the next by half.

    The last of a series ends with it. Series that are no longer stay as they are.
    """
    x, y = as_tensor(data.samples), data.y
    if x.shape[1] <= window:
        return data
    lengths = torch.full((len(x),), x.shape[1]) if data.lengths is None else data.lengths
    over = (lengths - window).clamp_min(0)
    stride = max(1, window // 2)
    counts = -(-over // stride) + 1
    owner = torch.arange(len(x)).repeat_interleave(counts)
    number = torch.arange(len(owner)) - (counts.cumsum(0) - counts)[owner]
    starts = torch.minimum(number * stride, over[owner])
    inside = lengths[owner].clamp_max(window)
    at = starts[:, None] + torch.arange(window)
    rows = owner[:, None]
    # A short series lies at the beginning of its window, with its own padding behind it.
    samples = Ragged.of(x[rows, at], inside)
    return replace(
        data,
        samples=samples,
        targets=y[rows, at],
        meta=data.meta.like(samples),
        index=torch.arange(len(owner)),
        weights=None if data.weights is None else data.weights[owner],
        groups=None,
        ids=(),
        starts=None,
    )
