"""The contract of a learner: `fit` on a few labels, then predictions for anything like the data.

Every row of a leaderboard is a learner: an encoder with a head, a semi-supervised method, or a
baseline from scikit-learn. The constructor stores options; `fit` does the work.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn

from tacita.catalog import discover
from tacita.catalog.cards import slug_of
from tacita.data.batch import Batch
from tacita.data.dataset import Dataset, joined
from tacita.data.learnt import Learnt
from tacita.data.weights import cannot_weigh
from tacita.encoder import Encoder
from tacita.errors import ConfigError
from tacita.modalities.load import read_like
from tacita.modalities.memory import as_dataset
from tacita.tasks import Task
from tacita.values import Values

CHUNK = 512
"""Samples a forward pass when predicting: large enough to be fast, small enough for any memory."""


class Learner(ABC):
    """scikit-learn's manners over data sets: arrays, tensors, frames and `Dataset` all go in.

    After `fit`: `task_` with the names of the classes, and what the learner has learnt.
    """

    tiny: ClassVar[Mapping[str, Any]] = {}
    """Arguments under which it learns in a moment, for suites and trials; nothing else depends on them."""

    weighs: bool = False
    """Whether samples may have weights; see `Dataset.weighted`."""

    task_: Task
    data_: Dataset
    """The training data without its samples' values: what further samples must look like."""
    learnt_: Learnt = Learnt()
    """The samples whose labels it has learnt, to be known again."""
    encoder: Encoder | None = None
    """What its features come from; none where it takes samples as they are."""
    files: ClassVar[tuple[str, ...]] = ()
    """What it keeps in a model's folder beside tensors, by name."""

    @abstractmethod
    def _fit(self, data: Dataset, seed: int) -> None:
        """Learn from a normalised data set of which some samples have labels."""

    @abstractmethod
    def _logits(self, batch: Batch) -> Tensor:
        """`(B, K)` raw outputs for a normalised batch, such as the task reads."""

    def modules(self) -> dict[str, nn.Module]:
        """The networks that are saved, by name: all that it has learnt, but for its `files`."""
        return {}

    def rebuild(self, task: Task, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Make the untrained networks whose tensors have these shapes, to be filled from a file."""
        return

    def save_files(self, folder: Path) -> None:
        """Write its `files`, each whole or not at all."""
        return

    def load_files(self, folder: Path, seed: int) -> None:
        """Read its `files`, with `task_` and `data_` known; they are not trusted.

        Raises `CheckpointError` naming the file that is damaged or of another model.
        """
        return

    @property
    def called(self) -> str:
        """The name by which its users know it."""
        return slug_of(type(self))

    def accepted(self, data: Dataset) -> Dataset:
        """The data set as it is learnt from: what is only to be scored on is hidden, weights are evened.

        Raises `ConfigError` for weights of samples where it cannot weigh them, and for a target a time step
        where it learns none.
        """
        card = discover.cards().get(self.called)
        if data.task.stepwise and card is not None and not card.learns(data.task.name):
            raise ConfigError(
                f"{self.called} does not do {data.task.name}.",
                remedy=f"See what does: tacita methods --task {data.task.name}",
            )
        data = data.learnable().evened()
        if data.weights is not None and not self.weighs:
            raise cannot_weigh(self.called, data.source)
        return data

    def try_out(self, data: Dataset, seed: int) -> None:
        """Build what `fit` would train; raises as `fit` would where task or options do not allow it."""
        return

    def fit(self, data: Any, y: Any = None, *, seed: int = 0) -> Self:
        """Learn; labels that are missing (-1, NaN, None) mark unlabelled samples.

        Raises `DataError` for data that cannot be read, `ConfigError` for a task that the learner
        cannot do, and for weights of samples where it has no use for them.
        """
        data = self.accepted(as_dataset(data, y))
        if data.normaliser is None:
            data = data.normalised()
        self.task_ = data.task.fitted(data.targets)
        data = data.with_labels(data.targets, self.task_)
        self.learnt_ = Learnt.of(data.samples[data.labelled])
        self._fit(data, seed)
        self.data_ = data.subset(torch.empty(0, dtype=torch.int64))
        return self

    def logits(self, data: Any) -> Tensor:
        """`(N, K)` raw outputs, such as the task reads."""
        data = self.like_training(data)
        return torch.cat([self._logits(batch) for batch in chunks(data)])

    def differentiable_logits(self, samples: Values) -> Tensor:
        """`(B, K)` raw outputs for raw samples, through which gradients reach these.

        samples: floats in the data's own units; of 8-bit data values from 0 to 1. Raises `ConfigError`
        for a learner that no gradient passes.
        """
        raise ConfigError(
            f"{type(self).__name__} has no gradients: it is no network.",
            remedy="Give a model with an encoder, such as one of `supervised` or `linear-probe`.",
        )

    def predict(self, data: Any) -> np.ndarray[Any, Any]:
        """`(N,)` predicted labels, in the user's own words, numbers or booleans.

        Of a label a step `(N, L)`, or where lengths differ `(N,)` arrays, each as long as its series.
        """
        data = self.like_training(data)
        found = self.task_.decode(self.task_.predict(self.logits(data)))
        if not self.task_.stepwise or data.lengths is None:
            return np.asarray(found)
        several = np.empty(len(found), dtype=object)
        for place, (labels, length) in enumerate(zip(found, data.lengths.tolist(), strict=True)):
            several[place] = labels[:length]
        return several

    def predict_proba(self, data: Any) -> np.ndarray[Any, Any]:
        """`(N, K)` class probabilities, in the order of `task_.answers`: the classes, mostly."""
        logits = self.logits(data)
        return self.task_.probabilities(logits).numpy()

    def score(self, data: Any, y: Any = None) -> float:
        """The task's metric over the labelled samples; higher is better."""
        data = self.like_training(data, y).recoded(self.task_)
        known = data.labelled.nonzero().squeeze(1)
        scores = self.task_.scores(self.logits(data.subset(known)), data.y[known])
        return scores[self.task_.metric]

    def like_training(self, data: Any, y: Any = None, *, strict: bool = False) -> Dataset:
        """Further samples read by the training data's schema and normalised by its statistics.

        strict: whether what would be a warning, such as a category never seen, is a `DataError`.
        """
        known = self.fitted()
        if not isinstance(data, Dataset):
            data = joined(list(read_like(data, known.schema, strict=strict)))
        elif data.modality == known.modality:
            known.kind.check_terms(data, known.schema)
        if y is not None:
            data = as_dataset(data, y, task=self.task_.name)
        return data.normalised(known.normaliser)

    def fitted(self) -> Dataset:
        """`data_`. Raises `ConfigError` before `fit`."""
        if not hasattr(self, "data_"):
            raise ConfigError(
                f"This {type(self).__name__} has learnt nothing yet.", remedy="Call fit first."
            )
        return self.data_


class NetworkLearner(Learner):
    """A learner that ends as an encoder and a head."""

    encoder: Encoder
    head: nn.Module

    def modules(self) -> dict[str, nn.Module]:
        return {"encoder": self.encoder, "head": self.head}

    def rebuild(self, task: Task, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self.head = task.head(self.encoder.dim)

    def outputs(self, batch: Batch) -> Tensor:
        """What the head gives for a normalised batch, in the networks' own precision."""
        logits: Tensor = self.head(self.encoder(batch).pooled)
        return logits

    @torch.no_grad()
    def _logits(self, batch: Batch) -> Tensor:
        return self.outputs(batch).float()

    def differentiable_logits(self, samples: Values) -> Tensor:
        normaliser = self.fitted().normaliser
        assert normaliser is not None
        return self.outputs(Batch.of(normaliser(samples))).float()

    @property
    def output(self) -> str:
        """What an exported model gives, by name."""
        return self.task_.output

    def exported(self, batch: Batch) -> Tensor:
        """What an exported model gives for a normalised batch."""
        return self.task_.exported(self.outputs(batch))

    def embed(self, data: Any) -> np.ndarray[Any, Any]:
        """`(N, dim)` features."""
        return features(self.encoder, self.like_training(data)).numpy()


class EncoderOnly(NetworkLearner):
    """A pretrained encoder without a head: it embeds, and predicts nothing until it is adapted."""

    output = "features"

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self.head = nn.Identity()

    def rebuild(self, task: Task, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self.head = nn.Identity()

    def _fit(self, data: Dataset, seed: int) -> None:
        self.learnt_ = Learnt()
        self.encoder.eval()

    def exported(self, batch: Batch) -> Tensor:
        return self.encoder(batch).pooled

    def outputs(self, batch: Batch) -> Tensor:
        raise ConfigError(
            "This model was pretrained and has no head yet, so it predicts nothing.",
            remedy="Run: tacita adapt fine-tune DATA --from FOLDER",
        )


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode for a while: each part gets its own mode back, and the random numbers theirs."""
    modes = [(part, part.training) for part in module.modules()]
    devices = [p.device for p in module.parameters() if p.device.type == "cuda"][:1]
    module.eval()
    try:
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(0)
            yield
    finally:
        for part, training in modes:
            part.training = training


def chunks(data: Dataset, size: int = CHUNK) -> Iterator[Batch]:
    """A data set as consecutive batches, of as many samples as the modality takes at once."""
    size = data.kind.at_once(data.spec, size)
    for start in range(0, len(data), size):
        yield data.take(torch.arange(start, min(start + size, len(data))))


@torch.no_grad()
def features(encoder: Encoder, data: Dataset) -> Tensor:
    """`(N, dim)` pooled features in evaluation mode; the encoder's mode is put back afterwards."""
    training = encoder.training
    encoder.eval()
    parts = [encoder(batch).pooled.float() for batch in chunks(data)]
    encoder.train(training)
    return torch.cat(parts) if parts else torch.empty(0, encoder.dim)
