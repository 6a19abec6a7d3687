"""The contract of a task: all that is particular to what is predicted, in one object.

A task is a file in `tacita.tasks` with a class under `@task(...)`. Nothing else in the house asks what
a task is called or of what class it is: readers, splits, learners, baselines, `describe`, the report
and the files of predictions ask the task itself.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tacita.errors import ConfigError
from tacita.measures.intervals import Interval
from tacita.tasks.heads import linear_head
from tacita.tasks.shown import Course, Shown, Writer
from tacita.values import Values, cat
from tacita.words import nearest

Fact = tuple[str, str]
"""A short key and what is said of it."""
Part = tuple[Sequence[Any], Tensor]
"""What some samples are called, by `Task.named`, and their logits."""


@dataclass(frozen=True)
class Task(ABC):
    """What is to be predicted: how its labels are read, learnt, predicted, scored and said.

    A subclass that predicts numbers or classes takes most of this from `Number`, `OneClass` or `Coded`.
    Its fields are what a saved model keeps of it, so they are of plain types.

    Shapes: targets `(N,)`, or more a sample; logits `(B, out_dim)`, or more a sample.
    """

    name: ClassVar[str]
    """By `@task(...)`."""
    metric: ClassVar[str]
    """The figure that ranks candidates; higher is better for every task."""
    ranking: ClassVar[tuple[str, ...]] = ()
    """Further figures among the `scores` that may rank candidates."""
    lower: ClassVar[tuple[str, ...]] = ()
    """Those among them of which less is better."""
    of_few: ClassVar[str] = ""
    """The figure that makes sense of a handful of samples, such as one group; empty where none does."""
    sensitive: ClassVar[str] = ""
    """The figure that every change of a prediction moves, however few there are; empty for `metric`."""
    told_anew: ClassVar[bool] = False
    """Whether other labels for the same samples may be of another task, which is then told from them."""
    ordered: ClassVar[bool] = False
    """Whether its classes have an order that can be told."""
    further: ClassVar[tuple[str, ...]] = ()
    """What may be answered and is no class to learn; its codes come after those of the classes."""
    blends: ClassVar[bool] = False
    """Whether the answers of several models have a mean, see `blended`."""
    continues: ClassVar[bool] = False
    """Whether a prediction goes on from a sample, so that only those without an answer are predicted."""
    stepwise: ClassVar[bool] = False
    """Whether a label is one a time step, so that a series has as many as it has steps."""
    fewest_scored: ClassVar[int] = 2
    """How many samples make a figure, where there is no class to tell."""
    asks: ClassVar[tuple[str, ...]] = ()
    """Options of reading without which there are no such samples."""
    output: ClassVar[str] = "probabilities"
    """What an exported model gives, by name; see `exported`."""

    classes: tuple[str, ...] = ()
    """The names of the classes or grades, in the order of their codes."""

    @property
    def answers(self) -> tuple[str, ...]:
        """All that may be predicted, and that a label to score on may be, in the order of the codes."""
        return (*self.classes, *self.further)

    # Labels as they are written

    def suits(self, name: str | None) -> bool:
        """Whether this is the task that somebody named, or none was named."""
        return name in (None, self.name)

    @classmethod
    def claims(cls, raw: Any) -> int:
        """How surely raw labels are of this task where nobody says so: 0 is no, more wins."""
        return 0

    @classmethod
    @abstractmethod
    def encode(cls, raw: Any, samples: Values, source: str) -> tuple[Values, Self]:
        """Raw labels (None: there are none) of samples to targets, and the task that they make.

        Raises `DataError` or `ConfigError` for labels that are none of this task.
        """

    @abstractmethod
    def encode_like(
        self, raw: Any, samples: Values, source: str, name: Callable[[int], str]
    ) -> Values:
        """Raw labels to the targets of a task that stands; `name` says what a sample is called.

        Raises `DataError` naming the sample for a label that the task does not know.
        """

    @abstractmethod
    def decode(self, predicted: Values) -> list[Any]:
        """Targets or predictions to labels as their user wrote them."""

    def texts(self, predicted: Values) -> list[Any]:
        """Targets or predictions as a file has them: the text of classes, whatever their type."""
        return self.decode(predicted)

    def words(self, predicted: Values) -> list[str]:
        """Targets or predictions as a page says them."""
        return [str(label) for label in self.decode(predicted)]

    def recode(self, y: Values, old: Task, samples: Values, source: str) -> Values:
        """Targets of another task as those of this one, by what they say.

        Raises `DataError` for a label that this task does not know.
        """
        if type(old) is type(self) and old.answers == self.answers:
            return y
        known = old.known(y)
        if not bool(known.any()):
            return self.unlabelled(samples)
        labels = iter(old.decode(y[known]))
        raw = [next(labels) if each else None for each in known.tolist()]
        return self.encode_like(raw, samples, source, lambda position: f"sample {position}")

    # Targets

    @abstractmethod
    def unlabelled(self, samples: Values) -> Values:
        """Targets for samples of which none has a label."""

    @abstractmethod
    def known(self, y: Values) -> Tensor:
        """`(N,)` bool: which samples have a label."""

    @abstractmethod
    def hide(self, y: Values, keep: Tensor) -> Values:
        """The targets where only those at the positions `keep` are left."""

    def learnable(self, y: Values) -> Values:
        """The targets without those that are only to be scored on, which are made missing."""
        return y

    def fitted(self, y: Values) -> Self:
        """The task with whatever it takes from the training targets."""
        return self

    def grown(self, classes: Sequence[str]) -> Self:
        """The same task with further classes; the codes of those that it has stay.

        Raises `ConfigError` for a task without classes, and for classes that it has or that cannot be.
        """
        raise ConfigError(
            f"a {self.name} task has no classes, so it cannot grow by {', '.join(classes)}.",
            remedy="Learn the new targets with the old ones, in one data set.",
        )

    def stacked(self, parts: Sequence[Values]) -> Values:
        """The targets of several pieces of data end to end."""
        return cat(parts)

    # Splits and checks, of known targets

    def codes(self, y: Values) -> Tensor | None:
        """`(N,)` codes among `answers`, -1 where unknown; None where a label is not one class."""
        return None

    def stratum(self, y: Values) -> Tensor | None:
        """`(N,)` codes of what is to keep its share in every part of a split; None where nothing is."""
        return self.codes(y)

    @abstractmethod
    def check_enough(self, y: Values, source: str, fewest: int) -> None:
        """Raise `DataError` unless known targets, one or more, are enough to learn from.

        fewest: labels of each class, where there are classes.
        """

    # Learning

    @property
    @abstractmethod
    def out_dim(self) -> int:
        """Width of the head's output."""

    def head(self, dim: int) -> nn.Module:
        """An untrained head, `(B, dim)` features to `(B, out_dim)` logits: linear, unless said."""
        return linear_head(dim, self.out_dim)

    @abstractmethod
    def losses(self, logits: Tensor, y: Tensor) -> Tensor:
        """`(B,)` loss of each sample's logits against its target; all are known."""

    def loss(self, logits: Tensor, y: Tensor, weights: Tensor | None = None) -> Tensor:
        """Mean loss; `weights (B,)`: how often each sample counts, where not all count once."""
        return weighted_mean(self.losses(logits, y), weights)

    # Predictions

    @abstractmethod
    def predict(self, logits: Tensor) -> Tensor:
        """Logits to class codes or values, as targets are."""

    def probabilities(self, logits: Tensor) -> Tensor:
        """Logits to `(B, K)` probabilities of the answers. Raises `ConfigError` where there are none."""
        raise ConfigError(
            f"predict_proba was asked of a {self.name} task, which has no classes.",
            remedy="Use predict, or --task classification if the labels are classes.",
        )

    def exported(self, logits: Tensor) -> Tensor:
        """What an exported model gives, under the name `output`."""
        return self.probabilities(logits)

    @abstractmethod
    def scores(self, logits: Tensor, y: Tensor) -> dict[str, float]:
        """All metrics over known targets; the one named by `metric` is among them."""

    def ranked_by(self, y: Values, name: str | None = None) -> tuple[str, str]:
        """The figure that ranks candidates for known targets, and why, in words; empty where as usual.

        name: the one that was asked for. Raises `ConfigError` for one that cannot rank here.
        """
        known = tuple(dict.fromkeys((self.metric, *self.ranking)))
        if name is not None and name not in known:
            near = nearest(name, known)
            raise ConfigError(
                f"metric={name!r} does not rank candidates of a {self.name} task.",
                remedy=(f"Did you mean {near!r}? " if near else "") + f"Known: {', '.join(known)}.",
            )
        return name or self.metric, ""

    def prior(self, y: Values) -> Tensor | None:
        """`(1, K)` logits of one who knows known targets alone and no sample; None where there are none."""
        return None

    def chance(self) -> dict[str, float]:
        """What guessing blindly scores, for the figures where that is known."""
        return {}

    def intervals(self, logits: Tensor, y: Tensor) -> dict[str, Interval]:
        """How far some of the `scores` may be off by the number of samples: 95% intervals."""
        return {}

    def translated(self, logits: Tensor, old: Self) -> Tensor:
        """Logits of this task fitted on other targets as logits of this one."""
        return logits

    def joined(self, logits: Sequence[Tensor], y: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Logits and targets of several pieces of data as one, to be scored."""
        return torch.cat(list(logits)), torch.cat(list(y))

    # Several models at once

    def blended(self, logits: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
        """Logits whose answer is the weighted mean of several models' answers for the same samples."""
        answers = zip(weights, map(self.exported, logits), strict=True)
        return self.logits_from(torch.stack([weight * answer for weight, answer in answers]).sum(0))

    def tempered(self, logits: Tensor, temperature: float) -> Tensor:
        """Logits that are less sure of their answers, or surer below 1; the answers stay what they are."""
        return logits

    def log_likelihoods(self, logits: Tensor, y: Tensor) -> Tensor:
        """`(n,)` of each known target under what a model says of it."""
        raise self.cannot("has no likelihood of a target")

    # Models of other kinds

    def votes(self, y: Tensor) -> Tensor:
        """`(n, K)` numbers whose weighted mean over neighbours `logits_from` reads."""
        raise self.cannot("is not predicted by neighbours")

    def logits_from(self, prediction: Tensor) -> Tensor:
        """Logits that say what another model predicts: `(B, K)` probabilities, or `(B,)` values."""
        raise self.cannot("has no logits for another model's predictions")

    def learnt_apart(self, y: Tensor) -> Tensor:
        """Targets as scikit-learn's estimators are given them."""
        return y

    def estimator(self, classifier: Any, regressor: Any) -> Any:
        """Which of two kinds of scikit-learn's estimators learns such targets."""
        raise self.cannot("is not learnt by scikit-learn's estimators")

    def estimated(self, estimator: Any, rows: Any) -> Tensor:
        """Logits of a fitted estimator's predictions for rows of numbers."""
        raise self.cannot("is not learnt by scikit-learn's estimators")

    def cannot(self, what: str) -> ConfigError:
        """The error for what a task is not made for."""
        return ConfigError(
            f"{self.name} {what}.",
            remedy=f"See `tacita methods --task {self.name}` for what learns it.",
        )

    # Words and reports, of known targets

    def summary(self, y: Values) -> str:
        """The labels in a phrase, such as "3 classes"; empty where there is none."""
        return ""

    def counts(self, y: Values) -> dict[str, int]:
        """How many labels each class has, in the order of the codes; of no class, nothing."""
        return {}

    def facts(self, y: Values) -> list[Fact]:
        """What is to be said of the labels, a key and a phrase each."""
        return []

    def suspicions(self, y: Values) -> list[str]:
        """What looks wrong in the labels, each in a phrase."""
        return []

    def told_by(self, values: Tensor, y: Values) -> bool:
        """Whether numbers `(N,)` and the label determine each other: probably a leak."""
        return False

    def values(self, y: Values) -> NDArray[Any] | None:
        """`(N,)` numbers to colour a map by, NaN where unknown; None where targets are no numbers."""
        return None

    def shown(self, logits: Tensor, y: Tensor, top: int) -> Shown:
        """What a report shows of predictions for known targets, with at most `top` of the worst."""
        return Shown()

    def courses(
        self, samples: Values, logits: Tensor, names: Sequence[str], most: int
    ) -> list[Course]:
        """What a report draws of predictions that go on from samples, of at most `most` of them."""
        return []

    def suspects(self, logits: Tensor, y: Tensor) -> NDArray[Any]:
        """Positions of known targets that are probably wrong, the most suspect first; none to say.

        The logits are of models that did not learn from these samples.
        """
        return np.empty(0, np.int64)

    def uncertainty(self, logits: Tensor) -> Tensor | None:
        """`(N,)` from 0 to 1, how torn the answers are; None where logits do not tell."""
        return None

    def named(
        self, names: Sequence[str], samples: Values, times: Sequence[Sequence[str]] | None = None
    ) -> Sequence[Any]:
        """What `write` is told of samples: their names, unless a task has more to say of them.

        times: when the steps of each sample are, where that is known.
        """
        return names

    def write(self, parts: Iterable[Part], to: Writer, *, probabilities: bool = False) -> int:
        """Write what is predicted, with probabilities if they are wanted; gives how many there are.

        Raises `ConfigError` before anything is read where there are no probabilities.
        """
        if probabilities:
            self.probabilities(torch.empty(0, self.out_dim))
        shown = self.answers if probabilities else ()
        lines = self._lines(parts, probabilities)
        return to.lines(["id", "predicted", *shown], lines, shares=len(shown))

    def _lines(self, parts: Iterable[Part], probabilities: bool) -> Iterator[list[Any]]:
        for names, logits in parts:
            labels = self.texts(self.predict(logits))
            shares = self.probabilities(logits).tolist() if probabilities else [[]] * len(labels)
            for name, label, share in zip(names, labels, shares, strict=True):
                yield [name, label, *(f"{value:.6f}" for value in share)]


def weighted_mean(each: Tensor, weights: Tensor | None) -> Tensor:
    """The mean of `each (B,)`, where every sample counts as often as its weight says; None: once.

    It is not divided by the weights: their mean is 1 over all samples, and need not be in a batch.

    >>> weighted_mean(torch.tensor([1.0, 4.0]), torch.tensor([2.0, 0.5])).item()
    2.0
    """
    return each.mean() if weights is None else (each * weights.to(each.dtype)).mean()


def full_precision(logits: Tensor) -> Tensor:
    """Half precisions to float32, so that a softmax over many classes keeps its digits."""
    return logits if logits.dtype == torch.float64 else logits.float()
