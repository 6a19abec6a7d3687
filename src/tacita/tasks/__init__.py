"""What is to be predicted. A task decides the head's width, the loss, the metrics and the words.

Nothing else in the house branches on the task: `fit`, the learners, the report and the baselines
ask it. A new task (forecasting, segmentation, ...) is a new class here and nothing more.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError
from sklearn.metrics import cohen_kappa_score, roc_auc_score
from torch import Tensor
from torch.nn import functional

from tacita.errors import ConfigError
from tacita.measures.calibration import ece
from tacita.values import Values, as_tensor

UNLABELLED: Final = -1
"""The class code of a sample without a label. A missing regression target is NaN."""

UNKNOWN = "unknown"
"""The label, and the answer, for samples of no known class, in open-set tasks."""


@dataclass(frozen=True)
class Task(ABC):
    """The contract: from a head's raw outputs (`logits`) to a loss, a prediction and a score."""

    name: ClassVar[str]
    metric: ClassVar[str]
    """The figure that ranks candidates; higher is better for every task."""
    recoded_as: ClassVar[str | None]
    """The task by which other labels for the same samples are read; None tells it from them."""
    further: ClassVar[tuple[str, ...]] = ()
    """What may be answered and is no class to learn; its codes come after those of the classes."""

    classes: tuple[str, ...] = ()
    """The names of the classes or grades, in the order of their codes."""

    @property
    def answers(self) -> tuple[str, ...]:
        """All that may be predicted, and that a label to score on may be, in the order of the codes."""
        return (*self.classes, *self.further)

    @property
    @abstractmethod
    def out_dim(self) -> int:
        """Width of the head's output."""

    @property
    def discrete(self) -> bool:
        """Whether a label is one class code, so that splits can be stratified."""
        return True

    @property
    def coded(self) -> bool:
        """Whether labels are made of class codes, so that a missing one is `UNLABELLED`, not NaN."""
        return self.discrete

    @abstractmethod
    def loss(self, logits: Tensor, y: Tensor) -> Tensor:
        """Mean loss of `(B, out_dim)` logits against `(B,)` labels, all known."""

    @abstractmethod
    def predict(self, logits: Tensor) -> Tensor:
        """`(B, out_dim)` logits to `(B,)` class codes or values."""

    @abstractmethod
    def probabilities(self, logits: Tensor) -> Tensor:
        """`(B, out_dim)` logits to `(B, K)` class probabilities."""

    @abstractmethod
    def logits_from(self, prediction: Tensor) -> Tensor:
        """Logits that say what another model predicts: `(B, K)` probabilities, or `(B,)` values."""

    @abstractmethod
    def scores(self, logits: Tensor, y: Tensor) -> dict[str, float]:
        """All metrics over known labels; the one named by `metric` is among them."""

    def known(self, y: Values) -> Tensor:
        """`(N,)` bool: which labels are not missing."""
        return as_tensor(y) != UNLABELLED

    def unlabelled(self, samples: Any) -> Tensor:
        """Targets for samples of which none has a label."""
        dtype = torch.int64 if self.coded else torch.float32
        return torch.full((len(samples),), UNLABELLED if self.coded else torch.nan, dtype=dtype)

    def hide(self, y: Values, keep: Tensor) -> Values:
        """The labels where only those at the positions `keep` are left."""
        known = as_tensor(y)
        hidden = torch.full_like(known, UNLABELLED if self.coded else torch.nan)
        hidden[keep] = known[keep]
        return hidden

    def learnable(self, y: Values) -> Values:
        """The labels without those that are only to be scored on, which are made missing."""
        return y

    def fitted(self, y: Tensor) -> Task:
        """The task with whatever it takes from the known training labels."""
        return self

    def decode(self, predicted: Values) -> list[Any]:
        """Predicted codes to the user's own labels."""
        return [self.answers[int(code)] for code in as_tensor(predicted)]


