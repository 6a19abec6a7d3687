"""Several fitted learners as one: its answer is the weighted mean of theirs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from torch import Tensor, nn

from tacita.data.batch import Batch
from tacita.data.dataset import Dataset
from tacita.errors import ConfigError
from tacita.learner import Learner, NetworkLearner
from tacita.tasks import Task, full_precision
from tacita.values import Values


class Ensemble(Learner):
    """Learners that answer together; all see the data through the same normaliser.

    learners: the members.
    weights: how much each counts in the mean of the probabilities, or of the numbers that are
        predicted; they are divided by their sum.
    temperatures: what the logits of each are divided by before.

    `fit` fits every member anew.
    """

    def __init__(
        self,
        learners: Sequence[Learner],
        weights: Sequence[float],
        temperatures: Sequence[float],
    ) -> None:
        self.learners = list(learners)
        self.weights = [each / sum(weights) for each in weights]
        self.temperatures = list(temperatures)
        self.weighs = all(each.weighs for each in learners)

    @property
    def called(self) -> str:
        return "ensemble"

    @property
    def files(self) -> tuple[str, ...]:  # type: ignore[override]
        """Those of the members, each in a folder of its own."""
        return tuple(f"{name}/{file}" for name, each in self._named() for file in each.files)

    def _named(self) -> Iterator[tuple[str, Learner]]:
        return ((member_name(number), each) for number, each in enumerate(self.learners))

    def modules(self) -> dict[str, nn.Module]:
        return {
            f"{name}.{part}": module
            for name, each in self._named()
            for part, module in each.modules().items()
        }

    def rebuild(self, task: Task, shapes: Mapping[str, tuple[int, ...]]) -> None:
        for name, each in self._named():
            start = f"{name}."
            each.rebuild(
                task, {k.removeprefix(start): v for k, v in shapes.items() if k.startswith(start)}
            )

    def save_files(self, folder: Path) -> None:
        for name, each in self._named():
            if each.files:
                (folder / name).mkdir(exist_ok=True)
                each.save_files(folder / name)

    def load_files(self, folder: Path, seed: int) -> None:
        for name, each in self._named():
            each.task_, each.data_ = self.task_, self.data_
            each.load_files(folder / name, seed)

    def _fit(self, data: Dataset, seed: int) -> None:
        for each in self.learners:
            each.fit(data, seed=seed)

    def of_fitted(self) -> Self:
        """Itself, of members that are fitted already, all on the same data."""
        first = self.learners[0]
        self.task_, self.data_, self.learnt_ = first.task_, first.data_, first.learnt_
        return self

    def logits(self, data: Any) -> Tensor:
        data = self.like_training(data)
        # Some members look at more of the data than a batch shows, such as the whole past.
        return self._blended([each.logits(data) for each in self.learners])

    def _logits(self, batch: Batch) -> Tensor:
        return self._blended([each._logits(batch) for each in self.learners])

    def _blended(self, logits: Sequence[Tensor]) -> Tensor:
        both = zip(logits, self.temperatures, strict=True)
        tempered = [self.task_.tempered(full_precision(each), heat) for each, heat in both]
        return self.task_.blended(tempered, self.weights)

    # Where all members are networks

    def networks(self, what: str) -> list[NetworkLearner]:
        """The members. Raises `ConfigError` with `what` cannot be done where one is no network."""
        others = [each.called for each in self.learners if not isinstance(each, NetworkLearner)]
        if others:
            raise ConfigError(
                f"{what}: it has members that are no networks ({', '.join(others)}).",
                remedy="Take one network: run fit with --recipe fixmatch, or another with an encoder.",
            )
        return [each for each in self.learners if isinstance(each, NetworkLearner)]

    def differentiable_logits(self, samples: Values) -> Tensor:
        members = self.networks("The ensemble has no gradients")
        return self._blended([each.differentiable_logits(samples) for each in members])

    @property
    def output(self) -> str:
        """What an exported model gives, by name."""
        return self.task_.output

    def exported(self, batch: Batch) -> Tensor:
        """What an exported model gives for a normalised batch."""
        members = self.networks("The ensemble cannot be exported")
        return self.task_.exported(self._blended([each.outputs(batch) for each in members]))


def member_name(number: int) -> str:
    """What a member is called in the file of weights, and its folder."""
    return f"member-{number}"
