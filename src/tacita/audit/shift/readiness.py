"""Will unlabelled data help me? Measured on one's own labels before anything is built on the answer.

Slijepcevic et al., "Radio Galaxy Zoo: Using semi-supervised learning to leverage large unlabelled
data-sets for radio galaxy classification under data-set shift", 2022. Labels are hidden on purpose, and a
semi-supervised method is compared with itself without what it learns from the pool, and with a supervised
network: over label volumes, by calibration, with other shares of the classes in the pool, by the quality of
the guesses it learns from, and by the distance of the samples that have no label.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tacita.adapt.supervised import Supervised
from tacita.adapt.trained import Trained
from tacita.audit.shift.pool_shift import pool_shift
from tacita.audit.shift.readiness_report import Comparison, ReadinessReport, Scores
from tacita.catalog import discover
from tacita.catalog.cards import method
from tacita.catalog.signature import check_arguments, parameters
from tacita.data.dataset import Dataset
from tacita.data.shares import with_shares
from tacita.data.splits import draw_labels, drawn, hold_out
from tacita.encoder import Encoder
from tacita.encoders import build, default_encoder
from tacita.engine.guesses import Guesses
from tacita.errors import ConfigError
from tacita.learner import features
from tacita.measures.frechet import frechet
from tacita.modalities.load import load
from tacita.modalities.memory import as_dataset
from tacita.objective import Objective
from tacita.semisup.base import SemiSupervised
from tacita.tasks import require_classes

__all__ = ["Comparison", "Readiness", "ReadinessReport", "Scores"]

FEWEST = 50
"""A smaller pool is too small to learn from, so that its shares say nothing."""


@method(
    "radio-galaxy",
    title="Readiness for semi-supervised learning",
    paper="https://arxiv.org/abs/2204.08816",
    year=2022,
    family="audit",
    needs=("views",),
    labels="few",
    tasks=("classification",),
    summary="Tells by hiding labels whether unlabelled samples would help, and whether they are alike.",
    reuses=("fixmatch", "supervised", "views"),
    claim="Coats against shirts, 500 steps: over the better of both baselines FixMatch gains 0.1, 1.1, "
    "0.3 and -0.1 points with 10, 40, 200 and 2,000 labels, a narrow band. With 40 its calibration error "
    "is 16% where it has 18% without the pool. The shares of the pool cost nothing sure, and its distance "
    "orders the gain by rho -0.4, where -0.5 was asked.",
)
class Readiness:
    """Compares a semi-supervised method with labels alone, on labels that are hidden on purpose.

    What it gains is measured against the better of two: itself with the pool's part of its loss off, which
    has the same views of the labels, the same batches and the same averaged weights, and `supervised`. Both
    get the same labels and weights at the start.

    semi: the method, by name; it reads labelled and unlabelled samples.
    options: of the method. With `{"alignment": "none"}` its guesses are not brought to equal shares of the
        classes, which matters most to the curve of `lean`: there the shares of the pool are not equal.
    encoder: by name; default: the modality's.
    per_class: labels a class, from few to many; default: 2, 8, 32, ... and as many as the rarest has.
    lean: how far the pool leans to the most frequent class, from 0 (equal shares) to 1 (that class alone);
        of two classes the default is 50%, 70%, 90% and 98%. Empty: no such curve.
    steps, batch_size: of every training, so that label volumes differ in nothing else.
    seeds: draws of labels, and weights at the start. Of 2 a gain is seen where it is 6.3 times its error, of
        3 where it is 2.9 times, of 5 where it is 2.1 times (Student's t).
    held_out: share of the labels to score on.
    log_every: steps between two looks at the guesses.

    Differs from the paper: all trainings have the same steps and keep their last weights, where the paper
    keeps those that did best on a tenth of the labels, which is noise of 50 labels; distances are of
    held-out labelled samples, since features of those learnt from are drawn apart; views, optimiser and
    network are the house's (`tang-cnn` and `RotationInvariantViews` are the paper's).

    >>> Readiness(semi="fixmatch", steps=100).per_class is None
    True
    """

    def __init__(
        self,
        *,
        semi: str = "fixmatch",
        options: Mapping[str, Any] | None = None,
        encoder: str | None = None,
        per_class: tuple[int, ...] | None = None,
        lean: tuple[float, ...] = (0.0, 0.4, 0.8, 0.96),
        steps: int = 300,
        batch_size: int = 16,
        seeds: int = 3,
        held_out: float = 0.3,
        log_every: int = 50,
    ) -> None:
        cls = discover.load_class(semi)
        if not issubclass(cls, SemiSupervised):
            raise ConfigError(
                f"semi={semi!r} does not learn from labelled and unlabelled samples together.",
                remedy="Choose one of: tacita methods semisup",
            )
        if not hasattr(cls, "deaf"):
            raise ConfigError(
                f"semi={semi!r} does not say with which arguments the pool teaches it nothing.",
                remedy="Give its class them: deaf = {...}, such as {'unlabelled_weight': 0.0}.",
            )
        if seeds < 1 or not 0 < held_out < 1 or not all(0 <= value <= 1 for value in lean):
            raise ConfigError(
                f"seeds={seeds}, held_out={held_out}, lean={lean}: these cannot be.",
                remedy="Give 1 seed or more, and shares from 0 to 1.",
            )
        self.semi = semi
        self.options = check_arguments(f"options of {semi}", parameters(semi), options or {})
        self.arms: dict[str, tuple[type[Objective[Any]], Mapping[str, Any]]] = {
            "semi": (cls, self.options),
            "alone": (cls, {**self.options, **cls.deaf}),
            "supervised": (Supervised, {}),
        }
        self.encoder = encoder
        self.per_class = per_class
        self.lean = lean
        self.engine = {"steps": steps, "batch_size": batch_size, "log_every": log_every}
        self.seeds = seeds
        self.held_out = held_out

    def measure(self, data: Any, y: Any = None, *, seed: int = 0) -> ReadinessReport:
        """Train on the data with labels hidden, over and over: `3 (volumes + shares)` times the seeds.

        data: a path, the name of a built-in set, arrays or a `Dataset`; the more labels, the more is
            told. Raises `ConfigError` for a task without classes, `DataError` for too few labels.
        """
        data = load(data) if isinstance(data, str | Path) else as_dataset(data, y)
        only = "Give data whose labels are classes, all of which are to be learnt."
        task = require_classes(f"{data.source}: classes are compared", data.task, remedy=only)
        if task.further:
            raise ConfigError(
                f"{data.source}: classes are compared, but {task.further[0]!r} is none.",
                remedy=only,
            )
        cheap = pool_shift(data)
        _, aside = hold_out(data, self.held_out, seed)
        outside = torch.isin(torch.arange(len(data)), aside)
        pool = data.subset(~outside).normalised()
        test = data.subset(outside).normalised(pool.normaliser)
        volumes = []
        for per_class in self._volumes(pool):
            draws = [draw_labels(pool, per_class, number) for number in self._numbers(seed)]
            point, last = self._compare([_hidden(pool, draw) for draw in draws], test, seed)
            volumes.append(point)
        without = pool.subset(~pool.labelled)
        distance = None
        if min(len(without), len(test)) > 1:
            seen = [features(last["alone"].encoder, drawn(part)) for part in (test, without)]
            distance = frechet(*seen, seed=seed)
        keys = ("step", "mask_rate", "impurity")
        return ReadinessReport(
            semi=self.semi,
            held_out=len(test),
            volumes=tuple(volumes),
            shares=tuple(self._shares(pool, test, seed)),
            guesses=tuple(
                {key: row[key] for key in keys}
                for row in last["semi"].history_.rows
                if "impurity" in row
            ),
            distance=distance,
            cheap=cheap,
        )

    def _numbers(self, seed: int) -> range:
        return range(seed, seed + self.seeds)

    def _volumes(self, pool: Dataset) -> tuple[int, ...]:
        """Labels a class; with the most, a class that has more keeps hidden ones to be guessed."""
        if self.per_class is not None:
            return self.per_class
        most = int(torch.bincount(pool.y[pool.labelled], minlength=len(pool.task.classes)).min())
        return (*(count for count in (2 * 4**i for i in range(8)) if count < most), most)

    def _compare(
        self,
        parts: Sequence[tuple[Dataset, Dataset]],
        test: Dataset,
        seed: int,
        share: float | None = None,
    ) -> tuple[Comparison, dict[str, Trained]]:
        """All arms on each seed's part, and the last of them.

        parts: samples of which some have labels, and others with the labels that these samples hide.
        """
        found: dict[str, list[dict[str, float]]] = {name: [] for name in self.arms}
        learners: dict[str, Trained] = {}
        for number, (few, truth) in zip(self._numbers(seed), parts, strict=True):
            for name, (cls, options) in self.arms.items():
                torch.manual_seed(number)
                encoder = build(self.encoder or default_encoder(few.spec), few.spec)
                learner = Trained(encoder, cls, options=options, engine=self.engine, alarm=_ignored)
                if name == "semi":
                    learner = _Watched(encoder, cls, options, truth, self.engine)
                learner.fit(few, seed=number)
                found[name].append(learner.task_.scores(learner.logits(test), test.y))
                learners[name] = learner
        scores = {
            name: Scores(
                tuple(each["balanced_accuracy"] for each in every),
                tuple(each["ece"] for each in every),
            )
            for name, every in found.items()
        }
        labels = int(parts[0][0].labelled.sum())
        return Comparison(labels, share=share, **scores), learners

    def _shares(self, pool: Dataset, test: Dataset, seed: int) -> list[Comparison]:
        """With a quarter of the labels, pools of one size that lean to the most frequent class."""
        known = pool.subset(pool.labelled)
        counts = torch.bincount(known.y, minlength=len(known.task.classes))
        per_class = max(1, int(counts.min()) // 4)
        common = int(counts.argmax())
        leaning = [_leaning(known.task.classes, common, lean) for lean in self.lean]
        room = dict(zip(known.task.classes, (counts - per_class).tolist(), strict=True))
        sizes = [int(room[k] / v) for shares in leaning for k, v in shares.items() if v > 0]
        size = min(sizes, default=0)
        if size < FEWEST:
            return []
        points = []
        for shares in leaning:
            parts = []
            for number in self._numbers(seed):
                taken = torch.zeros(len(known), dtype=torch.bool)
                taken[draw_labels(known, per_class, number)] = True
                seen = with_shares(known.subset(~taken), shares, size=size, seed=number)
                both = known.subset(taken | torch.isin(known.index, seen.index))
                parts.append(_hidden(both, torch.isin(both.index, known.index[taken])))
            share = shares[known.task.classes[common]]
            points.append(self._compare(parts, test, seed, share)[0])
        return points


class _Watched(Trained):
    """A learner whose training tells how good its guesses of the hidden samples are."""

    def __init__(
        self,
        encoder: Encoder,
        objective: type[Objective[Any]],
        options: Mapping[str, Any],
        truth: Dataset,
        engine: Mapping[str, Any],
    ) -> None:
        super().__init__(encoder, objective, options=options, engine=engine)
        self.truth = truth

    def build(self, data: Dataset) -> Objective[Any]:
        objective = super().build(data)
        if len(self.truth):
            self.engine["callbacks"] = (Guesses(objective, self.truth),)
        return objective


def _ignored(said: str) -> None:
    """What is alarming of a method is of no account where it is to learn nothing from the pool."""


def _hidden(pool: Dataset, keep: Tensor) -> tuple[Dataset, Dataset]:
    """The pool with the labels at `keep` alone, and the others whose label it had."""
    few = pool.hide_labels(keep)
    return few, pool.subset(pool.labelled & ~few.labelled)


def _leaning(classes: Sequence[str], common: int, lean: float) -> dict[str, float]:
    """Shares between equal ones and one class alone.

    >>> _leaning(("a", "b"), 0, 0.8)
    {'a': 0.9, 'b': 0.1}
    """
    equal = 1 / len(classes)
    shares = {name: round(equal * (1 - lean), 12) for name in classes}
    shares[classes[common]] = round(equal + lean * (1 - equal), 12)
    return shares