@dataclass(frozen=True)
class Classification(Task):
    """One of several classes; beside accuracy stand balanced accuracy and the calibration error (ECE).

    >>> task = Classification(("cat", "dog"))
    >>> task.decode(task.predict(torch.tensor([[0.1, 2.0]])))
    ['dog']
    """

    name = "classification"
    recoded_as = "classification"
    metric = "accuracy"

    @property
    def out_dim(self) -> int:
        return len(self.classes)

    def loss(self, logits: Tensor, y: Tensor) -> Tensor:
        return functional.cross_entropy(_full(logits), y)

    def predict(self, logits: Tensor) -> Tensor:
        return logits.argmax(1)

    def probabilities(self, logits: Tensor) -> Tensor:
        return logits.float().softmax(1)

    def logits_from(self, prediction: Tensor) -> Tensor:
        return prediction.float().clamp_min(1e-7).log()

    def scores(self, logits: Tensor, y: Tensor) -> dict[str, float]:
        predicted = self.predict(logits)
        right = (predicted == y).float()
        recall = [right[y == code].mean().item() for code in torch.unique(y)]
        return {
            "accuracy": right.mean().item(),
            "balanced_accuracy": float(np.mean(recall)),
            "log_loss": self.loss(logits, y).item(),
            "ece": ece(self.probabilities(logits), y),
        }


@dataclass(frozen=True)
class OpenSet(Classification):
    """One of the known classes, or "unknown": `classes` are the K known ones, `unknown` has code K.

    Logits may have K + 1 columns, of which the last is the unknown's, or K, of a classifier that knows
    of no unknown. To the latter one is added, so that the answer is "unknown" where the largest
    softmax is below a `threshold` (Hendrycks and Gimpel, 2017, arXiv 1610.02136): see `opened`.

    The label "unknown" is only for scoring. Where training samples have it, they count as unlabelled.

    >>> task = OpenSet(("cat", "dog"))
    >>> task.decode(task.predict(torch.tensor([[4.0, 0.0], [0.1, 0.0]])))
    ['cat', 'unknown']
    >>> task.decode(task.predict(torch.tensor([[0.2, 0.1, 0.0]]))), task.answers
    (['cat'], ('cat', 'dog', 'unknown'))
    """

    name = "open-set"
    recoded_as = "open-set"
    metric = "balanced_accuracy"
    further = (UNKNOWN,)

    @property
    def threshold(self) -> float:
        """From which softmax on a class is known: half-way from chance, 1 / K, to certainty."""
        return (1 + 1 / len(self.classes)) / 2

    def opened(self, logits: Tensor) -> Tensor:
        """`(B, K)` logits to `(B, K + 1)`, by the rule of the largest softmax; those of K + 1 stay.

        The unknown's logit is the largest one mirrored about `log(threshold sum_k exp(logit_k))`: it is
        above all others where the largest softmax is below the threshold, and falls as that grows.
        """
        logits = _full(logits)
        if logits.shape[1] > len(self.classes):
            return logits
        middle = logits.logsumexp(1, keepdim=True) + math.log(self.threshold)
        return torch.cat([logits, 2 * middle - logits.amax(1, keepdim=True)], 1)

    def predict(self, logits: Tensor) -> Tensor:
        return self.opened(logits).argmax(1)

    def probabilities(self, logits: Tensor) -> Tensor:
        """`(B, K + 1)`, the last column that of "unknown"."""
        return self.opened(logits).float().softmax(1)

    def learnable(self, y: Values) -> Values:
        known = as_tensor(y)
        return torch.where(known < len(self.classes), known, UNLABELLED)

    def scores(self, logits: Tensor, y: Tensor) -> dict[str, float]:
        """Balanced accuracy over known classes and "unknown", as far as they are among the labels.

        Further, as far as there are such samples: `closed_set_accuracy` of the known ones among the
        known classes alone, and `unknown_auroc`, how well the probability of "unknown" tells the
        unknown from the known (0.5 is chance).
        """
        predicted, known = self.predict(logits), y < len(self.classes)
        right = (predicted == y).float()
        recall = [right[y == code].mean().item() for code in torch.unique(y)]
        scores = {"balanced_accuracy": float(np.mean(recall)), "accuracy": right.mean().item()}
        if bool(known.any()):
            closed = logits[known, : len(self.classes)].argmax(1)
            scores["closed_set_accuracy"] = (closed == y[known]).float().mean().item()
        if bool(known.any()) and not bool(known.all()):
            # In double precision and as a logit: shares near 0 and 1 would be ties.
            opened = self.opened(logits).double()
            odds = opened[:, -1] - opened[:, :-1].logsumexp(1)
            scores["unknown_auroc"] = float(roc_auc_score(~known, odds))
        return scores


