"""Pretraining on one data set after another, as one verb: a model, and what was kept of each."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple, Unpack, get_args, overload

from tacita.catalog.discover import did_you_mean
from tacita.catalog.options import taking
from tacita.catalog.recipe import Recipe, recipe_from_options
from tacita.data.dataset import Dataset, check_alike
from tacita.data.reading import Reading
from tacita.engine.history import Callback, History
from tacita.engine.loggers import JsonLines
from tacita.errors import ConfigError, DataError
from tacita.files import write_text
from tacita.learner import EncoderOnly
from tacita.model.build import encoder_for, pretraining_for, training_options
from tacita.model.model import Model
from tacita.stream.pretraining import (
    ContinualPretraining,
    StreamFigures,
    StreamSchedule,
    kept_aside,
)
from tacita.verbs.common import read_dataset, told_with_method
from tacita.verbs.folder import PROGRESS, STATE
from tacita.verbs.one_training import Made, run_one
from tacita.verbs.options import Running, VerbOptions
from tacita.verbs.screen import Screen

FIGURES = "stream.json"
LEDGER = "ledger.json"


class Streamed(NamedTuple):
    """The model after the last data set, and the figures of every data set after each."""

    model: Model
    figures: StreamFigures


@overload
def pretrain_stream(
    method: str,
    datasets: Sequence[Any],
    *,
    schedule: StreamSchedule = "infinite",
    replay: float = 0.0,
    **options: Unpack[VerbOptions],
) -> Streamed: ...


@overload
def pretrain_stream(
    method: str,
    datasets: Sequence[Any],
    *,
    schedule: StreamSchedule = "infinite",
    replay: float = 0.0,
    **options: Any,
) -> Streamed: ...


@taking(Reading, Running)
def pretrain_stream(
    method: str,
    datasets: Sequence[Any],
    *,
    schedule: StreamSchedule = "infinite",
    replay: float = 0.0,
    **options: Any,
) -> Streamed:
    """Pretrain on one data set after another, and tell after each what is known of all so far.

    datasets: paths, names, samples in memory or data sets, in their order; a fifth of each is kept
        aside to measure on. All are seen through the normaliser of the first.
    schedule: `infinite`; or `repeated-cosine`, `one-cosine` over all of them, or `constant`, to compare.
    replay: share of every batch that is drawn evenly from all earlier data sets.
    `options`: as in `tacita.pretrain`; `steps` are those of each data set, and the budget is for all.

    In the folder `out` are the model, its state to go on from (`tacita.pretrain(..., start=out)`), its
    report, the figures (`stream.json`), and which samples were learnt from (`ledger.json`).

    Raises `DataError` where data sets are not alike, `ConfigError` for options that do not fit.
    """
    if schedule not in get_args(StreamSchedule):
        near = did_you_mean(schedule, get_args(StreamSchedule))
        raise ConfigError(
            f"schedule={schedule!r}: unknown{near}",
            remedy=f"Known: {', '.join(get_args(StreamSchedule))}.",
        )
    if isinstance(datasets, str | Path | Dataset) or not len(datasets):
        raise DataError("A stream is a list of data sets.", remedy="Give a list of one or more.")
    reading, running, settings = told_with_method(pretrain_stream, method, options)
    sets = _read(datasets, reading)
    seed = running.seed
    parts = [kept_aside(data, seed) for data in sets]
    name = "cosine" if schedule.endswith("cosine") else schedule
    recipe = recipe_from_options("pretrain", method, {**settings, "schedule": name}, seed)
    found: list[ContinualPretraining] = []

    def make(recipe: Recipe, pool: Dataset, engine: dict[str, Any]) -> Made:
        assert recipe.pretrain is not None
        work: Path = engine["checkpoint"].parent
        tick = engine["callbacks"][-1]
        told = training_options(recipe, "pretrain") | running.engine
        stream = ContinualPretraining(
            pretraining_for(recipe, encoder_for(recipe, pool.spec)),
            schedule=schedule,
            steps=told["steps"],
            replay_share=replay,
            engine={key: value for key, value in told.items() if key != "seed"},
        )

        def callbacks(number: int) -> Sequence[Callback]:
            training = f"data set {number + 1}"
            return JsonLines(work / PROGRESS, candidate=recipe.name, training=training), tick

        stream.fit(
            [kept for kept, _ in parts],
            [aside for _, aside in parts],
            folder=work,
            resume=True,
            seed=seed,
            callbacks=callbacks,
        )
        found.append(stream)
        if schedule == "infinite":
            shutil.copyfile(work / stream.state_.name, work / STATE)
        learner = EncoderOnly(stream.objective_.encoder).fit(pool)
        return Made(learner, _joined(stream.histories_), stream.objective_)

    by = parts[0][0].normalised().normaliser
    last = parts[-1][0].normalised(by)
    model = run_one(None, recipe, last, running, make, trainings=len(sets))
    figures = found[0].figures_
    if model.folder is not None:
        text = json.dumps({**asdict(figures), **figures.summary()}, indent=1)
        write_text(model.folder / FIGURES, text + "\n")
        found[0].ledger_.save(model.folder / LEDGER)
    _tell(Screen(quiet=running.quiet), sets, figures)
    return Streamed(model, figures)


def _read(datasets: Sequence[Any], reading: Reading) -> list[Dataset]:
    """Every data set, all of one kind."""
    sets = [read_dataset(data, None, reading) for data in datasets]
    for other in sets[1:]:
        check_alike(sets[0], other)
    return sets


def _joined(histories: Sequence[History]) -> History:
    """One curve over all data sets, in steps since the first."""
    whole = History(sum(history.steps for history in histories))
    before = 0
    for history in histories:
        whole.rows += [{**row, "step": before + row["step"]} for row in history.rows]
        whole.seconds += history.seconds
        before += history.steps
    return whole


def _tell(screen: Screen, sets: Sequence[Dataset], figures: StreamFigures) -> None:
    """A line for each data set, with the losses on it and on those before, and one for all."""
    for number, row in enumerate(figures.loss):
        shown = ", ".join(f"{value:.4f}" for value in row)
        screen.line(f"after {number + 1}", f"{sets[number].source}: loss {shown}")
    shown = ", ".join(f"{name} {value:.4f}" for name, value in figures.summary().items())
    screen.line("stream", shown)
