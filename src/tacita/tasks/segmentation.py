"""Segmentation: a class for every voxel of a volume."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from tacita.catalog.tasks import task
from tacita.errors import ConfigError, DataError
from tacita.processes import sum_over_processes
from tacita.tasks.base import Part, Task, full_precision
from tacita.tasks.coded import Coded
from tacita.tasks.labels import UNLABELLED, whole_numbers
from tacita.tasks.shown import Writer
from tacita.values import Values, as_tensor
from tacita.words import plural

_MOST_CLASSES = 256
_REMEDY = "Give whole numbers: 0 for the background, 1, 2, ... for classes, -1 where unknown."
_LEARNER = "Learn it with the method segmentation, from features of every voxel."


@task("segmentation")
@dataclass(frozen=True)
class Segmentation(Coded):
    """A class for every voxel, the first of them the background; scored by Dice over the others.

    Shapes: logits `(B, K, D, H, W)`, labels `(B, D, H, W)` int64 with `UNLABELLED` voxels.

    >>> task = Segmentation(("0", "1"))
    >>> y = torch.tensor([0, 1, 1, -1]).view(1, 1, 2, 2)
    >>> logits = torch.stack([1 - y, y], 1).float()
    >>> task.scores(logits, y)["dice"], task.decode(task.predict(logits))[0].tolist()
    (1.0, [[[0, 1], [1, 0]]])
    """

    metric = "dice"
    told_anew = True

    @property
    def numbers(self) -> tuple[int, ...]:
        """What stands for each class in label volumes: its name, where all names are numbers."""
        whole = all(name.isdecimal() for name in self.classes)
        return tuple(int(name) if whole else code for code, name in enumerate(self.classes))

    # Labels as they are written

    @classmethod
    def claims(cls, raw: Any) -> int:
        """Labels that are volumes are of voxels."""
        rank = getattr(raw, "ndim", 0)
        if isinstance(raw, list | tuple) and len(raw):
            rank = 1 + max(getattr(label, "ndim", 0) for label in raw)
        return 2 * (rank > 2)

    @classmethod
    def encode(cls, raw: Any, samples: Values, source: str) -> tuple[Values, Self]:
        """Raw labels of the voxels of `(N, C, D, H, W)` samples to `(N, D, H, W)` codes.

        -1 and NaN are unknown; in a list, so is the whole volume under a None. The classes are the
        numbers found, and 0, the background. Raises `DataError` for labels of another shape, fractions,
        and more classes than make sense.

        >>> labels, x = np.array([[[[0, 2], [2, -1]]]]), torch.zeros(1, 1, 1, 2, 2)
        >>> y, task = Segmentation.encode(labels, x, "example")
        >>> y.flatten().tolist(), task.classes
        ([0, 1, 1, -1], ('0', '2'))
        """
        values = _whole(raw, samples, source)
        present = np.union1d(np.unique(values[values != UNLABELLED]), [0])
        if present[0] < 0 or len(present) > _MOST_CLASSES:
            raise DataError(
                f"{source}: the labels of voxels hold {len(present)} numbers from {present[0]} to"
                f" {present[-1]}.",
                remedy=_REMEDY,
            )
        return _codes(values, present), cls(tuple(str(number) for number in present))

    def encode_like(
        self, raw: Any, samples: Values, source: str, name: Callable[[int], str]
    ) -> Values:
        values = _whole(raw, samples, source)
        present = np.array(self.numbers)
        unknown = np.setdiff1d(values[values != UNLABELLED], present)
        if len(unknown):
            raise DataError(
                f"{source}: a voxel is labelled {unknown[0]}, which the model does not know.",
                remedy=f"Classes: {', '.join(self.classes[:10])}. Give -1 where the class is unknown.",
            )
        return _codes(values, present)

    def recode(self, y: Values, old: Task, samples: Values, source: str) -> Values:
        if isinstance(old, Segmentation):
            return self.renamed(y, old, source)
        return super().recode(y, old, samples, source)

    def decode(self, predicted: Values) -> list[Any]:
        """Codes to the numbers of label volumes; what is `UNLABELLED` stays -1."""
        numbers = np.array([*self.numbers, UNLABELLED])
        return [numbers[volume.numpy()] for volume in as_tensor(predicted)]

    # Targets

    def unlabelled(self, samples: Values) -> Values:
        x = as_tensor(samples)
        return torch.full((len(x), *x.shape[2:]), UNLABELLED, dtype=torch.int64)

    def known(self, y: Values) -> Tensor:
        """`(N,)` bool: which volumes have a labelled voxel."""
        return (as_tensor(y) != UNLABELLED).flatten(1).any(1)

    def grown(self, classes: Sequence[str]) -> Self:
        """With further classes of voxels.

        Raises `ConfigError` for words among numbers, which stand for themselves in label volumes.
        """
        grown = super().grown(classes)
        if grown.numbers[: len(self.classes)] != self.numbers:
            raise ConfigError(
                f"classes={list(classes)!r}: the classes that there are, are numbers of voxels.",
                remedy="Give numbers too, such as stand in the label volumes.",
            )
        return grown

    def check_enough(self, y: Values, source: str, fewest: int) -> None:
        values = torch.unique(as_tensor(y))
        values = values[values != UNLABELLED]
        if len(values) < 2:
            raise DataError(
                f"{source}: the labels are all {values[0].item():g}.",
                remedy="Give targets that differ.",
            )

    # Learning and predictions

    def head(self, dim: int) -> nn.Module:
        """Of the features of each voxel, which are of one scale."""
        return nn.Linear(dim, self.out_dim)

    def losses(self, logits: Tensor, y: Tensor) -> Tensor:
        """Raises `ConfigError`: the Dice loss is one of all volumes together."""
        raise self.cannot("has no loss of each sample, so samples cannot be weighed")

    def loss(self, logits: Tensor, y: Tensor, weights: Tensor | None = None) -> Tensor:
        """Raises `ConfigError` for logits that are not of voxels, and for weights."""
        if weights is not None:
            return self.losses(logits, y)
        if logits.ndim != y.ndim + 1:
            raise ConfigError(
                f"A class a voxel is not learnt from logits of shape {tuple(logits.shape)}.",
                remedy=_LEARNER,
            )
        return dice_loss(logits, y)

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

    def joined(self, logits: Sequence[Tensor], y: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Volumes of any size are padded to the largest; padding is unlabelled."""
        largest = torch.tensor([part.shape[1:] for part in y]).amax(0).tolist()

        def pads(part: Tensor) -> list[int]:
            shape = part.shape[:-4:-1]
            return [
                n for have, want in zip(shape, largest[::-1], strict=True) for n in (0, want - have)
            ]

        return super().joined(
            [functional.pad(part, pads(part)) for part in logits],
            [functional.pad(part, pads(part), value=UNLABELLED) for part in y],
        )

    # Words and files

    def suspicions(self, y: Values) -> list[str]:
        absent = [f"{name!r}" for name, count in self.counts(y).items() if not count]
        said = f"no voxel is of {plural(len(absent), 'class')}: {', '.join(absent)}"
        return [said] if absent else []

    def told_by(self, values: Tensor, y: Values) -> bool:
        return False

    def write(self, parts: Iterable[Part], to: Writer, *, probabilities: bool = False) -> int:
        """A label volume each. Raises `ConfigError` where probabilities are wanted."""
        if probabilities:
            raise ConfigError(
                "A segmentation is written as label volumes, without probabilities.",
                remedy="Leave --proba out.",
            )
        return to.samples((names, self.decode(self.predict(logits))) for names, logits in parts)