@dataclass(frozen=True)
class Ordinal(Task):
    """Ordered grades: K-1 cumulative logits, one for each "is it above this grade?".

    The loss is the mean binary cross-entropy over the thresholds (Frank and Hall, 2001, trained
    jointly). Quadratic weighted kappa ranks candidates: it punishes a far miss more than a near one.
    """

    name = "ordinal"
    recoded_as = "ordinal"
    metric = "quadratic_kappa"

    @property
    def out_dim(self) -> int:
        return len(self.classes) - 1

    def loss(self, logits: Tensor, y: Tensor) -> Tensor:
        logits = _full(logits)
        above = (y[:, None] > torch.arange(self.out_dim, device=y.device)).to(logits.dtype)
        return functional.binary_cross_entropy_with_logits(logits, above)

    def predict(self, logits: Tensor) -> Tensor:
        return (logits > 0).sum(1)

    def probabilities(self, logits: Tensor) -> Tensor:
        # P(y > k) must fall with k; the running minimum repairs thresholds that cross.
        above = logits.float().sigmoid().cummin(1).values
        edge = above.new_ones(len(above), 1)
        return torch.cat([edge, above], 1) - torch.cat([above, 0 * edge], 1)

    def logits_from(self, prediction: Tensor) -> Tensor:
        above = 1 - prediction.float().cumsum(1)[:, :-1]
        return above.clamp(1e-7, 1 - 1e-7).logit()

    def scores(self, logits: Tensor, y: Tensor) -> dict[str, float]:
        predicted = self.predict(logits)
        return {
            "quadratic_kappa": quadratic_kappa(predicted.numpy(), y.numpy(), len(self.classes)),
            "accuracy": (predicted == y).float().mean().item(),
            "mean_absolute_error": (predicted - y).abs().float().mean().item(),
        }


@dataclass(frozen=True)
class Regression(Task):
    """A number. Targets are standardised inside the loss by the training labels' mean and deviation."""

    name = "regression"
    recoded_as = "regression"
    metric = "r2"
    mean: float = field(default=0.0)
    std: float = field(default=1.0)

    @property
    def out_dim(self) -> int:
        return 1

    @property
    def discrete(self) -> bool:
        return False

    def loss(self, logits: Tensor, y: Tensor) -> Tensor:
        return functional.mse_loss(
            _full(logits).squeeze(1), ((y - self.mean) / self.std).to(_full(logits).dtype)
        )

    def predict(self, logits: Tensor) -> Tensor:
        return logits.float().squeeze(1) * self.std + self.mean

    def probabilities(self, logits: Tensor) -> Tensor:
        raise ConfigError(
            "predict_proba was asked of a regression task, which has no classes.",
            remedy="Use predict, or --task classification if the labels are classes.",
        )

    def logits_from(self, prediction: Tensor) -> Tensor:
        return ((prediction.float() - self.mean) / self.std)[:, None]

    def scores(self, logits: Tensor, y: Tensor) -> dict[str, float]:
        error = self.predict(logits) - y
        spread = (y - y.mean()).square().mean().clamp_min(1e-12)
        return {
            "r2": 1.0 - (error.square().mean() / spread).item(),
            "mean_absolute_error": error.abs().mean().item(),
            "root_mean_squared_error": error.square().mean().sqrt().item(),
        }

    def known(self, y: Values) -> Tensor:
        return ~as_tensor(y).isnan()

    def fitted(self, y: Tensor) -> Regression:
        std, mean = torch.std_mean(y[self.known(y)].double(), correction=0)
        return Regression(mean=mean.item(), std=std.item() or 1.0)

    def decode(self, predicted: Values) -> list[Any]:
        return [float(value) for value in as_tensor(predicted)]


