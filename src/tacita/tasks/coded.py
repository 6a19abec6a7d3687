"""What tasks with classes share: targets are codes, and a missing one is `UNLABELLED`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from tacita.errors import ConfigError, DataError
from tacita.measures.calibration import reliability
from tacita.measures.errors import confident_errors, confusion
from tacita.measures.intervals import Interval, mean_of_shares, wilson
from tacita.measures.ranks import operating
from tacita.measures.suspects import suspect_labels
from tacita.tasks.base import Fact, Task
from tacita.tasks.declared import Declared, in_order
from tacita.tasks.label_types import LabelType, label_type_of, typed
from tacita.tasks.labels import (
    UNLABELLED,
    as_array,
    class_names,
    codes_of,
    label_text,
    of_categories,
    sorted_classes,
)
from tacita.tasks.shown import Shown
from tacita.values import Values, as_tensor
from tacita.words import SHOWN, nearest, plural

_UNEVEN = 10
_LEAST = 1e-6
"""No label is thought less likely than that."""
_CURVES = 12
"""Classes that get a curve of their own in a report, the commonest."""


@dataclass(frozen=True)
class Coded(Task):
    """Targets are class codes, int64, one or many a sample."""

    nouns: ClassVar[tuple[str, str]] = ("class", "classes")
    between: ClassVar[str] = ", "
    """What stands between the classes where they are listed."""

    def renamed(self, y: Values, old: Coded, source: str) -> Values:
        """Codes of another task's classes as codes of the same ones here.

        Raises `DataError` naming a class of a label that this task does not have.
        """
        if old.answers == self.answers:
            return y
        codes = as_tensor(y)
        present = {old.answers[int(code)] for code in torch.unique(codes) if code != UNLABELLED}
        unknown = sorted(present - set(self.answers))
        if unknown:
            raise DataError(
                f"{source}: the class {unknown[0]!r} was not among those to learn.",
                remedy=f"Known are {', '.join(self.answers[:10])}.",
            )
        places = {name: place for place, name in enumerate(self.answers)}
        # The code -1 reads the last entry, which keeps it -1.
        return torch.tensor([*(places.get(n, UNLABELLED) for n in old.answers), UNLABELLED])[codes]

    def unlabelled(self, samples: Values) -> Values:
        return torch.full((len(samples),), UNLABELLED, dtype=torch.int64)

    def known(self, y: Values) -> Tensor:
        return as_tensor(y) != UNLABELLED

    def hide(self, y: Values, keep: Tensor) -> Values:
        codes = as_tensor(y)
        hidden = torch.full_like(codes, UNLABELLED)
        hidden[keep] = codes[keep]
        return hidden

    def grown(self, classes: Sequence[str]) -> Self:
        """With further classes behind those that there are, whose codes stay.

        >>> from tacita.tasks import Classification
        >>> Classification(("cat", "dog")).grown(["owl"]).classes
        ('cat', 'dog', 'owl')
        """
        new = tuple(classes)
        if [label_text(name) for name in new] != list(new) or not all(new) or not new:
            raise ConfigError(
                f"classes={list(new)!r} are no names of classes.",
                remedy="Give one or more words, none of them empty.",
            )
        again = [name for at, name in enumerate(new) if name in (*self.answers, *new[:at])]
        if again:
            raise ConfigError(
                f"classes={list(new)!r}: there is {again[0]!r} already.",
                remedy=f"Name new ones; known are {', '.join(self.answers[:10])}.",
            )
        return replace(self, classes=(*self.classes, *new))

    def counts(self, y: Values) -> dict[str, int]:
        codes = as_tensor(y)
        found = torch.bincount(codes[codes != UNLABELLED], minlength=len(self.classes)).tolist()
        # What is no class to learn is counted where it is among the labels.
        return dict(zip(self.answers, found, strict=False))

    # Of logits with the classes along their second axis, unless a task says otherwise

    @property
    def out_dim(self) -> int:
        return len(self.classes)

    def predict(self, logits: Tensor) -> Tensor:
        return logits.argmax(1)

    def probabilities(self, logits: Tensor) -> Tensor:
        return logits.float().softmax(1)

    def logits_from(self, prediction: Tensor) -> Tensor:
        return prediction.float().clamp_min(1e-7).log()

    def summary(self, y: Values) -> str:
        one, many = self.nouns
        count = len(self.counts(y))
        return f"{count} {one if count == 1 else many}" if count else ""

    def facts(self, y: Values) -> list[Fact]:
        counts = self.counts(y)
        shown = [f"{name} {count}" for name, count in list(counts.items())[:SHOWN]]
        more = f"{self.between}... ({len(counts)} in all)" * (len(counts) > SHOWN)
        return [(self.nouns[1], self.between.join(shown) + more)] if counts else []

    def told_by(self, values: Tensor, y: Values) -> bool:
        codes = as_tensor(y)
        distinct, places = torch.unique(values, return_inverse=True)
        pairs = torch.unique(places * max(len(self.answers), 1) + codes)
        return 1 < len(distinct) == len(torch.unique(codes)) == len(pairs)


@dataclass(frozen=True)
class OneClass(Coded):
    """A label is one of the answers, `(N,)` codes.

    label_type: what labels were given as, and predictions come out as; text where there are answers
        beside the classes. It makes no other task of it: a label is told by its text.

    Raises `ConfigError` for classes that are not of the type.
    """

    of_few = "accuracy"
    blends = True

    label_type: LabelType = field(default="words", compare=False)

    def __post_init__(self) -> None:
        try:
            typed(self.answers, self.label_type)
        except ValueError as error:
            raise ConfigError(
                f"the task {self.name} has a class that its labels cannot be: {error}.",
                remedy="Give classes that are of the type of the labels.",
            ) from None

    @classmethod
    def encode(cls, raw: Any, samples: Values, source: str) -> tuple[Values, Self]:
        """Raises `ConfigError` where labels are measurements, which are no classes.

        >>> from tacita.tasks import Classification
        >>> y, task = Classification.encode(["b", None, "a", ""], torch.zeros(4, 1), "example")
        >>> y.tolist(), task.classes
        ([1, -1, 0, -1], ('a', 'b'))
        """
        raw = of_categories(raw)
        names = class_names([None] * len(samples) if raw is None else raw, source)
        order = raw.order if isinstance(raw, Declared) else ()
        kind: LabelType = "words"
        if isinstance(raw, Declared):
            kind = raw.label_type
        elif raw is not None:
            kind = label_type_of(as_array(raw), names)
        classes = cls.arranged(names, order, source)
        task = cls(classes, label_type="words" if cls.further or not classes else kind)
        return codes_of(names, task.answers), task

    @classmethod
    def arranged(cls, names: NDArray[Any], order: tuple[str, ...], source: str) -> tuple[str, ...]:
        """The classes among the names of labels: in their order, or else sorted."""
        if order:
            found = in_order(names, (*order, *cls.further), source)
            return tuple(name for name in found if name not in cls.further)
        return sorted_classes(names, cls.further, source)

    def encode_like(
        self, raw: Any, samples: Values, source: str, name: Callable[[int], str]
    ) -> Values:
        names = class_names(raw, source, self.answers)
        known = {*self.answers, None}
        if not known.issuperset(names):
            # 1.0 among labels that are not all numbers, where the model knows it as 1.
            plain = {n: n.removesuffix(".0") for n in set(names) - known}
            plain = {n: short for n, short in plain.items() if short in known}
            names = np.array([plain.get(n, n) for n in names], dtype=object)
        for position, label in enumerate(names):
            if label not in known:
                near = nearest(label, self.answers)
                raise DataError(
                    f"{source}: {name(position)} is labelled {label!r}, which the model does not know.",
                    remedy=f"Did you mean {near!r}?"
                    if near
                    else f"Classes: {', '.join(self.answers[:10])}. Leave it empty if it has no label.",
                )
        return codes_of(names, self.answers)

    def recode(self, y: Values, old: Task, samples: Values, source: str) -> Values:
        if isinstance(old, OneClass):
            return self.renamed(y, old, source)
        return super().recode(y, old, samples, source)

    def decode(self, predicted: Values) -> list[Any]:
        """In the type that labels were given in.

        >>> from tacita.tasks import Classification
        >>> Classification(("1", "2"), label_type="integer").decode(torch.tensor([1, 0]))
        [2, 1]
        """
        labels = typed(self.answers, self.label_type)
        return [labels[int(code)] for code in as_tensor(predicted)]

    def texts(self, predicted: Values) -> list[Any]:
        return [self.answers[int(code)] for code in as_tensor(predicted)]

    def words(self, predicted: Values) -> list[str]:
        return self.texts(predicted)

    def grown(self, classes: Sequence[str]) -> Self:
        """With further classes; labels become text if these are not of their type."""
        try:
            typed(tuple(classes), self.label_type)
        except (TypeError, ValueError):
            return replace(self, label_type="words").grown(classes)
        return super().grown(classes)

    def codes(self, y: Values) -> Tensor | None:
        return as_tensor(y)

    def check_enough(self, y: Values, source: str, fewest: int) -> None:
        codes = as_tensor(y)
        counts = torch.bincount(codes, minlength=len(self.classes)).tolist()
        present = [name for name, count in zip(self.classes, counts, strict=True) if count]
        if len(present) < 2:
            raise DataError(
                f"{source}: all {len(codes)} labels are of one class, {present[0]!r}.",
                remedy="Give labels of at least two classes. Whole numbers of -1, and the word nan,"
                " mean that there is no label, unless as_class=-1 (--class=-1) says otherwise.",
            )
        for name, count in zip(self.classes, counts, strict=True):
            if count < fewest:
                raise DataError(
                    f"{source}: the class {name!r} has {plural(count, 'label')}.",
                    remedy=f"Give at least {plural(fewest, 'label')} a class, or leave the class out.",
                )

    def tempered(self, logits: Tensor, temperature: float) -> Tensor:
        return logits / temperature

    def log_likelihoods(self, logits: Tensor, y: Tensor) -> Tensor:
        """The logarithm of the probability of the label; none is thought impossible."""
        shares = self.probabilities(logits).double()
        return shares.gather(1, y.long()[:, None]).squeeze(1).clamp_min(_LEAST).log()

    def votes(self, y: Tensor) -> Tensor:
        """One-hot classes."""
        return functional.one_hot(y.long(), len(self.classes)).float()

    def estimator(self, classifier: Any, regressor: Any) -> Any:
        return classifier

    def estimated(self, estimator: Any, rows: Any) -> Tensor:
        # A fold may lack a class: the estimator knows only those that it saw.
        seen = torch.as_tensor(estimator.classes_).long()
        if hasattr(estimator, "predict_proba"):
            found = torch.as_tensor(estimator.predict_proba(rows))
            probabilities = torch.zeros(len(found), len(self.classes))
            # Label spreading gives NaN to a sample that no label reaches.
            probabilities[:, seen] = found.float().nan_to_num(1 / len(seen))
            return self.logits_from(probabilities)
        margins = torch.as_tensor(estimator.decision_function(rows)).float()
        if margins.ndim == 1:
            margins = torch.stack([-margins, margins], 1)
        scores = torch.full((len(margins), len(self.classes)), -torch.inf)
        scores[:, seen] = margins
        return self.logits_from(scores.softmax(1))

    def suspicions(self, y: Values) -> list[str]:
        """Classes with hardly any label, and those of very unequal shares."""
        counts = self.counts(y)
        if not counts:
            return []
        few = [f"{name!r}" for name, count in counts.items() if count < 2]
        said = []
        if few:
            more = ", ..." * (len(few) > SHOWN)
            said.append(
                f"fewer than 2 labels in {plural(len(few), 'class')}: {', '.join(few[:SHOWN])}{more}"
            )
        largest = max(counts, key=lambda name: counts[name])
        smallest = min(counts, key=lambda name: counts[name])
        if counts[largest] > _UNEVEN * counts[smallest]:
            said.append(
                f"classes are uneven: {largest!r} has {counts[largest]} labels,"
                f" {smallest!r} {counts[smallest]}; look at balanced accuracy"
            )
        return said

    def prior(self, y: Values) -> Tensor | None:
        """The shares of the classes."""
        counts = torch.bincount(as_tensor(self.learnable(y)).clamp_min(-1) + 1)[1:]
        shares = torch.zeros(1, len(self.classes))
        shares[0, : len(counts)] = counts / counts.sum()
        return self.logits_from(shares)

    def chance(self) -> dict[str, float]:
        even = 1 / len(self.answers)
        return {"accuracy": even, "balanced_accuracy": even}

    def intervals(self, logits: Tensor, y: Tensor) -> dict[str, Interval]:
        """Of accuracy (Wilson) and balanced accuracy."""
        right = (self.predict(logits) == y).numpy()
        codes, count = y.numpy(), len(self.answers)
        total = np.bincount(codes, minlength=count)
        each = np.bincount(codes, right, minlength=count)
        return {
            "accuracy": wilson(float(right.sum()), len(codes)),
            "balanced_accuracy": mean_of_shares(each, total),
        }

    def suspects(self, logits: Tensor, y: Tensor) -> NDArray[Any]:
        return suspect_labels(self.probabilities(logits).double().numpy(), y.numpy())

    def uncertainty(self, logits: Tensor) -> Tensor | None:
        """One less the lead of the likeliest answer over the next (margin)."""
        first = self.probabilities(logits).topk(2, dim=1).values
        return 1 - (first[:, 0] - first[:, 1])

    def shown(self, logits: Tensor, y: Tensor, top: int) -> Shown:
        """The confusion of the answers, whether the probabilities hold, and the surest mistakes."""
        probabilities = self.probabilities(logits)
        shares, true = probabilities.numpy(), y.numpy()
        worst = confident_errors(shares, true, top)
        names = self.answers
        common = np.argsort(-np.bincount(true, minlength=len(names)), kind="stable")[:_CURVES]
        # Of two classes the second says it all; which one that is, is said.
        curves = [1] if len(names) == 2 else sorted(common.tolist())
        found = (operating(names[k], shares[:, k], true == k) for k in curves)
        return Shown(
            operating=tuple(each for each in found if each is not None),
            confusion=confusion(self.predict(logits).numpy(), true, len(self.answers)),
            calibration=reliability(probabilities, y),
            worst=worst,
            guesses=shares[worst].argmax(1),
            sure=shares[worst].max(1),
        )


def require_one_class(why: str, task: Task, *, remedy: str) -> OneClass:
    """The task, whose labels must be one class or grade each.

    why: the error's beginning. Raises `ConfigError` for any other task.
    """
    if not isinstance(task, OneClass):
        raise ConfigError(f"{why}, but the task is {task.name}.", remedy=remedy)
    return task
