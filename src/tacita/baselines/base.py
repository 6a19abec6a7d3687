"""What a baseline is: scikit-learn's own estimator on flat rows, with its usual settings."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tacita.data.batch import Batch, InputSpec
from tacita.data.dataset import Dataset
from tacita.errors import ConfigError
from tacita.learner import Learner
from tacita.parts.rows import flat_rows
from tacita.tasks import Task


class Baseline(Learner):
    """A learner around a scikit-learn estimator: samples become flat rows, labels class codes."""

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
            self.estimator_.fit(self._rows(batch), batch.y.numpy())

    def _logits(self, batch: Batch) -> Tensor:
        if not self.task_.discrete:
            values = self.estimator_.predict(self._rows(batch))
            return self.task_.logits_from(torch.as_tensor(values))
        # A fold may lack a class: the estimator knows only those that it saw.
        seen = torch.as_tensor(self.estimator_.classes_).long()
        if hasattr(self.estimator_, "predict_proba"):
            # Label spreading gives NaN to a sample that no label reaches, and warns.
            with np.errstate(invalid="ignore"):
                found = torch.as_tensor(self.estimator_.predict_proba(self._rows(batch)))
            probabilities = torch.zeros(len(batch), len(self.task_.classes))
            probabilities[:, seen] = found.float().nan_to_num(1 / len(seen))
            return self.task_.logits_from(probabilities)
        margins = torch.as_tensor(self.estimator_.decision_function(self._rows(batch))).float()
        if margins.ndim == 1:
            margins = torch.stack([-margins, margins], 1)
        scores = torch.full((len(batch), len(self.task_.classes)), -torch.inf)
        scores[:, seen] = margins
        return self.task_.logits_from(scores.softmax(1))

    def _rows(self, batch: Batch) -> Any:
        return flat_rows(batch.x, self.spec_, one_hot=self.one_hot).numpy()


def need_classes(slug: str, task: Task) -> None:
    """Raise `ConfigError` where a baseline for classes is asked to do another task."""
    if not task.discrete:
        raise ConfigError(
            f"{slug} predicts classes, but the task is {task.name}.",
            remedy="Take random-forest or gradient-boosting instead.",
        )