@dataclass(frozen=True)
class Segmentation(Task):
    """A class for every voxel, the first of them the background; scored by Dice over the others.

    Shapes: logits `(B, K, D, H, W)`, labels `(B, D, H, W)` int64 with `UNLABELLED` voxels.

    >>> task = Segmentation(("0", "1"))
    >>> y = torch.tensor([0, 1, 1, -1]).view(1, 1, 2, 2)
    >>> logits = torch.stack([1 - y, y], 1).float()
    >>> task.scores(logits, y)["dice"], task.decode(task.predict(logits))[0].tolist()
    (1.0, [[[0, 1], [1, 0]]])
    """

    name = "segmentation"
    recoded_as = None
    metric = "dice"

    @property
    def out_dim(self) -> int:
        return len(self.classes)

    @property
    def discrete(self) -> bool:
        return False

    @property
    def coded(self) -> bool:
        return True

    def loss(self, logits: Tensor, y: Tensor) -> Tensor:
        return dice_loss(logits, y)

    def predict(self, logits: Tensor) -> Tensor:
        return logits.argmax(1)

    def probabilities(self, logits: Tensor) -> Tensor:
        return logits.float().softmax(1)

    def logits_from(self, prediction: Tensor) -> Tensor:
        return prediction.float().clamp_min(1e-7).log()

    def scores(self, logits: Tensor, y: Tensor) -> dict[str, float]:
        """Mean Dice over the foreground, each class's own, and the share of voxels that are right.

        A class counts in the volumes where it is or was predicted; NaN where that is nowhere.
        """
        predicted, known = self.predict(logits), y != UNLABELLED
        each = {}
        for code, name in enumerate(self.classes[1:], start=1):
            a, b = (predicted == code) & known, (y == code) & known
            size = (a.flatten(1).sum(1) + b.flatten(1).sum(1)).double()
            shared = (a & b).flatten(1).sum(1).double()
            each[f"dice of {name}"] = (2 * shared / size)[size > 0].mean().item()
        found = [value for value in each.values() if not np.isnan(value)]
        return {
            "dice": float(np.mean(found)) if found else float("nan"),
            **each,
            "voxel_accuracy": (predicted == y)[known].float().mean().item(),
        }

    def known(self, y: Values) -> Tensor:
        """`(N,)` bool: which volumes have a labelled voxel."""
        return (as_tensor(y) != UNLABELLED).flatten(1).any(1)

    def unlabelled(self, samples: Any) -> Tensor:
        shape = (len(samples), *samples.shape[2:])
        return torch.full(shape, UNLABELLED, dtype=torch.int64)

    @property
    def numbers(self) -> tuple[int, ...]:
        """What stands for each class in label volumes: its name, where all names are numbers."""
        whole = all(name.isdecimal() for name in self.classes)
        return tuple(int(name) if whole else code for code, name in enumerate(self.classes))

    def decode(self, predicted: Values) -> list[Any]:
        """Codes to the numbers of label volumes; what is `UNLABELLED` stays -1."""
        numbers = np.array([*self.numbers, UNLABELLED])
        return [numbers[volume.numpy()] for volume in as_tensor(predicted)]


def dice_loss(logits: Tensor, y: Tensor) -> Tensor:
    """One minus the mean Dice of all classes, the background too, in float32: from 0 to 1.

    `1 - mean_c (2 sum p y + 1) / (sum p + sum y + 1)`, with sums over all labelled voxels of the batch
    (Chaitanya et al., 2020, have one term a slice). The 1 makes a class that is neither there nor
    predicted cost nothing; in a single slice such terms would be the rule.

    Shapes: `logits (B, K, ...)`; `y (B, ...)` int64, where `UNLABELLED` voxels count for nothing.
    """
    known = (y != UNLABELLED)[:, None]
    share = _full(logits).softmax(1) * known
    truth = functional.one_hot(y.clamp_min(0), logits.shape[1]).movedim(-1, 1) * known
    axes = (0, *range(2, logits.ndim))
    shared = (share * truth).sum(axes)
    return 1 - ((2 * shared + 1) / (share.sum(axes) + truth.sum(axes) + 1)).mean()


def _full(logits: Tensor) -> Tensor:
    """Half precisions to float32, so that a softmax over many classes keeps its digits."""
    return logits if logits.dtype == torch.float64 else logits.float()


TASKS: dict[str, type[Task]] = {
    task.name: task for task in (Classification, OpenSet, Ordinal, Regression, Segmentation)
}


def task_of(name: str, facts: Mapping[str, Any]) -> Task:
    """A task from its name and its fields, such as a saved model has them.

    Raises `ConfigError` where there is no such task, or they are not its fields.

    >>> task_of("classification", {"classes": ["a", "b"]}).answers
    ('a', 'b')
    """
    if name not in TASKS:
        raise ConfigError(f"task={name!r} is not a task.", remedy=f"Tasks: {', '.join(TASKS)}.")
    try:
        made = TypeAdapter(TASKS[name]).validate_python(dict(facts))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"the task {name} has {where}: {first['msg']}.") from error
    return made


def quadratic_kappa(a: NDArray[np.int64], b: NDArray[np.int64], grades: int) -> float:
    """Agreement beyond chance with squared-distance weights (Cohen, 1968); 1 is perfect.

    >>> quadratic_kappa(np.array([0, 1, 2]), np.array([0, 1, 2]), 3)
    1.0
    """
    if len(np.union1d(a, b)) < 2:
        return 1.0  # One grade everywhere: scikit-learn divides by zero here.
    return float(cohen_kappa_score(a, b, labels=range(grades), weights="quadratic"))
