"""Running a plan's candidates over its folds, each result kept on disk as soon as it is there."""

from __future__ import annotations

import hashlib
import json
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tacita.adapt.trained import Trained
from tacita.audit.health.health import Health, health
from tacita.catalog.recipe import Recipe
from tacita.data.dataset import Dataset
from tacita.data.splits import Fold
from tacita.encoder import Encoder
from tacita.engine.checkpoint import remove_checkpoint
from tacita.engine.history import (
    Callback,
    Progress,
    peak_memory_mb,
    reset_peak_memory,
)
from tacita.engine.loggers import JsonLines
from tacita.errors import TacitaError
from tacita.files import write_text
from tacita.learner import Learner
from tacita.model.build import (
    encoder_for,
    is_baseline,
    learner_for,
    needs_encoder,
    pretrain_encoder,
    uses_unlabelled,
)
from tacita.model.metrics import Row
from tacita.verbs.folder import PROGRESS

Rows = list[dict[str, float]]


@dataclass
class Run:
    """A plan at work.

    data: the samples to learn from; `scored`: those that `folds` are scored on.
    work: a folder for checkpoints and results, from which a killed run goes on.
    engine: what every training is told: device, precision.
    tick: called after each logged step with the candidate's name.
    warn: told what is not well while a training goes on.
    """

    data: Dataset
    scored: Dataset
    folds: list[Fold]
    work: Path
    engine: dict[str, Any] = field(default_factory=dict)
    tick: Callable[[str, Progress], None] | None = None
    warn: Callable[[str], object] = warnings.warn
    histories: dict[str, Rows] = field(default_factory=dict)
    _encoders: dict[str, tuple[Encoder, float]] = field(default_factory=dict)
    _healths: dict[str, Health] = field(default_factory=dict)
    _told: set[str] = field(default_factory=set)
    _warned: set[tuple[str, str]] = field(default_factory=set)
    _first: dict[str, Learner] = field(default_factory=dict)

    def row(self, recipe: Recipe) -> Row:
        """A candidate's line of the leaderboard; an error of ours becomes words in it."""
        scores: list[float] = []
        seconds: list[float] = []
        rank: float | None = None
        reset_peak_memory()
        try:
            for number in range(len(self.folds)):
                result = self._fold(recipe, number)
                scores.append(result["score"])
                seconds.append(result["seconds"])
                rank = result.get("rank")
        except TacitaError as error:
            return self._made(recipe, [], seconds, rank, error=str(error.message))
        return self._made(recipe, scores, seconds, rank)

    def _made(
        self,
        recipe: Recipe,
        scores: list[float],
        seconds: list[float],
        rank: float | None,
        error: str | None = None,
    ) -> Row:
        return Row(
            name=recipe.name,
            metric=self.data.task.metric,
            mean=float(np.mean(scores)) if scores else None,
            std=float(np.std(scores)) if scores else None,
            folds=scores,
            seconds=round(float(np.mean(seconds)) if seconds else 0.0, 2),
            peak_mb=round(peak_memory_mb(torch.device("cpu")), 1),
            baseline=is_baseline(recipe),
            unlabelled=uses_unlabelled(recipe),
            rank=rank,
            error=error,
        )

    def _fold(self, recipe: Recipe, number: int) -> dict[str, Any]:
        path = self.work / f"{file_name(recipe)}.{number}.json"
        if path.exists():
            result = json.loads(path.read_text(encoding="utf-8"))
            if result["rows"]:
                self.histories.setdefault(recipe.name, result["rows"])
            return result
        fold = self.folds[number]
        if recipe.pretrain is not None:
            # Shared by all folds and timed apart, so it does not count as the first fold's time.
            self.encoder(recipe)
        began = time.monotonic()
        learner = self.fitted(recipe, self.data.hide_labels(fold.train), number)
        if number == 0:
            self._first[recipe.name] = learner
        part = self.scored.subset(fold.score)
        scores = learner.task_.scores(learner.logits(part), part.y)
        result = {
            "score": scores[self.data.task.metric],
            "seconds": time.monotonic() - began + self._pretraining_share(recipe),
            "rank": None if recipe.pretrain is None else self.health(recipe).rank,
            "rows": [] if number else self.histories.get(recipe.name, []),
        }
        write_text(path, json.dumps(result))
        return result

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
        learner = learner_for(recipe, encoder, engine, lambda text: self._alarm(recipe.name, text))
        learner.fit(data, seed=recipe.seed + number)
        if isinstance(learner, Trained):
            self.histories.setdefault(recipe.name, learner.history_.rows)
        remove_checkpoint(self.work / f"{name}.safetensors")
        return learner

    def _alarm(self, name: str, text: str) -> None:
        """Said once of a candidate, for its folds are much alike."""
        if (name, text) not in self._warned:
            self._warned.add((name, text))
            self.warn(f"{name}: {text}")

    def first(self, recipe: Recipe) -> Learner:
        """The learner of the first fold: what was fitted for it, or (in a resumed run) once more."""
        if recipe.name not in self._first:
            self._first[recipe.name] = self.fitted(
                recipe, self.data.hide_labels(self.folds[0].train), 0
            )
        return self._first[recipe.name]

    def encoder(self, recipe: Recipe, number: int = 0) -> Encoder:
        """The recipe's encoder to start from: pretrained once for all folds, or random for each."""
        if recipe.pretrain is None:
            fresh = recipe.model_copy(update={"seed": recipe.seed + number})
            return encoder_for(fresh, self.data.spec)
        key = _pretraining_key(recipe)
        if key not in self._encoders:
            name = f"{recipe.pretrain.method} (pretraining)"
            path = self.work / f"pretrain-{key}.safetensors"
            encoder, objective, history = pretrain_encoder(
                recipe,
                self.data,
                **self.engine,
                checkpoint=path,
                resume=True,
                alarm=lambda text: self.warn(f"{recipe.name}: {text}"),
                callbacks=self._callbacks(name, path.stem),
            )
            self.histories[name] = history.rows
            # By the labels that the first fold learns from: others may be hidden on purpose.
            seen = self.data.hide_labels(self.folds[0].train) if self.folds else self.data
            self._healths[key] = health(encoder, seen, objective=objective)
            self._encoders[key] = (encoder, history.seconds)
        # No learner changes the encoder that it is given.
        return self._encoders[key][0]

    def health(self, recipe: Recipe) -> Health:
        """The gauges of the recipe's pretrained encoder and its embeddings."""
        self.encoder(recipe)
        return self._healths[_pretraining_key(recipe)]

    def pretraining_seconds(self, recipe: Recipe) -> float:
        """What the recipe's pretraining took."""
        self.encoder(recipe)
        return self._encoders[_pretraining_key(recipe)][1]

    def new_health(self, recipe: Recipe) -> Health | None:
        """The gauges of the recipe's pretrained encoder, the first time they are asked for."""
        key = None if recipe.pretrain is None else _pretraining_key(recipe)
        if key is None or key in self._told:
            return None
        self._told.add(key)
        return self._healths.get(key)

    def _pretraining_share(self, recipe: Recipe) -> float:
        if recipe.pretrain is None:
            return 0.0
        return self.pretraining_seconds(recipe) / len(self.folds)

    def _callbacks(self, name: str, training: str) -> tuple[Callback, ...]:
        """What each logged step is told to: a file on disk, and the screen."""

        def callback(progress: Progress) -> None:
            if self.tick is not None:
                self.tick(name, progress)

        return JsonLines(self.work / PROGRESS, candidate=name, training=training), callback


def _pretraining_key(recipe: Recipe) -> str:
    """A file name for "the same pretraining": candidates that share it train it once."""
    assert recipe.pretrain is not None
    text = f"{recipe.encoder} {recipe.pretrain} {recipe.seed}"
    return f"{recipe.pretrain.method}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def file_name(recipe: Recipe) -> str:
    """A recipe's name as that of a file."""
    return "".join(c if c.isalnum() or c in "-_" else "_" for c in recipe.name)[:80]