def require_voxels(task: Task) -> Segmentation:
    """The task, which must be of a class a voxel; raises `ConfigError` for any other."""
    if not isinstance(task, Segmentation):
        raise ConfigError(
            f"These labels are for {task.name}, not one a voxel.",
            remedy="Give y of shape (N, D, H, W), or a folder of label volumes with --labels.",
        )
    return task


def dice_loss(logits: Tensor, y: Tensor) -> Tensor:
    """One minus the mean Dice of all classes, the background too, in float32: from 0 to 1.

    `1 - mean_c (2 sum p y + 1) / (sum p + sum y + 1)`, with sums over all labelled voxels of the batch
    (Chaitanya et al., 2020, have one term a slice). The 1 makes a class that is neither there nor
    predicted cost nothing; in a single slice such terms would be the rule.

    Shapes: `logits (B, K, ...)`; `y (B, ...)` int64, where `UNLABELLED` voxels count for nothing.
    """
    known = (y != UNLABELLED)[:, None]
    share = full_precision(logits).softmax(1) * known
    truth = functional.one_hot(y.clamp_min(0), logits.shape[1]).movedim(-1, 1) * known
    axes = (0, *range(2, logits.ndim))
    sums = torch.stack([(share * truth).sum(axes), share.sum(axes), truth.sum(axes)])
    shared, predicted, there = sum_over_processes(sums)
    return 1 - ((2 * shared + 1) / (predicted + there + 1)).mean()


def _whole(labels: Any, samples: Values, source: str) -> NDArray[np.int64]:
    """Labels of voxels as `(N, D, H, W)` integers, with `UNLABELLED` where they are unknown."""
    x = as_tensor(samples)
    wanted = (len(x), *x.shape[2:])
    if x.ndim != 5 or labels is None:
        raise ConfigError(
            f"{source}: segmentation needs volumes with a label a voxel.",
            remedy="Give y of shape (N, D, H, W), or a folder of label volumes with --labels.",
        )
    if isinstance(labels, list | tuple):
        unknown = np.full(wanted[1:], UNLABELLED, np.int64)
        each = [unknown if label is None else np.asarray(label) for label in labels]
        shapes = {label.shape for label in each} | {wanted[1:]}
        if len(shapes) > 1:
            raise _other_shape(source, shapes - {wanted[1:]}, wanted[1:])
        labels = np.stack(each) if each else np.empty((0, *wanted[1:]))
    values = labels.detach().cpu().numpy() if isinstance(labels, Tensor) else np.asarray(labels)
    if values.ndim == 5 and values.shape[1] == 1:
        values = values[:, 0]
    if values.shape != wanted:
        raise _other_shape(source, {values.shape}, wanted)
    if values.dtype.kind == "f":
        values = np.where(np.isnan(values), UNLABELLED, values)
    whole = whole_numbers(values) if values.dtype.kind == "f" else values
    if values.dtype.kind not in "biuf" or whole is None:
        raise DataError(f"{source}: labels of voxels are not whole numbers.", remedy=_REMEDY)
    return whole.astype(np.int64)


def _other_shape(source: str, found: set[tuple[int, ...]], wanted: tuple[int, ...]) -> DataError:
    return DataError(
        f"{source}: labels of shape {next(iter(found))}, but {wanted} is that of the volumes.",
        remedy="Give every voxel a label, -1 where it is unknown.",
    )


def _codes(values: NDArray[np.int64], numbers: NDArray[np.int64]) -> Tensor:
    """The places of values among the numbers, which may stand in any order."""
    order = np.argsort(numbers)
    places = np.searchsorted(numbers[order], values).clip(max=len(numbers) - 1)
    return torch.from_numpy(np.where(values == UNLABELLED, UNLABELLED, order[places]))
