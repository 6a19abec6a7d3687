"""Learners that train: any objective that reads labels, and the fine-tuning of a pretrained encoder."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch

from tacita.adapt.supervised import Supervised
from tacita.adapt.watching import watch
from tacita.catalog.cards import method, slug_of
from tacita.data.dataset import Dataset
from tacita.data.modality import default_views
from tacita.encoder import Encoder
from tacita.engine.confidence import ConfidenceAlarm
from tacita.engine.history import History
from tacita.engine.stopping import Stopping
from tacita.engine.train import train
from tacita.learner import NetworkLearner, features
from tacita.objective import Objective
from tacita.parts.heads import fit_linear_head
from tacita.tasks import Task
from tacita.tasks.heads import linear_head
from tacita.views import try_views, unneeded


class Trained(NetworkLearner):
    """An objective with a head (supervised, semi-supervised) as a learner.

    objective: its class.
    options: its arguments.
    engine: arguments of `tacita.engine.train.train`, which override the method's own, and `patience`,
        as of `tacita.adapt.watching.watch`.
    alarm: told once where unlabelled samples are wanted and there are none, or none is learnt from.
    """

    history_: History

    def __init__(
        self,
        encoder: Encoder,
        objective: type[Objective[Any]],
        *,
        options: Mapping[str, Any] | None = None,
        engine: Mapping[str, Any] | None = None,
        alarm: Callable[[str], object] = warnings.warn,
    ) -> None:
        self.begin = self.encoder = encoder
        self.objective = objective
        self.options = dict(options or {})
        self.engine = {**objective.engine_defaults, **(engine or {})}
        self.alarm = alarm
        self.weighs = objective.weighs

    @property
    def called(self) -> str:
        """The objective's name, where it is an objective made a learner."""
        return slug_of(self.objective if type(self) is Trained else type(self))

    def _fit(self, data: Dataset, seed: int) -> None:
        # The given encoder stays as it is, so that a second fit starts where the first one did.
        self.encoder = copy.deepcopy(self.begin)
        data, stopping = self._watched(data, seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            objective = self.build(data)
        engine = {name: value for name, value in self.engine.items() if name != "patience"}
        engine |= {"seed": seed} if stopping is None else {"seed": seed, "stopping": stopping}
        if objective.reads == "both":
            if bool(data.labelled.all()):
                self.alarm(
                    "every sample has a label, so there is nothing to learn from unlabelled ones;"
                    " the method `supervised` is for that"
                )
            size = engine.get("batch_size", 64)  # The default of `train`.
            watch = ConfidenceAlarm(objective, data, size, alarm=self.alarm)
            engine["callbacks"] = (watch, *engine.get("callbacks", ()))
        self.history_ = train(objective, self.learnt_from(data), **engine)
        assert objective.head is not None
        self.encoder, self.head = objective.encoder, objective.head

    def build(self, data: Dataset) -> Objective[Any]:
        """The objective for this data, ready to be trained."""
        return self.objective(self.encoder, data.task, **self.options)  # type: ignore[call-arg]

    def learnt_from(self, data: Dataset) -> Dataset:
        """The samples that batches are drawn from: those of the data set, unless they are too large."""
        return data

    def _watched(self, data: Dataset, seed: int) -> tuple[Dataset, Stopping | None]:
        """The samples to learn from and how training stops, where `patience` is one of the options."""
        patience, steps = self.engine.get("patience"), self.engine.get("steps", 1000)
        return watch(self, data, steps, seed, patience=patience)

    def try_out(self, data: Dataset, seed: int) -> None:
        if self.engine.get("patience") is not None:
            self._watched(data.normalised(), seed)
        some = data.subset(data.labelled.nonzero()[:, 0][:64])
        some = some.normalised(data.normaliser)
        try_views(self.build(some), some)

    def rebuild(self, task: Task, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """The head is of the form that the objective gives it."""
        with unneeded():
            objective = self.objective(self.encoder, task, **self.options)  # type: ignore[call-arg]
        assert objective.head is not None
        self.head = objective.head


@method(
    "fine-tune",
    title="Linear probing, then fine-tuning",
    paper="https://arxiv.org/abs/2202.10054",
    year=2022,
    family="adapt",
    needs=("views",),
    labels="few",
    summary="Adapt a pretrained encoder to the labels: all its weights, from a probe's head on.",
    reuses=("linear-probe", "supervised"),
)
class FineTune(Trained):
    """The head starts as the linear probe's solution, then everything is trained at a small rate.

    Kumar et al., 2022: from a random head the first steps would distort good features.

    penalty: of the probe (see `linear-probe`).
    engine: arguments of `tacita.engine.train.train`; they override the method's own.
    """

    engine_defaults = {"steps": 300, "batch_size": 64, "learning_rate": 3e-4, "weight_decay": 5e-4}

    def __init__(
        self,
        encoder: Encoder,
        *,
        penalty: float = 1.0,
        engine: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(encoder, Supervised, engine={**self.engine_defaults, **(engine or {})})
        self.penalty = penalty

    def rebuild(self, task: Task, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self.head = linear_head(self.encoder.dim, task.out_dim)

    def build(self, data: Dataset) -> Supervised:
        known = data.labelled.nonzero().squeeze(1)
        values = features(self.encoder, data)
        weights = None if data.weights is None else data.weights[known]
        head = fit_linear_head(values, known, data.y[known], data.task, self.penalty, weights)
        # The probe's head is already good: strong views would first undo it (measured on digits).
        views = default_views(self.encoder.spec, "weak")
        return Supervised(self.encoder, data.task, head=head, views=views)
