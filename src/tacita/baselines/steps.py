"""Baselines for a target a time step: scikit-learn's estimators on what stands around each step."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import torch
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.multioutput import MultiOutputRegressor
from torch import Tensor

from tacita.baselines.base import Baseline, weighing
from tacita.baselines.lags import lag_rows, row_width
from tacita.catalog.cards import method
from tacita.data.batch import Batch, InputSpec
from tacita.data.dataset import Dataset
from tacita.learner import chunks
from tacita.tasks import Steps, Task, require_steps

MOST = 10_000
"""Labelled steps that are learnt from, drawn evenly where there are more: neighbours are much alike."""


class StepBaseline(Baseline):
    """A baseline whose rows are time steps: their values, lags, and means and deviations about them."""

    most: ClassVar[int] = MOST

    def estimator(self, task: Task, spec: InputSpec, rows: int, seed: int) -> Any:
        """One, or for several numbers a step one for each."""
        steps = require_steps(task)
        if steps.classes or steps.out_dim == 1:
            return self.one(steps, rows, seed)
        several = MultiOutputRegressor(self.one(steps, rows, seed))
        # As many as a file of a fitted one must fill; a fit replaces them.
        several.estimators_ = [self.one(steps, rows, seed) for _ in range(steps.out_dim)]
        return several

    @abstractmethod
    def one(self, task: Steps, rows: int, seed: int) -> Any:
        """An unfitted estimator of one target."""

    def _fit(self, data: Dataset, seed: int) -> None:
        self.spec_ = data.spec
        task = require_steps(data.task)
        rows, targets, weights = [], [], []
        known = task.known_steps(data.y)
        total = int(known.sum())
        every = max(1, -(-total // self.most))
        # Every so many of all known steps, whatever series they are of.
        taken = known & (known.flatten().cumsum(0).view_as(known) % every == 0)
        for batch in chunks(data.subset(taken.any(1)), size=64):
            mine = taken[torch.isin(data.index, batch.index)]
            rows.append(lag_rows(batch.x, batch.lengths)[mine])
            targets.append(batch.y[mine])
            if batch.weights is not None:
                weights.append(batch.weights[mine.nonzero()[:, 0]])
        y = task.step_targets(torch.cat(targets)).numpy()
        self.estimator_ = self.estimator(task, data.spec, len(y), seed)
        weighed = weighing(self.estimator_, torch.cat(weights) if weights else None)
        self.estimator_.fit(torch.cat(rows).numpy(), y, **weighed)

    def _logits(self, batch: Batch) -> Tensor:
        rows = lag_rows(batch.x, batch.lengths)
        found = require_steps(self.task_).step_estimated(
            self.estimator_, rows.flatten(0, 1).numpy()
        )
        return found.view(len(batch), rows.shape[1], -1).transpose(1, 2)

    def _columns(self) -> int:
        return row_width(self.spec_.channels)


@method(
    "step-logistic-regression",
    title="Logistic regression of time steps, scikit-learn",
    family="baseline",
    modalities=("series",),
    labels="few",
    tasks=("sequence-labels",),
    summary="A linear model on what stands around each time step: values, lags, means and deviations.",
)
class StepLogisticRegression(StepBaseline):
    """scikit-learn's default logistic regression."""

    def one(self, task: Steps, rows: int, seed: int) -> Any:
        return LogisticRegression(max_iter=1000)


@method(
    "step-ridge",
    title="Ridge regression of time steps, scikit-learn",
    family="baseline",
    modalities=("series",),
    labels="few",
    tasks=("sequence-regression",),
    summary="Linear regression on what stands around each time step: values, lags, means and deviations.",
)
class StepRidge(StepBaseline):
    """scikit-learn's default ridge regression."""

    def one(self, task: Steps, rows: int, seed: int) -> Any:
        return Ridge()


@method(
    "step-random-forest",
    title="Random forest of time steps, scikit-learn",
    family="baseline",
    modalities=("series",),
    labels="few",
    tasks=("sequence-labels", "sequence-regression"),
    summary="Decision trees on what stands around each time step: values, lags, means and deviations.",
)
class StepRandomForest(StepBaseline):
    """scikit-learn's random forest, leaves of five steps or more, since neighbours are much alike."""

    def one(self, task: Steps, rows: int, seed: int) -> Any:
        forest = task.step_estimator(RandomForestClassifier, RandomForestRegressor)
        # Of as many columns as a tree of classes looks at, where all would take hours.
        return forest(random_state=seed, n_jobs=1, min_samples_leaf=5, max_features="sqrt")


@method(
    "step-gradient-boosting",
    title="Gradient boosting of time steps, scikit-learn",
    family="baseline",
    modalities=("series",),
    labels="many",
    tasks=("sequence-labels", "sequence-regression"),
    summary="Boosted trees on what stands around each time step: values, lags, means and deviations.",
)
class StepGradientBoosting(StepBaseline):
    """scikit-learn's histogram gradient boosting with its defaults."""

    def one(self, task: Steps, rows: int, seed: int) -> Any:
        boosting = task.step_estimator(
            HistGradientBoostingClassifier, HistGradientBoostingRegressor
        )
        smallest = max(1, min(20, rows // 10))
        return boosting(random_state=seed, categorical_features=None, min_samples_leaf=smallest)
