"""The contract of an objective: it owns the networks and says what loss a batch gives.

The engine knows nothing more of a method than what stands here. A method is a subclass in one
file; the same class serves the recipe, the command line and anyone's own loop.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Generic, Literal, TypeVar

from torch import Tensor, nn

from tacita.data.batch import Batch, SemiBatch
from tacita.data.dataset import Dataset
from tacita.encoder import Encoder

BatchT = TypeVar("BatchT", Batch, SemiBatch)


class Losses(Mapping[str, Tensor]):
    """Named, weighted terms whose sum is the total; `metrics` are shown and never summed.

    >>> import torch
    >>> losses = Losses(invariance=torch.tensor(1.0), redundancy=torch.tensor(0.5))
    >>> losses.total.item()
    1.5
    """

    def __init__(self, metrics: Mapping[str, Tensor] | None = None, **terms: Tensor) -> None:
        self._terms = terms
        self.metrics = dict(metrics or {})

    @property
    def total(self) -> Tensor:
        """The number to minimise."""
        values = list(self._terms.values())
        return sum(values[1:], start=values[0])

    def __getitem__(self, name: str) -> Tensor:
        return self._terms[name]

    def __iter__(self):  # type: ignore[no-untyped-def]
        return iter(self._terms)

    def __len__(self) -> int:
        return len(self._terms)


class Objective(nn.Module, ABC, Generic[BatchT]):
    """What is trained: an encoder, whatever heads and teachers the method adds, and its loss.

    A subclass declares what it `reads` and implements `loss`. Randomness comes from torch's global
    generator, which the engine seeds anew for every step, so that any step can be repeated.
    """

    reads: ClassVar[Literal["unlabelled", "labelled", "both"]]
    """Which samples its batches hold: all of them with labels hidden, the labelled, or a pair."""

    weighs: ClassVar[bool] = False
    """Whether the labelled part of its loss counts samples by the `weights` of a batch."""

    tiny: ClassVar[Mapping[str, Any]] = {}
    """Arguments under which it learns at once, for suites and trials; nothing else depends on them."""

    engine_defaults: ClassVar[Mapping[str, Any]] = {}
    """The method's own options for `tacita.engine.train.train`; a recipe overrides them."""

    encoder: Encoder
    """What is kept after training."""

    head: nn.Module | None
    """Features to logits, for objectives that learn from labels; kept too."""

    unlabelled_ratio: int = 1
    """Unlabelled samples a labelled one in a step, for objectives that read both."""

    def __init__(self) -> None:
        super().__init__()
        self.head = None

    @abstractmethod
    def loss(self, batch: BatchT) -> Losses:
        """The loss of one batch."""

    def forward(self, batch: BatchT) -> Losses:
        """The same as `loss`, so that wrappers for devices and precision take part."""
        return self.loss(batch)

    def prepare(self, data: Dataset) -> None:
        """Called once before all else with the data to learn from, for what is kept a sample or class."""

    def start(self, steps: int) -> None:
        """Called once before training: how many steps there will be, for schedules."""

    def after_step(self, step: int) -> None:
        """Called after every optimiser step: teachers follow, queues move on."""

    def finish(self) -> None:
        """Called once at the end: puts the weights that are to be kept into `encoder` and `head`."""

    def anchors(self, batch: Batch) -> Tensor:
        """`(B, K)` embeddings on which the method's loss acts, where collapse shows; default: features."""
        return self.encoder(batch).pooled


def trainable(module: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that a gradient reaches, by name."""
    return {name: p for name, p in module.named_parameters() if p.requires_grad}
