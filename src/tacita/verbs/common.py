"""What the verbs share: reading their data, their folder, and saving what they made."""

from __future__ import annotations

import inspect
import json
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch

from tacita.adapt.watching import SHARE
from tacita.audit.health.health import Health, health
from tacita.catalog.options import refuse, taken
from tacita.catalog.recipe import Recipe, training_parameters
from tacita.catalog.signature import parameters
from tacita.data.dataset import Dataset, check_alike, joined
from tacita.data.reading import Reading
from tacita.errors import ConfigError
from tacita.files import replacing, write_text
from tacita.learner import EncoderOnly, Learner
from tacita.measures.intervals import Interval
from tacita.modalities.load import read_like, read_path
from tacita.modalities.memory import read_memory
from tacita.model.metrics import finite
from tacita.model.model import REPORT, SUMMARY, Model
from tacita.objective import Objective
from tacita.verbs.folder import (
    STATE,
    WORK,
    check_folder,
    default_folder,
    remove_work,
    taken_default_folder,
    taken_folder,
)
from tacita.verbs.options import Running
from tacita.verbs.screen import Screen

OUT_OF_FOLD = "; each label as predicted by a model that was trained without it"


def told(verb: Callable[..., Any], options: Mapping[str, Any]) -> tuple[Reading, Running]:
    """How a verb reads and runs. Raises `ConfigError` with the nearest name for any other option."""
    reading, others = taken(Reading, options)
    running, others = taken(Running, others)
    refuse(verb, others)
    return reading, running


def told_with_method(
    verb: Callable[..., Any], method: str, options: Mapping[str, Any]
) -> tuple[Reading, Running, dict[str, Any]]:
    """How a verb reads and runs, and the options of its method, its encoder and the training.

    Raises `ConfigError` for one that is nearer to an option of the verb than to any of these, which
    are themselves checked where a recipe is made of them.
    """
    reading, others = taken(Reading, options)
    running, others = taken(Running, others)
    of_the_method = {"encoder", *parameters(method), *training_parameters()}
    for name in others:
        known = [*of_the_method, *inspect.signature(verb).parameters]
        near = get_close_matches(name, known, n=1, cutoff=0.5)
        if name not in of_the_method and "." not in name and near and near[0] not in of_the_method:
            raise ConfigError(f"{name}: unknown; did you mean {near[0]}?")
    return reading, running, others


def read_dataset(data: Any, y: Any, reading: Reading) -> Dataset:
    """A data set from a path, a name or memory."""
    if not isinstance(data, str | Path):
        return read_memory(data, y, reading)
    if y is not None:
        raise ConfigError(
            "y was given beside a path.", remedy="Name the labels with labels= instead."
        )
    return read_path(data, reading)


def with_unlabelled(data: Dataset, unlabelled: Any, screen: Screen) -> Dataset:
    """A data set and behind it further samples of another source, whose labels are not looked at.

    They are read by its schema, so that columns and categories mean the same, and numbered on; where
    there are groups, each is one of its own. Raises `DataError` naming the source and what differs.
    """
    if unlabelled is None:
        return data
    more = joined(list(read_like(unlabelled, data.schema, hide_labels=True)))
    check_alike(data, more)
    screen.line("pool", f"{len(more)} unlabelled samples of {more.source}")
    ids = [data.name_of(i) for i in range(len(data))]
    ids += [f"{more.source}: {more.name_of(i)}" for i in range(len(more))]
    groups = data.groups
    if groups is not None:
        groups = torch.cat([groups, int(groups.max()) + 1 + torch.arange(len(more))])
    # Both sources may count from 0, so the further ones are numbered on; names keep their own count.
    more = replace(more, index=int(data.index.max()) + 1 + torch.arange(len(more)), ids=())
    return replace(joined([replace(data, ids=()), more]), ids=tuple(ids), groups=groups)


@contextmanager
def run_folder(data: Any, running: Running) -> Iterator[Path | None]:
    """Hold where a run is kept: `out`, or `runs/NAME` for data from a path; nowhere for data in memory.

    A dry run only looks whether it could. Raises `ConfigError` where the folder is in the way, is not
    there to be resumed, or is held by another process; `WriteError` where it cannot be made.
    """
    if running.out is None:
        if running.resume:
            raise ConfigError("resume needs the run's folder.", remedy="Give it with --out.")
        if not isinstance(data, str | Path):
            yield None
        elif running.dry_run:
            yield default_folder(data)
        else:
            with taken_default_folder(data) as folder:
                yield folder
        return
    folder, how = Path(running.out), {"resume": running.resume, "overwrite": running.overwrite}
    if running.dry_run:
        check_folder(folder, **how)
        yield folder
        return
    with taken_folder(folder, **how) as left:
        if left:
            Screen(quiet=running.quiet).line("taken", left)
        yield folder


def save_run(
    model: Model, histories: Mapping[str, Sequence[Mapping[str, float]]], folder: Path
) -> None:
    """Write the history, the report and the model, each whole, and remove what was for resuming.

    The model's page is in its folder from then on, and what it was made of is let go.
    """
    with replacing(folder / "history.jsonl") as temporary:
        lines = [
            json.dumps({"candidate": name, **row})
            for name, rows in histories.items()
            for row in rows
        ]
        temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    if model.page is not None:
        for name, text in ((REPORT, model.page.html()), (SUMMARY, model.page.markdown())):
            write_text(folder / name, text)
    state = folder / WORK / STATE
    if state.exists():
        state.replace(folder / STATE)
    model.save(folder)
    model.page = None
    remove_work(folder)


