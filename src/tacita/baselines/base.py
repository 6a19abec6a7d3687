"""What a baseline is: scikit-learn's own estimator on flat rows, with its usual settings."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from tacita.baselines.saved import load_estimator, save_estimator
from tacita.data.batch import Batch, InputSpec
from tacita.data.dataset import Dataset
from tacita.errors import DataError
from tacita.learner import Learner
from tacita.parts.rows import flat_rows, row_width
from tacita.tasks import Task, require_number, require_one_class


class Baseline(Learner):
    """A learner around a scikit-learn estimator: samples become flat rows, labels class codes."""

    files: ClassVar[tuple[str, ...]] = ("baseline.safetensors",)
    weighs = True
    one_hot = True
    """Whether a category becomes a column a value; else it stays a code."""
    transductive = False
    """Whether the estimator is also given the unlabelled rows, with the label -1."""

    @abstractmethod
    def estimator(self, task: Task, spec: InputSpec, rows: int, seed: int) -> Any:
        """An unfitted estimator for a task and a number of labelled rows."""

    def _fit(self, data: Dataset, seed: int) -> None:
        self.spec_ = data.spec
        positions = torch.arange(len(data)) if self.transductive else data.labelled.nonzero()[:, 0]
        batch = data.take(positions)
        labelled = int(data.labelled.sum())
        self.estimator_ = self.estimator(data.task, data.spec, labelled, seed)
        with np.errstate(invalid="ignore"):
            targets = data.task.learnt_apart(batch.y).numpy()
            self.estimator_.fit(
                self._rows(batch), targets, **weighing(self.estimator_, batch.weights)
            )

    def _logits(self, batch: Batch) -> Tensor:
        # Label spreading divides nothing by nothing for a sample that no label reaches.
        with np.errstate(invalid="ignore"):
            try:
                return self.task_.estimated(self.estimator_, self._rows(batch))
            except ValueError as error:
                # scikit-learn refuses numbers that run over on their way through a pipeline.
                raise DataError(
                    f"the samples cannot be predicted ({error}).",
                    remedy="Look for values far beyond those of the training data.",
                ) from error

    def save_files(self, folder: Path) -> None:
        save_estimator(self.estimator_, folder / self.files[0])

    def load_files(self, folder: Path, seed: int) -> None:
        path = folder / self.files[0]
        self.spec_ = self.data_.spec
        like = self.estimator(self.task_, self.spec_, rows=2, seed=seed)
        classes = len(self.task_.answers)
        self.estimator_ = load_estimator(path, like, self._columns(), classes, self.spec_)

    def try_out(self, data: Dataset, seed: int) -> None:
        self.estimator(data.task, data.spec, len(data), seed)

    def _columns(self) -> int:
        """How many columns a row has."""
        return row_width(self.spec_, one_hot=self.one_hot)

    def _rows(self, batch: Batch) -> Any:
        return flat_rows(batch.x, self.spec_, one_hot=self.one_hot).numpy()


def weighing(estimator: Any, weights: Tensor | None) -> dict[str, Any]:
    """Weights `(n,)`, if there are any, as a scikit-learn estimator is given them; a pipeline's last is."""
    if weights is None:
        return {}
    steps = getattr(estimator, "steps", ())
    name = f"{steps[-1][0]}__sample_weight" if steps else "sample_weight"
    return {name: weights.double().numpy()}


def need_classes(slug: str, task: Task) -> None:
    """Raise `ConfigError` where a baseline for classes is asked to do another task."""
    other = "Take ridge, random-forest or gradient-boosting instead."
    require_one_class(f"{slug} predicts classes", task, remedy=other)


def need_numbers(slug: str, task: Task) -> None:
    """Raise `ConfigError` where a baseline for numbers is asked to do another task."""
    other = "Take logistic-regression, random-forest or gradient-boosting instead."
    require_number(f"{slug} predicts numbers", task, remedy=other)
