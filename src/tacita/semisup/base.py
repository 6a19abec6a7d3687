"""What semi-supervised methods share: one pass over all views, and averaged weights that are kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from tacita import tasks
from tacita.data.batch import Batch, SemiBatch, together
from tacita.encoder import Encoder
from tacita.errors import ConfigError
from tacita.objective import Objective
from tacita.parts.ema import EMA
from tacita.processes import kinds
from tacita.tasks import Classification, OneClass, Task, full_precision
from tacita.views import Views, views_of

_OTHERS = "Use pretraining and fine-tune for this task."


class SemiSupervised(Objective[SemiBatch]):
    """An encoder and a linear head with weak and strong views, evaluated at their running average.

    unlabelled_ratio: unlabelled samples a labelled one in a step.
    momentum: rate of the averaged weights that are kept; with the warm start of FixMatch's official
        code, 0.99 suits runs of hundreds of steps, where the papers' 0.999 suits a million.
    weak, strong: view makers; default: those of the modality.

    Where samples have weights, labels count by them in `supervised`; what is learnt of unlabelled samples
    counts as it does.

    A subclass with other networks whose average is to be kept puts them into `others`, and then
    repeats `self.average = self.averaged()`.
    """

    head: nn.Module
    reads = "both"
    weighs = True
    engine_defaults = {"steps": 600, "batch_size": 64, "learning_rate": 3e-3, "weight_decay": 5e-4}

    deaf: ClassVar[Mapping[str, Any]]
    """Arguments under which the pool teaches nothing: the method's own labels, views, batches and average
    alone, which is what a gain by the pool is measured against. Batch norm still sees the pool."""

    def __init__(
        self,
        encoder: Encoder,
        task: Task,
        *,
        unlabelled_ratio: int = 7,
        momentum: float = 0.99,
        weak: Views | None = None,
        strong: Views | None = None,
    ) -> None:
        super().__init__()
        if unlabelled_ratio < 1:
            raise ConfigError(
                f"unlabelled_ratio={unlabelled_ratio}: there would be no unlabelled sample.",
                remedy="Give 1 or more; the method `supervised` learns from labels alone.",
            )
        self.encoder = encoder
        self.task = task
        self.head = task.head(encoder.dim)
        self.others = nn.ModuleDict()
        self.unlabelled_ratio = unlabelled_ratio
        self.momentum = momentum
        self.weak = views_of(weak, encoder.spec, "weak")
        self.strong = views_of(strong, encoder.spec, "strong")
        self.average = self.averaged()

    def kept(self) -> nn.ModuleList:
        """The networks whose average is kept, the same modules at every call."""
        return nn.ModuleList([self.encoder, self.head, self.others])

    def averaged(self) -> EMA[nn.ModuleList]:
        """A running average that starts at the weights of now."""
        return EMA(self.kept(), momentum=self.momentum, warm=True)

    def features(self, *batches: Batch) -> list[Tensor]:
        """`(B, dim)` features of each batch, by one pass, so that they share batch-norm statistics."""
        return list(torch.split(self._pooled(batches), [len(batch) for batch in batches]))

    def logits(self, *batches: Batch) -> list[Tensor]:
        """`(B, K)` logits, at least in float32, of each batch, by one pass."""
        logits = full_precision(self.head(self._pooled(batches)))
        return list(torch.split(logits, [len(batch) for batch in batches]))

    def logits_of_guessed(self, guessed: Batch, first: Batch, *others: Batch) -> list[Tensor]:
        """`logits` of all, those of `guessed` without a gradient: a batch that nothing is learnt through.

        Where every sample is encoded apart, it takes a pass of its own that keeps nothing for a gradient,
        which saves two passes in nine of FixMatch; batch norm wants all samples in one.
        """
        if any(isinstance(part, _BatchNorm) for part in self.kept().modules()):
            # The labelled ones first, as they have always been: sums in another order round otherwise.
            of_first, of_guessed, *of_others = self.logits(first, guessed, *others)
            return [of_guessed.detach(), of_first, *of_others]
        with torch.no_grad():
            (of_guessed,) = self.logits(guessed)
        return [of_guessed, *self.logits(first, *others)]

    def _pooled(self, batches: Sequence[Batch]) -> Tensor:
        whole = together(batches)
        with kinds(*map(len, batches)):
            pooled: Tensor = self.encoder(whole).pooled
        return pooled

    def supervised(self, logits: Tensor, labelled: Batch) -> Tensor:
        """The task's loss of labelled samples, by their weights if they have any."""
        return self.task.loss(logits, labelled.y, labelled.weights)

    def after_step(self, step: int) -> None:
        self.average.update(self.kept(), step)

    def finish(self) -> None:
        """Keep the averaged weights."""
        self.kept().load_state_dict(self.average.teacher.state_dict())


def require_classes(method: str, task: Task) -> Classification:
    """The task, which must have classes that a method can guess; raises `ConfigError` else."""
    return tasks.require_classes(f"{method} guesses classes", task, remedy=_OTHERS)


def require_probabilities(method: str, task: Task) -> OneClass:
    """The task, which must have classes or grades to be compared; raises `ConfigError` else."""
    return tasks.require_one_class(
        f"{method} compares probabilities of classes", task, remedy=_OTHERS
    )
