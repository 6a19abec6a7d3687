"""What the verbs share: reading their data, their folder, and saving what they made."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from tacita.audit.health.health import Health, health
from tacita.catalog.recipe import Recipe
from tacita.data.dataset import Dataset, check_alike, joined
from tacita.errors import ConfigError
from tacita.files import replacing
from tacita.learner import EncoderOnly, Learner, NetworkLearner
from tacita.modalities.load import load, read_like
from tacita.modalities.memory import as_dataset
from tacita.model.model import Model
from tacita.objective import Objective
from tacita.report.describe import Description
from tacita.report.page import write_report
from tacita.verbs.folder import STATE, WORK, default_folder
from tacita.verbs.page import report_content
from tacita.verbs.screen import Screen


def read_dataset(data: Any, y: Any = None, **options: Any) -> Dataset:
    """A data set from a path, a name or memory; `options` as in `tacita.load`."""
    if isinstance(data, str | Path):
        if y is not None:
            raise ConfigError(
                "y was given beside a path.", remedy="Name the labels with labels= instead."
            )
        return load(data, **options)
    kept = {k: options[k] for k in ("task", "modality", "missing", "series_id", "time")}
    return as_dataset(data, y, groups=options["group"], target=options["labels"], **kept)


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


def run_folder(data: Any, out: str | Path | None, resume: bool) -> Path | None:
    """Where a run is kept: `out`, or `runs/NAME` for data from a path; nowhere for data in memory."""
    if out is not None:
        return Path(out)
    if resume:
        raise ConfigError("resume needs the run's folder.", remedy="Give it with --out.")
    return default_folder(data) if isinstance(data, str | Path) else None


def save_run(
    model: Model,
    pool: Dataset,
    held: Dataset | None,
    histories: Mapping[str, Sequence[Mapping[str, float]]],
    description: Description,
    folder: Path,
    command: str,
) -> None:
    """Write the history, the report and the model, each whole, and remove what was for resuming."""
    with replacing(folder / "history.jsonl") as temporary:
        lines = [
            json.dumps({"candidate": name, **row})
            for name, rows in histories.items()
            for row in rows
        ]
        temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    content = report_content(
        model,
        pool,
        held,
        title=f"{model.recipe.name} on {pool.source}",
        created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        command=command,
        description=description,
        curves=histories,
    )
    write_report(content, folder / "report.html")
    state = folder / WORK / STATE
    if state.exists():
        state.replace(folder / STATE)
    model.save(folder)
    shutil.rmtree(folder / WORK, ignore_errors=True)


def replay_command(data: Any, folder: Path, reading: Mapping[str, Any], **further: Any) -> str:
    """The line that repeats a run of `fit` or `compare` exactly, from the plan in its folder.

    `reading`: how the data were read, as in `tacita.load`; what is at its default is left out.
    `further`: samples given apart, by the name of their argument.
    """
    apart = all(isinstance(source, str | Path | None) for source in further.values())
    if not isinstance(data, str | Path) or not apart:
        return f'tacita.fit(data, recipe="{folder}", out="AGAIN")'
    words = ["tacita", "fit", str(data)]
    for name, value in {**reading, **further}.items():
        if value is not None and (name, value) != ("missing", "refuse"):
            words += [f"--{name.replace('_', '-')}", str(value)]
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
            for name in ("steps", "batch_size", "learning_rate")
            if name in settings
        )
        parts.append(f"{key} {section.method}" + (f" ({shown})" if shown else ""))
    return f"{recipe.name}: {'; '.join(parts)}"


def gauges_of(
    learner: Learner, pool: Dataset, objective: Objective[Any] | None = None
) -> Health | None:
    """The health of a learner's encoder; None for a baseline, which has none.

    objective: what the encoder comes from, where it is at hand.
    """
    if not isinstance(learner, NetworkLearner):
        return None
    return health(learner.encoder, pool, objective=objective)


def held_out_scores(learner: Learner, held: Dataset | None) -> dict[str, float] | None:
    """The learner's scores on labelled samples kept aside, if there are any."""
    if held is None:
        return None
    held = held.normalised(learner.data_.normaliser)
    return learner.task_.scores(learner.logits(held), held.y)


def finish(screen: Screen, model: Model, gauges: Health | None, folder: Path | None) -> None:
    """The last lines of a run: figures, health, where it is saved, and what to do next."""
    if model.metrics.held_out:
        found = ", ".join(f"{key} {value:.4f}" for key, value in model.metrics.held_out.items())
        screen.line("held out", f"{model.recipe.name}: {found}")
    if gauges is not None:
        screen.line("health", gauges.line())
    if folder is not None:
        screen.line("saved", f"{folder}  (report: {folder / 'report.html'})")
        step = f"predict {folder} NEW_DATA --out predicted.csv"
        if isinstance(model.learner, EncoderOnly):
            step = f"adapt fine-tune DATA --from {folder}"
        screen.line("next", f"tacita {step}")
