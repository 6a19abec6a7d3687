"""Distribution alignment: guesses are divided by how often a class is guessed.

Berthelot et al., "ReMixMatch", ICLR 2020, arXiv 1911.09785, section 3.1. Without it a class that is
learnt first is guessed ever more often; it assumes that unlabelled samples have the shares that are
aimed at.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from tacita.data.dataset import Dataset
from tacita.errors import ConfigError
from tacita.processes import mean_over_processes

Prior = Literal["uniform", "labels", "none"]
"""The shares of classes that are aimed at: equal ones, those among the labels, or no alignment."""

EPSILON = 1e-6


class Alignment(nn.Module):
    """Guesses `q (B, K)` to `q * target / mean`, renormalised; `mean` is a running one of guesses.

    prior: what `target` is; with `"none"` guesses stay as they are. Where unlabelled samples are known
        to have uneven classes, as the labels do, `"labels"`. (On digits of uneven shares equal ones did
        no harm in hundreds of steps and found more of the rare classes; where classes overlap, wrong
        shares can cost accuracy.)
    rate: how far `mean` moves to a batch's own mean in a step.

    >>> alignment = Alignment(2, rate=0.0)
    >>> _ = alignment.mean.copy_(torch.tensor([0.8, 0.2]))
    >>> alignment(torch.tensor([[0.5, 0.5]]))
    tensor([[0.2000, 0.8000]])
    """

    mean: Tensor
    target: Tensor

    def __init__(self, classes: int, *, prior: Prior = "uniform", rate: float = 0.01) -> None:
        super().__init__()
        self.prior = prior
        self.rate = rate
        self.register_buffer("mean", torch.full((classes,), 1 / classes))
        self.register_buffer("target", torch.full((classes,), 1 / classes))

    def prepare(self, data: Dataset) -> None:
        """Take the labels' shares as the target, if it is they; a class without a label counts one."""
        if self.prior != "labels":
            return
        counts = torch.bincount(data.y[data.labelled], minlength=len(self.target)).clamp_min(1)
        self.target = (counts / counts.sum()).to(self.target)
        # From equal shares the mean would take hundreds of steps to those of the labels, and until then
        # a frequent class would be guessed all the more.
        self.mean = self.target.clone()

    @torch.no_grad()
    def forward(self, q: Tensor) -> Tensor:
        if self.prior == "none":
            return q
        if self.training:
            self.follow(mean_over_processes(q.mean(0)).to(self.mean.dtype))
        q = q * (self.target / self.mean)
        return q / q.sum(1, keepdim=True)

    def follow(self, mean: Tensor) -> None:
        """Move on by a batch's mean guess `(K,)`."""
        self.mean.lerp_(mean, self.rate)


class QueueAlignment(Alignment):
    """The same, where `mean` is that of the last batches' means, each as much as the others.

    prior: as in `Alignment`.
    length: how many batches are looked back on (128, IOMatch's official code).

    Batches that are not there yet count as zeros: the scale of `mean` cancels. Before the first
    batch guesses stay as they are.

    >>> alignment = QueueAlignment(2, length=2)
    >>> for share in (0.8, 0.6, 0.4): _ = alignment(torch.tensor([[share, 1 - share]]))
    >>> alignment.mean
    tensor([0.5000, 0.5000])
    """

    queue: Tensor
    place: Tensor

    def __init__(self, classes: int, *, prior: Prior = "uniform", length: int = 128) -> None:
        super().__init__(classes, prior=prior)
        if length < 1:
            raise ConfigError(
                f"length={length}: no batch would be looked back on.", remedy="Give 1 or more."
            )
        self.register_buffer("queue", torch.zeros(length, classes))
        self.register_buffer("place", torch.zeros(1, dtype=torch.int64))

    def follow(self, mean: Tensor) -> None:
        self.queue.index_copy_(0, self.place, mean[None])
        self.place.add_(1).remainder_(self.queue.shape[0])
        # A class that was never guessed has a mean of 0 in float32.
        self.mean.copy_(self.queue.mean(0) + EPSILON)
