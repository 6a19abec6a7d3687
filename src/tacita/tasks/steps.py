"""What tasks with a target for every time step of a series share."""

from __future__ import annotations

import itertools
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from tacita.errors import ConfigError
from tacita.processes import mean_of
from tacita.tasks.base import Part, Task
from tacita.tasks.shown import Writer
from tacita.tasks.step_labels import steps_of
from tacita.values import Values, as_tensor

_LEARNER = "Learn it with the method per-step, from features of every step."


class NamedSteps(NamedTuple):
    """What a series is called, how many steps it has, and when they are, where that is known."""

    name: str
    length: int
    times: Sequence[str] | None


@dataclass(frozen=True)
class Steps(Task):
    """A target a time step, each missing or not.

    Shapes: logits `(B, K, L)`, targets `(B, L)`, or more a step; both are padded to the longest series,
    the targets as if their labels were missing.
    """

    stepwise = True
    fewest_scored = 1

    missing: ClassVar[float]
    """What stands for a target that is not known."""

    @abstractmethod
    def known_steps(self, y: Tensor) -> Tensor:
        """`(B, L)` bool: which steps have a target."""

    @abstractmethod
    def step_losses(self, logits: Tensor, y: Tensor) -> Tensor:
        """`(n,)` losses of known steps, `logits (n, K)` against their targets `(n, ...)`."""

    @abstractmethod
    def step_targets(self, y: Tensor) -> Tensor:
        """Targets `(n, ...)` of steps as scikit-learn's estimators are given them."""

    @abstractmethod
    def step_estimator(self, classifier: Any, regressor: Any) -> Any:
        """Which of two kinds of scikit-learn's estimators learns such targets."""

    @abstractmethod
    def step_estimated(self, estimator: Any, rows: Any) -> Tensor:
        """`(n, K)` logits of a fitted estimator's predictions for steps, a row of numbers each."""

    @abstractmethod
    def columns(self) -> Sequence[str]:
        """What a file calls the predictions of a step."""

    def known(self, y: Values) -> Tensor:
        """`(N,)` bool: which series have a step with a target."""
        return self.known_steps(as_tensor(y)).any(1)

    def hide(self, y: Values, keep: Tensor) -> Values:
        targets = as_tensor(y)
        hidden = torch.full_like(targets, self.missing)
        hidden[keep] = targets[keep]
        return hidden

    def stacked(self, parts: Sequence[Values]) -> Values:
        targets = [as_tensor(part) for part in parts]
        longest = max(part.shape[1] for part in targets)
        return torch.cat([_widened(part, 1, longest, self.missing) for part in targets])

    def joined(self, logits: Sequence[Tensor], y: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        longest = max(part.shape[1] for part in y)
        wide = torch.cat([_widened(part, 2, longest, 0.0) for part in logits])
        return wide, as_tensor(self.stacked(y))

    def head(self, dim: int) -> nn.Module:
        """Of the features of each step, which are of one scale."""
        return nn.Linear(dim, self.out_dim)

    def losses(self, logits: Tensor, y: Tensor) -> Tensor:
        """`(B,)`: the mean over the known steps of each series; 0 where there are none."""
        self._check_steps(logits, y)
        known = self.known_steps(y)
        each = self.step_losses(*self.at_known(logits, y))
        spread = each.new_zeros(known.shape).masked_scatter(known, each)
        return spread.sum(1) / known.sum(1).clamp_min(1)

    def loss(self, logits: Tensor, y: Tensor, weights: Tensor | None = None) -> Tensor:
        """The mean over the known steps of all series; a series' weight is that of each of its steps.

        Raises `ConfigError` for logits that are not of steps.
        """
        self._check_steps(logits, y)
        each = self.step_losses(*self.at_known(logits, y))
        count = torch.tensor(max(len(each), 1), device=each.device)
        if weights is not None:
            owner = self.known_steps(y).nonzero()[:, 0]
            each = each * weights.to(each.dtype)[owner]
        return mean_of(each.sum(), count)

    def _check_steps(self, logits: Tensor, y: Tensor) -> None:
        if logits.ndim != 3 or logits.shape[2] != y.shape[1]:
            raise ConfigError(
                f"{self.name} is not learnt from logits of shape {tuple(logits.shape)}.",
                remedy=_LEARNER,
            )

    def at_known(self, logits: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Logits `(n, K)` and targets `(n, ...)` of the known steps of all series, end to end."""
        known = self.known_steps(y)
        return logits.transpose(1, 2)[known], y[known]

    def told_by(self, values: Tensor, y: Values) -> bool:
        return False

    def named(
        self, names: Sequence[str], samples: Values, times: Sequence[Sequence[str]] | None = None
    ) -> Sequence[NamedSteps]:
        """Each series with how many steps it has, and when these are."""
        lengths, _ = steps_of(samples, "these samples", self.name)
        known: Sequence[Sequence[str] | None] = times or [None] * len(names)
        return [NamedSteps(*each) for each in zip(names, lengths.tolist(), known, strict=True)]

    def write(self, parts: Iterable[Part], to: Writer, *, probabilities: bool = False) -> int:
        """A line a step: the series, the step's number, its time where that is known, the prediction."""
        if probabilities:
            self.probabilities(torch.empty(0, self.out_dim, 1))
        parts = iter(parts)
        first = next(parts, None)
        timed = first is not None and any(each.times is not None for each in first[0])
        header = ["id", "step", *["time"] * timed, *self.columns()]
        shares = self.answers if probabilities else ()
        every = itertools.chain([] if first is None else [first], parts)
        lines = self._step_lines(every, probabilities)
        return to.lines([*header, *shares], lines, shares=len(shares))

    def _step_lines(self, parts: Iterable[Part], probabilities: bool) -> Iterator[list[Any]]:
        for names, logits in parts:
            predicted = self.predict(logits)
            shown = self.probabilities(logits).transpose(1, 2) if probabilities else None
            for at, series in enumerate(names):
                labels = self.texts(predicted[at : at + 1, : series.length])[0]
                share = [[]] * len(labels) if shown is None else shown[at].tolist()
                for step, label in enumerate(labels):
                    time = [] if series.times is None else [series.times[step]]
                    found = label if isinstance(label, list) else [label]
                    probable = (f"{value:.6f}" for value in share[step])
                    yield [series.name, step, *time, *found, *probable]


def unlabelled_steps(samples: Values, fill: float, dtype: torch.dtype, *inner: int) -> Tensor:
    """`(N, L, *inner)` targets of samples of which no step has one."""
    _, longest = steps_of(samples, "these samples", "a target a step")
    return torch.full((len(samples), longest, *inner), fill, dtype=dtype)


def _widened(values: Tensor, dim: int, longest: int, fill: float) -> Tensor:
    lacking = longest - values.shape[dim]
    if not lacking:
        return values
    pads = [0, 0] * (values.ndim - 1 - dim) + [0, lacking]
    return functional.pad(values, pads, value=fill)


def require_steps(task: Task) -> Steps:
    """The task, which must have a target a time step; raises `ConfigError` for any other."""
    if not isinstance(task, Steps):
        raise ConfigError(
            f"These labels are for {task.name}, not one a time step.",
            remedy="Name the task: --task sequence-labels, or sequence-regression for numbers.",
        )
    return task
