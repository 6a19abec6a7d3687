"""Running a plan's candidates over its folds, each result kept on disk as soon as it is there."""

from __future__ import annotations

import copy
import json
import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tacita.adapt.trained import Trained
from tacita.audit.health.health import Health, health
from tacita.catalog.recipe import Recipe
from tacita.data.dataset import Dataset
from tacita.data.splits import Fold
from tacita.encoder import Encoder
from tacita.engine.checkpoint import read_tensors, remove_checkpoint, write_tensors
from tacita.engine.history import (
    Callback,
    Progress,
    peak_memory_mb,
    reset_peak_memory,
)
from tacita.engine.loggers import JsonLines
from tacita.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    TacitaError,
)
from tacita.files import WriteError, write_text
from tacita.learner import Learner
from tacita.model.build import (
    encoder_for,
    ensemble_of,
    is_baseline,
    learner_for,
    needs_encoder,
    pretrain_encoder,
    uses_unlabelled,
)
from tacita.model.folder import WEIGHTS, read_folder, write_folder
from tacita.model.metrics import Metrics, Row
from tacita.tasks import full_precision
from tacita.verbs.deadline import Deadline
from tacita.verbs.results import (
    FoldResult,
    Pretrained,
    Rows,
    file_name,
    pretraining_key,
    pretraining_name,
    read_result,
    spared,
)
from tacita.words import plural

KEPT = (2, 3)
"""Axes of the logits that are kept: of samples, and of their steps, but not of every voxel."""


