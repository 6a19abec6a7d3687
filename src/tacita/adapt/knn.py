"""k nearest neighbours in feature space: needs no training at all, and shows what is near what."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from tacita.catalog.cards import method
from tacita.data.dataset import Dataset
from tacita.encoder import Encoder
from tacita.learner import NetworkLearner, features
from tacita.tasks import Task
from tacita.values import as_tensor


class NearestNeighbours(nn.Module):
    """A head that votes: `exp(cosine / temperature)` weights over the k nearest labelled samples.

    Shapes: `memory (n, dim)` unit vectors, `targets (n, K)` votes: one-hot classes, or the value.
    """

    memory: Tensor
    targets: Tensor

    def __init__(self, count: int, dim: int, task: Task, k: int, temperature: float) -> None:
        super().__init__()
        self.task = task
        self.k = min(k, count)
        self.temperature = temperature
        nobody = as_tensor(task.unlabelled(torch.empty(0)))
        self.register_buffer("memory", torch.zeros(count, dim))
        self.register_buffer("targets", torch.zeros(count, task.votes(nobody).shape[1]))

    def remember(self, values: Tensor, y: Tensor) -> None:
        """Store the labelled samples' features `(n, dim)` and labels `(n,)`."""
        self.memory.copy_(functional.normalize(values, dim=1))
        self.targets.copy_(self.task.votes(y))

    def forward(self, values: Tensor) -> Tensor:
        similarity = functional.normalize(values.float(), dim=1) @ self.memory.T
        nearest, at = similarity.topk(self.k, dim=1)
        weight = (nearest / self.temperature).softmax(1)
        return self.task.logits_from((weight[:, :, None] * self.targets[at]).sum(1))


@method(
    "knn",
    title="k nearest neighbours on features",
    family="adapt",
    labels="few",
    summary="Labels by the nearest labelled samples in an encoder's feature space, without training.",
)
class Knn(NetworkLearner):
    """Weighted cosine nearest neighbours, the protocol of Wu et al. (2018) and DINO.

    k: neighbours (20), never more than there are labels.
    temperature: of the weights (0.07).
    """

    def __init__(self, encoder: Encoder, *, k: int = 20, temperature: float = 0.07) -> None:
        self.encoder = encoder
        self.k = k
        self.temperature = temperature

    def rebuild(self, task: Task, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """The head's memory is as large as the number of samples that it was given."""
        count = next(iter(shapes.get("head/memory", ())), 0)
        self.head = NearestNeighbours(count, self.encoder.dim, task, self.k, self.temperature)

    def _fit(self, data: Dataset, seed: int) -> None:
        labelled = data.subset(data.labelled)
        head = NearestNeighbours(
            len(labelled), self.encoder.dim, data.task, self.k, self.temperature
        )
        head.remember(features(self.encoder, labelled), labelled.y)
        self.head = head
        self.encoder.eval()
