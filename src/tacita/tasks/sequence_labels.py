"""Sequence labels: a class for every time step of a series."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from tacita.catalog.tasks import task
from tacita.errors import ConfigError, DataError
from tacita.measures.errors import confusion, macro_f1
from tacita.measures.segments import segment_f1
from tacita.tasks.base import Fact, Task, full_precision
from tacita.tasks.classification import Classification
from tacita.tasks.coded import Coded
from tacita.tasks.label_types import LabelType, typed
from tacita.tasks.labels import UNLABELLED
from tacita.tasks.shown import Shown
from tacita.tasks.step_labels import step_labels
from tacita.tasks.steps import Steps, unlabelled_steps
from tacita.values import Values, as_tensor
from tacita.words import plural


@task("sequence-labels", apart=True)
@dataclass(frozen=True)
class SequenceLabels(Steps, Coded):
    """A class a time step. Ranked by the macro F1 of steps, in which rest does not drown what is rare.

    Shapes: logits `(B, K, L)`, labels `(B, L)` int64 with `UNLABELLED` steps.

    label_type: what labels were given as, and predictions come out as.

    >>> x = torch.zeros(1, 4, 2)
    >>> y, task = SequenceLabels.encode([["rest", "walk", "walk", None]], x, "example")
    >>> y.tolist(), task.classes
    ([[0, 1, 1, -1]], ('rest', 'walk'))
    """

    metric = "macro_f1"
    ranking: ClassVar[tuple[str, ...]] = ("accuracy", "segment_f1", "log_loss")
    lower: ClassVar[tuple[str, ...]] = ("log_loss",)
    sensitive = "log_loss"
    missing = UNLABELLED

    label_type: LabelType = field(default="words", compare=False)

    # Labels as they are written

    @classmethod
    def encode(cls, raw: Any, samples: Values, source: str) -> tuple[Values, Self]:
        if raw is None:
            return unlabelled_steps(samples, UNLABELLED, torch.int64), cls()
        labels = step_labels(raw, samples, source, cls.name)
        try:
            codes, known = Classification.encode(labels.rows, _rows(labels.rows), source)
        except ConfigError as error:
            raise ConfigError(
                error.message,
                remedy="Pass task='sequence-regression' (--task sequence-regression) for numbers, or give"
                " the classes names.",
            ) from error
        longest = int(as_tensor(samples).shape[1])
        y = labels.placed(as_tensor(codes), longest, "nearest")
        return y, cls(known.classes, label_type=known.label_type)

    def encode_like(
        self, raw: Any, samples: Values, source: str, name: Callable[[int], str]
    ) -> Values:
        labels = step_labels(raw, samples, source, self.name)
        codes = self._of_rows.encode_like(labels.rows, _rows(labels.rows), source, labels.name)
        return labels.placed(as_tensor(codes), int(as_tensor(samples).shape[1]), "nearest")

    @property
    def _of_rows(self) -> Classification:
        """The same classes, of one step each."""
        return Classification(self.classes, label_type=self.label_type)

    def recode(self, y: Values, old: Task, samples: Values, source: str) -> Values:
        if isinstance(old, SequenceLabels):
            return self.renamed(y, old, source)
        return super().recode(y, old, samples, source)

    def decode(self, predicted: Values) -> list[Any]:
        """An array a series, in the type of the labels; objects with None where a step has none."""
        return self._named(predicted, typed(self.classes, self.label_type))

    def texts(self, predicted: Values) -> list[Any]:
        return self._named(predicted, list(self.classes))

    def words(self, predicted: Values) -> list[str]:
        found = []
        for codes in as_tensor(predicted):
            present = [self.classes[int(code)] for code in torch.unique(codes) if code >= 0]
            found.append(", ".join(present))
        return found

    def _named(self, predicted: Values, names: Sequence[Any]) -> list[Any]:
        table = np.empty(len(names) + 1, dtype=object)
        table[:-1] = names
        plain = np.array(names)
        codes = as_tensor(predicted).numpy()
        return [table[row] if (row < 0).any() or not len(plain) else plain[row] for row in codes]

    # Targets

    def unlabelled(self, samples: Values) -> Values:
        return unlabelled_steps(samples, UNLABELLED, torch.int64)

    def known_steps(self, y: Tensor) -> Tensor:
        return y != UNLABELLED

    def check_enough(self, y: Values, source: str, fewest: int) -> None:
        present = [name for name, count in self.counts(y).items() if count]
        if len(present) < 2:
            raise DataError(
                f"{source}: all labelled steps are of one class, {present[0]!r}.",
                remedy="Give steps of at least two classes.",
            )

    # Learning and predictions

    def step_losses(self, logits: Tensor, y: Tensor) -> Tensor:
        return functional.cross_entropy(full_precision(logits), y, reduction="none")

    def step_targets(self, y: Tensor) -> Tensor:
        return y

    def step_estimator(self, classifier: Any, regressor: Any) -> Any:
        return classifier

    def step_estimated(self, estimator: Any, rows: Any) -> Tensor:
        return self._of_rows.estimated(estimator, rows)

    def scores(self, logits: Tensor, y: Tensor) -> dict[str, float]:
        """Macro F1 and accuracy of steps, F1 of segments that overlap by half (F1@50), log loss."""
        predicted = self.predict(logits)
        of_steps, true = self.at_known(logits, y)
        matrix = confusion(of_steps.argmax(1).numpy(), true.numpy(), len(self.classes))
        return {
            "macro_f1": macro_f1(matrix),
            "accuracy": float(np.diag(matrix).sum() / max(matrix.sum(), 1)),
            "segment_f1": segment_f1(predicted.numpy(), y.numpy()),
            "log_loss": functional.cross_entropy(of_steps.double(), true).item(),
        }

    def prior(self, y: Values) -> Tensor | None:
        """The shares of the classes, at every step."""
        targets = as_tensor(y)
        shares = self._of_rows.prior(targets[self.known_steps(targets)])
        return None if shares is None else shares[:, :, None].expand(-1, -1, targets.shape[1])

    def chance(self) -> dict[str, float]:
        return {"accuracy": 1 / len(self.classes)}

    # Words

    def columns(self) -> Sequence[str]:
        return ("predicted",)

    def summary(self, y: Values) -> str:
        found = super().summary(y)
        return f"{found} of steps" if found else ""

    def facts(self, y: Values) -> list[Fact]:
        steps = int(self.known_steps(as_tensor(y)).sum())
        return [*super().facts(y), ("steps", f"{steps:,} have a label")]

    def suspicions(self, y: Values) -> list[str]:
        absent = [f"{name!r}" for name, count in self.counts(y).items() if not count]
        said = f"no step is of {plural(len(absent), 'class')}: {', '.join(absent)}"
        return [said] if absent else []

    def shown(self, logits: Tensor, y: Tensor, top: int) -> Shown:
        """Of steps: which class is taken for which, and whether the probabilities hold; the worst series."""
        known = self.known_steps(y)
        guesses = torch.where(known, self.predict(logits), UNLABELLED)
        wrong = (guesses != y).sum(1) / known.sum(1).clamp_min(1)
        worst = wrong.argsort(descending=True)[:top]
        of_steps = self._of_rows.shown(*self.at_known(logits, y), 0)
        return replace(of_steps, worst=worst.numpy(), guesses=guesses[worst].numpy(), sure=None)


def _rows(rows: Any) -> Tensor:
    """As many samples as there are rows."""
    return torch.empty(len(rows), 0)