def replay_command(data: Any, folder: Path, reading: Reading, **apart: Any) -> str:
    """The line that repeats a run of `fit` or `compare` exactly, from the plan in its folder.

    reading: how the data were read; what is at its default is left out.
    apart: samples given apart, by the name of their argument.
    """
    if not all(isinstance(source, str | Path | None) for source in (data, *apart.values())):
        return f'tacita.fit(data, recipe="{folder}", out="AGAIN")'
    usual = Reading()
    options = {field.name: getattr(reading, field.name) for field in fields(Reading)}
    changed = {name: value for name, value in options.items() if value != getattr(usual, name)}
    given = {name: source for name, source in apart.items() if source is not None}
    words = ["tacita", "fit", str(data)]
    flags = {field.name: field.metadata.get("flag", field.name) for field in fields(Reading)}
    for name, value in {**changed, **given}.items():
        flag = f"--{flags.get(name, name).replace('_', '-')}"
        if value is True:
            words.append(flag)
            continue
        for one in value if isinstance(value, tuple) else (value,):
            # A value such as -1 would be taken for an option, if it stood apart.
            words += [f"{flag}={one}"] if str(one).startswith("-") else [flag, str(one)]
    return shlex.join([*words, "--recipe", str(folder), "--out", "AGAIN"])


def typed_command() -> str:
    """The command line that this process was started with; empty where it was not `tacita`."""
    here = Path(sys.argv[0]).name == "tacita"
    return shlex.join(["tacita", *sys.argv[1:]]) if here else ""


def steps_of(recipes: Sequence[Recipe], folds: int) -> int:
    """How many steps the recipes take over the folds; what they share is counted once."""
    seen, steps = set(), 0
    for recipe in recipes:
        for key in ("pretrain", "learn"):
            section = recipe.sections.get(key)
            if section is None or "steps" not in section.train:
                continue
            name = f"{recipe.encoder} {section}"
            if key == "learn":
                steps += folds * section.train["steps"]
            elif name not in seen:
                steps += section.train["steps"]
                seen.add(name)
    return steps


def recipe_in_words(recipe: Recipe) -> str:
    """A resolved recipe on one line."""
    parts = []
    for key, section in recipe.sections.items():
        settings = {**section.options, **section.train}
        shown = ", ".join(
            f"{name} {settings[name]}"
            for name in ("steps", "batch_size", "learning_rate", "patience")
            if name in settings
        )
        if settings.get("patience") is not None:
            shown += f"; stops by the loss on {SHARE:.0%} of the labels, not learnt from"
        parts.append(f"{key} {section.method}" + (f" ({shown})" if shown else ""))
    return f"{recipe.name}: {'; '.join(parts)}"


def gauges_of(
    learner: Learner, pool: Dataset, objective: Objective[Any] | None = None
) -> Health | None:
    """The health of a learner's encoder; None for a baseline, which has none.

    objective: what the encoder comes from, where it is at hand.
    """
    if learner.encoder is None:
        return None
    return health(learner.encoder, pool, objective=objective)


def held_out_scores(learner: Learner, held: Dataset | None) -> dict[str, float] | None:
    """The learner's scores on labelled samples kept aside, if there are any."""
    if held is None:
        return None
    held = held.normalised(learner.data_.normaliser)
    return finite(learner.task_.scores(learner.logits(held), held.y))


def held_out_intervals(learner: Learner, held: Dataset | None) -> dict[str, Interval]:
    """How far some of these scores may be off."""
    if held is None:
        return {}
    held = held.normalised(learner.data_.normaliser)
    return learner.task_.intervals(learner.logits(held), held.y)


def finish(screen: Screen, model: Model, gauges: Health | None, folder: Path | None) -> None:
    """The last lines of a run: figures, health, where it is saved, and what to do next."""
    metrics = model.metrics
    for key, scores, intervals in (
        ("held out", metrics.held_out, metrics.held_out_intervals),
        (
            "folds",
            metrics.out_of_fold if not metrics.held_out else None,
            metrics.out_of_fold_intervals,
        ),
    ):
        if scores:
            said = (
                f"{name} {value:.4f}{_within(intervals.get(name))}"
                for name, value in scores.items()
            )
            # "held out" says it; of folds it is told.
            how = "" if key == "held out" else OUT_OF_FOLD
            screen.line(key, f"{model.recipe.name}: {', '.join(said)}{how}")
    if gauges is not None:
        screen.line("health", gauges.line())
    if folder is not None:
        screen.line("saved", f"{folder}  (report: {folder / 'report.html'})")
        step = f"predict {folder} NEW_DATA --out predicted.csv"
        if isinstance(model.learner, EncoderOnly):
            step = f"adapt fine-tune DATA --from {folder}"
        screen.line("next", f"tacita {step}")


def _within(interval: Interval | None) -> str:
    return "" if interval is None else f" ({interval[0]:.3f} to {interval[1]:.3f})"