@dataclass
class Run:
    """A plan at work.

    data: the samples to learn from; `scored`: those that `folds` are scored on.
    work: a folder for checkpoints and results, from which a killed run goes on.
    metric: the figure that ranks.
    start: the encoder that all candidates start from, in place of random weights.
    keep_learners: those of all folds are kept, for whoever asks for them again.
    alone: whether there is one candidate; an error that is none of ours is then raised as it is.
    in_worker: whether this is a process that works for another, which finds the learners on disk.
    engine: what every training is told: device, precision.
    deadline: what would end too late for it does not begin, once a candidate has a score.
    tick: called after each logged step with the names of the candidate and of its training.
    warn: told what is not well while a training goes on.
    """

    data: Dataset
    scored: Dataset
    folds: list[Fold]
    work: Path
    metric: str = ""
    start: Encoder | None = None
    keep_learners: bool = False
    alone: bool = False
    in_worker: bool = False
    engine: dict[str, Any] = field(default_factory=dict)
    deadline: Deadline = field(default_factory=Deadline)
    tick: Callable[[str, str, int], None] | None = None
    warn: Callable[[str], object] = warnings.warn
    histories: dict[str, Rows] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    """By the candidates' names, why they give no score; they are not tried again."""
    _scored: set[str] = field(default_factory=set)
    _encoders: dict[str, Pretrained] = field(default_factory=dict)
    ended: dict[str, dict[int, str]] = field(default_factory=dict)
    """By candidate and fold, how trainings ended that may stop early."""
    _healths: dict[str, Health] = field(default_factory=dict)
    _told: set[str] = field(default_factory=set)
    _warned: set[str] = field(default_factory=set)
    _learners: dict[tuple[str, int], Learner] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.metric = self.metric or self.data.task.metric

    def row(self, recipe: Recipe) -> Row:
        """A candidate's line of the leaderboard; an error of ours becomes words in it."""
        results: list[FoldResult] = []
        if recipe.name in self.failed:
            return self._made(recipe, results, error=self.failed[recipe.name])
        try:
            for number in range(len(self.folds)):
                if self.is_late(recipe) and not self.is_done(recipe, number):
                    done = f"{number} of {plural(len(self.folds), 'fold')} were done"
                    raise ConfigError(f"The budget had no time left for it: {done}.")
                with spared(self.alone):
                    results.append(self.fold(recipe, number))
                if not math.isfinite(results[-1].scores.get(self.metric, math.nan)):
                    raise DataError(
                        f"{self.metric} cannot be told of fold {number + 1}: its labels are all alike,"
                        " or its predictions are no numbers."
                    )
        except (CheckpointError, WriteError):
            raise  # No fault of the candidate's: the run stops, and can be resumed.
        except TacitaError as error:
            return self._made(recipe, results, error=error.message)
        if results:
            self._scored.add(recipe.name)
            self.deadline.note(recipe.name, [result.seconds for result in results])
        return self._made(recipe, results)

    @property
    def out_of_time(self) -> bool:
        """Whether no more folds are to be worked at."""
        return bool(self._scored) and self.deadline.is_over()

    def is_late(self, recipe: Recipe, *, pretrained: bool | None = None) -> bool:
        """Whether a fold of it would end too late, together with its pretraining where there is none yet."""
        if pretrained is None:
            pretrained = any(self.is_done(recipe, number) for number in range(len(self.folds)))
            pretrained |= recipe.pretrain is None or pretraining_key(recipe) in self._encoders
        return bool(self._scored) and self.deadline.is_too_near(recipe.name, pretrained=pretrained)

    def is_done(self, recipe: Recipe, number: int) -> bool:
        """Whether the result of a fold is on disk."""
        return self._result(recipe, number).exists()

    def _made(self, recipe: Recipe, results: list[FoldResult], error: str | None = None) -> Row:
        seconds = [result.seconds for result in results]
        return self.row_of(
            recipe.name,
            [] if error else [result.scores for result in results],
            interval=None if error else self._interval(recipe),
            seconds=round(float(np.mean(seconds)) if seconds else 0.0, 2),
            peak_mb=max((result.peak_mb for result in results), default=0.0),
            baseline=is_baseline(recipe),
            unlabelled=uses_unlabelled(recipe),
            rank=None if error or recipe.pretrain is None else self.health(recipe).rank,
            error=error,
        )

    def row_of(self, name: str, told: Sequence[Mapping[str, float]], **figures: Any) -> Row:
        """A line of the leaderboard from the scores of the folds, and further fields of a `Row`."""
        lower = self.metric in self.data.task.lower
        return Row.of(name, told, metric=self.metric, lower=lower, **figures)

    def _interval(self, recipe: Recipe) -> tuple[float, float] | None:
        """Of the metric: by all that was scored, or where draws share that, the mean of their ends."""
        parts = [kept for n in range(len(self.folds)) if (kept := self._kept(recipe, n))]
        if self.draws:
            y = self.scored.y
            found = [self.data.task.intervals(logits, y[at]) for at, logits in parts]
            ends = [each[self.metric] for each in found if self.metric in each]
            if not ends:
                return None
            low, high = np.mean(ends, axis=0).tolist()
            return low, high
        pooled = self.out_of_fold(recipe)
        if pooled is None:
            return None
        at, logits = pooled
        return self.data.task.intervals(logits, self.scored.y[at]).get(self.metric)

    @property
    def draws(self) -> bool:
        """Whether labels were hidden on purpose, so that every draw is scored on the same samples."""
        return self.scored is not self.data

    def out_of_fold(self, recipe: Recipe) -> tuple[Tensor, Tensor] | None:
        """Positions in `scored`, rising, and logits by models that were trained without these samples.

        A sample that several folds scored has those of the first. None where draws were scored on
        samples kept aside, and for predictions as large as the samples, which are not kept.
        """
        kept = [self._kept(recipe, n) for n in range(0 if self.draws else len(self.folds))]
        parts = [part for part in kept if part is not None]
        if not parts or len(parts) < len(kept):
            return None
        at, logits = (torch.cat(each) for each in zip(*parts, strict=True))
        positions, first = np.unique(at.numpy(), return_index=True)
        return torch.from_numpy(positions), logits[torch.from_numpy(first)]

    def predicted(self, recipe: Recipe, number: int) -> Tensor:
        """Logits of a fold's samples, in its own order, as they are kept on disk."""
        kept = self._kept(recipe, number)
        assert kept is not None
        return kept[1]

    def _kept(self, recipe: Recipe, number: int) -> tuple[Tensor, Tensor] | None:
        path = self._predicted(recipe, number)
        if not path.exists():
            return None
        remedy = "Start the run anew with --overwrite."
        tensors, _ = read_tensors(path, remedy=remedy)
        at, logits = self.folds[number].score, tensors.get("logits")
        if logits is None or logits.ndim not in KEPT or len(logits) != len(at):
            raise CheckpointError(f"{path}: its predictions are not of this fold.", remedy=remedy)
        return at, logits

    def _predicted(self, recipe: Recipe, number: int) -> Path:
        return self.work / f"{file_name(recipe)}.{number}.predicted.safetensors"

    def _result(self, recipe: Recipe, number: int) -> Path:
        return self.work / f"{file_name(recipe)}.{number}.json"

    def fold(self, recipe: Recipe, number: int) -> FoldResult:
        """The result of one fold: from disk, or trained, scored and written there."""
        path = self._result(recipe, number)
        if path.exists():
            result = read_result(path)
            self._tell_end(recipe, number, result)
            if result.rows:
                self.histories.setdefault(recipe.name, result.rows)
            if result.pretraining and recipe.pretrain is not None:
                self.histories.setdefault(pretraining_name(recipe.pretrain), result.pretraining)
            return result
        fold = self.folds[number]
        reset_peak_memory()
        if recipe.pretrain is not None:
            # Shared by all folds and timed apart, so it does not count as the first fold's time.
            self.encoder(recipe)
        began = time.monotonic()
        learner = self.fitted(recipe, self.data.hide_labels(fold.train), number)
        if number == 0 or self.keep_learners:
            self._learners[recipe.name, number] = learner
            if self.in_worker:
                write_folder(self._folder(recipe, number), recipe, learner, Metrics())
        part = self.scored.subset(fold.score)
        logits = learner.logits(part)
        scores = learner.task_.scores(logits, part.y)
        if logits.ndim in KEPT:
            mine = self.data.task.translated(logits, learner.task_)
            write_tensors(self._predicted(recipe, number), {"logits": full_precision(mine)}, {})
        result = FoldResult(
            scores=scores,
            seconds=time.monotonic() - began + self._pretraining_share(recipe),
            peak_mb=round(peak_memory_mb(torch.device("cpu")), 1),
            ended=learner.history_.ended if isinstance(learner, Trained) else "",
            rows=[] if number else self.histories.get(recipe.name, []),
            pretraining=[]
            if number or recipe.pretrain is None
            else self.histories.get(pretraining_name(recipe.pretrain), []),
        )
        write_text(path, json.dumps(result.model_dump()))
        self._tell_end(recipe, number, result)
        return result

    def _tell_end(self, recipe: Recipe, number: int, result: FoldResult) -> None:
        if result.ended:
            self.ended.setdefault(recipe.name, {})[number] = result.ended

    def fitted(self, recipe: Recipe, data: Dataset, number: int) -> Learner:
        """The recipe's learner, fitted on the labels of `data`; `number` keeps checkpoints apart."""
        encoder = self.encoder(recipe, number) if needs_encoder(recipe) else None
        name = f"{file_name(recipe)}.{number}"
        engine = {
            **self.engine,
            "checkpoint": self.work / f"{name}.safetensors",
            "resume": True,
            "callbacks": self._callbacks(recipe.name, name),
        }
        learner = learner_for(
            recipe, encoder, engine, lambda text: self.alarm(f"{recipe.name}: {text}")
        )
        learner.fit(data, seed=recipe.seed + number)
        if isinstance(learner, Trained):
            self.histories.setdefault(recipe.name, learner.history_.rows)
        remove_checkpoint(self.work / f"{name}.safetensors")
        return learner

    def alarm(self, text: str) -> None:
        """Said once, for the folds of a candidate are much alike."""
        if text not in self._warned:
            self._warned.add(text)
            self.warn(text)

    def _folder(self, recipe: Recipe, number: int) -> Path:
        return self.work / f"{file_name(recipe)}.{number}.model"

    def learner(self, recipe: Recipe, number: int = 0) -> Learner:
        """The learner of a fold: what was fitted for it here or by a worker, or (resumed) once more."""
        if recipe.members is not None:
            members = [self.learner(each.recipe, number) for each in recipe.members]
            return ensemble_of(recipe, members).of_fitted()
        if (recipe.name, number) not in self._learners:
            folder = self._folder(recipe, number)
            # The weights are written last.
            if (folder / WEIGHTS).is_file():
                learner = read_folder(folder)[1]
            else:
                learner = self.fitted(
                    recipe, self.data.hide_labels(self.folds[number].train), number
                )
            self._learners[recipe.name, number] = learner
        return self._learners[recipe.name, number]

    def is_refitted(self, recipe: Recipe) -> bool:
        """Whether a worker has fitted it on all labels."""
        return (self._folder(recipe, len(self.folds)) / WEIGHTS).is_file()

    def refit(self, recipe: Recipe) -> Learner:
        """The recipe's learner fitted on all labels, here or by a worker."""
        number = len(self.folds)
        if recipe.name in self.failed:
            raise ConfigError(self.failed[recipe.name])
        folder = self._folder(recipe, number)
        if self.is_refitted(recipe):
            return read_folder(folder)[1]
        with spared(self.alone):
            learner = self.fitted(recipe, self.data, number)
        if self.in_worker:
            write_folder(folder, recipe, learner, Metrics())
        return learner

    def outside(self, recipe: Recipe) -> list[tuple[Learner, Dataset]]:
        """Each fold's learner and the samples that it was scored on; none unless learners are kept."""
        if not self.keep_learners:
            return []
        return [
            (self.learner(recipe, number), self.scored.subset(fold.score))
            for number, fold in enumerate(self.folds)
        ]

    def encoder(self, recipe: Recipe, number: int = 0) -> Encoder:
        """The recipe's encoder to start from: pretrained once for all folds, given, or random for each."""
        if recipe.pretrain is None and self.start is not None:
            return self.start
        if recipe.pretrain is None:
            fresh = recipe.model_copy(update={"seed": recipe.seed + number})
            return encoder_for(fresh, self.data.spec)
        key = pretraining_key(recipe)
        if key not in self._encoders:
            name = pretraining_name(recipe.pretrain)
            path = self.work / f"pretrain-{key}.safetensors"
            encoder, objective, history = pretrain_encoder(
                recipe,
                self.data,
                encoder=copy.deepcopy(self.start),
                **self.engine,
                checkpoint=path,
                resume=True,
                alarm=lambda text: self.alarm(f"{recipe.name}: {text}"),
                callbacks=self._callbacks(name, path.stem),
            )
            self.histories[name] = history.rows
            self._encoders[key] = Pretrained(encoder, objective, history.seconds)
        # No learner changes the encoder that it is given.
        return self._encoders[key].encoder

    def health(self, recipe: Recipe) -> Health:
        """The gauges of the recipe's pretrained encoder and its embeddings."""
        self.encoder(recipe)
        key = pretraining_key(recipe)
        if key not in self._healths:
            # By the labels that the first fold learns from: others may be hidden on purpose.
            seen = self.data.hide_labels(self.folds[0].train) if self.folds else self.data
            made = self._encoders[key]
            self._healths[key] = health(made.encoder, seen, objective=made.objective)
        return self._healths[key]

    def pretraining_seconds(self, recipe: Recipe) -> float:
        """What the recipe's pretraining took."""
        self.encoder(recipe)
        return self._encoders[pretraining_key(recipe)].seconds

    def new_health(self, recipe: Recipe) -> Health | None:
        """The gauges of the recipe's pretrained encoder, the first time they are asked for."""
        key = None if recipe.pretrain is None else pretraining_key(recipe)
        if key is None or key in self._told or key not in self._healths:
            return None
        self._told.add(key)
        return self._healths[key]

    def _pretraining_share(self, recipe: Recipe) -> float:
        if recipe.pretrain is None:
            return 0.0
        return self.pretraining_seconds(recipe) / len(self.folds)

    def _callbacks(self, name: str, training: str) -> tuple[Callback, ...]:
        """What each logged step is told to: a file on disk, and the screen."""

        def callback(progress: Progress) -> None:
            if self.tick is not None:
                self.tick(name, training, progress.step)

        return JsonLines(self.progress(training)), callback

    def progress(self, training: str) -> Path:
        """The file with the rows of one training, as they come."""
        return self.work / f"{training}.jsonl"
