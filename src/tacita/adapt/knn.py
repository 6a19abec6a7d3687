"""k nearest neighbours in feature space: needs no training at all, and shows what is near what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from tacita.catalog.cards import method
from tacita.continual import Continual, Ledger, Receipt
from tacita.data.dataset import Dataset, check_alike
from tacita.encoder import Encoder
from tacita.errors import CheckpointError, DataError
from tacita.learner import NetworkLearner, features
from tacita.modalities.memory import as_dataset
from tacita.tasks import Task, require_one_class
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
class Knn(NetworkLearner, Continual):
    """Weighted cosine nearest neighbours, the protocol of Wu et al. (2018) and DINO.

    k: neighbours (20), never more than there are labels.
    temperature: of the weights (0.07).

    It keeps learning: what it knows is a row a labelled sample, so `extend` adds rows, of new classes
    too, and `forget` drops them, exactly. The encoder and the normaliser stay as they are.

    >>> from tacita.encoders import build
    >>> from tacita.modalities.load import load
    >>> digits = load("digits")
    >>> knn = Knn(build("residual-cnn", digits.spec, width=4)).fit(digits.subset(torch.arange(100)))
    >>> knn = knn.extend(digits.subset(torch.arange(100, 150)))
    >>> knn.forget([7, 9]).left, knn.forget([120], session=1).exact
    (148, ('head',))
    """

    head: NearestNeighbours
    files = ("ledger.json",)

    def __init__(self, encoder: Encoder, *, k: int = 20, temperature: float = 0.07) -> None:
        self.encoder = encoder
        self.k = k
        self.temperature = temperature

    def rebuild(self, task: Task, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """The head's memory is as large as the number of samples that it was given."""
        count = next(iter(shapes.get("head/memory", ())), 0)
        self.head = NearestNeighbours(count, self.encoder.dim, task, self.k, self.temperature)

    def save_files(self, folder: Path) -> None:
        self.learnt().save(folder / self.files[0])

    def load_files(self, folder: Path, seed: int) -> None:
        path = folder / self.files[0]
        ledger = Ledger.load(path)
        if len(ledger) != len(self.head.memory):
            raise CheckpointError(
                f"{path}: {len(ledger)} samples, but the memory has {len(self.head.memory)}.",
                remedy="The folder is damaged or its files are of two models.",
            )
        self.ledger_ = ledger

    def _fit(self, data: Dataset, seed: int) -> None:
        labelled = data.subset(data.labelled)
        self.head = self._remembered(labelled)
        self.ledger_ = Ledger().added(labelled.source, labelled.index)
        self.encoder.eval()

    def extend(self, data: Any, y: Any = None) -> Self:
        """Learn further labelled samples; a class that is new comes behind those that are known."""
        ledger, known = self.learnt(), self.fitted()
        self._require_classes("grows")
        if not isinstance(data, Dataset):
            data = as_dataset(data, y, task=self.task_.name)
        check_alike(known, data)
        data = data.learnable()
        labelled = data.subset(data.labelled).normalised(known.normaliser)
        if not len(labelled):
            raise DataError(
                f"{data.source}: no sample has a label.", remedy="Give labels to learn."
            )
        new = [name for name in data.task.answers if name not in self.task_.answers]
        task = self.task_.grown(new) if new else self.task_
        new_rows = self._remembered(labelled.recoded(task))
        old = functional.pad(self.head.targets, (0, len(new)))
        head = self._of_rows(
            torch.cat([self.head.memory, new_rows.memory]), torch.cat([old, new_rows.targets]), task
        )
        self.head, self.task_ = head, task
        self.data_ = known.with_labels(known.targets, task)
        self.ledger_ = ledger.added(labelled.source, labelled.index)
        return self

    def forget(self, index: Sequence[int] | Tensor, *, session: int = 0) -> Receipt:
        """Drop the samples' rows; raises `DataError` where a class would have none left."""
        ledger = self.learnt()
        self._require_classes("forgets")
        stays = torch.ones(len(ledger), dtype=torch.bool)
        stays[ledger.places(index, session=session)] = False
        memory, targets = self.head.memory[stays], self.head.targets[stays]
        gone = (self.head.targets.any(0) & ~targets.any(0)).nonzero().flatten().tolist()
        if gone:
            raise DataError(
                f"these are the last samples of {self.task_.answers[gone[0]]!r}.",
                remedy="Keep one of each class, or fit again without the class.",
            )
        left = ledger.without(index, session=session)
        self.head, self.ledger_ = self._of_rows(memory, targets, self.task_), left
        named = tuple(torch.as_tensor(index).flatten().tolist())
        return Receipt(named, session, ("head",), ("encoder", "normaliser"), len(left))

    def _remembered(self, labelled: Dataset) -> NearestNeighbours:
        count = len(labelled)
        head = NearestNeighbours(count, self.encoder.dim, labelled.task, self.k, self.temperature)
        head.remember(features(self.encoder, labelled), labelled.y)
        return head

    def _of_rows(self, memory: Tensor, targets: Tensor, task: Task) -> NearestNeighbours:
        head = NearestNeighbours(len(memory), self.encoder.dim, task, self.k, self.temperature)
        head.memory, head.targets = memory, targets
        return head.eval()

    def _require_classes(self, does: str) -> None:
        # Other targets have a scale, which is of all samples together.
        remedy = "Fit it again, with the samples that are to count."
        require_one_class(f"knn {does} by rows of one class each", self.task_, remedy=remedy)
