"""The main job: from data with a few labels to the best model there is for them, and its report."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from time import monotonic
from typing import Any

import torch

from tacita.catalog.recipe import Recipe
from tacita.catalog.values import parse_duration
from tacita.data.check import check_trainable
from tacita.data.dataset import Dataset, joined
from tacita.data.reading import Missing
from tacita.engine.devices import make_fabric
from tacita.errors import ConfigError, DataError, DryRun
from tacita.modalities.load import read_like
from tacita.modalities.memory import as_dataset
from tacita.model.metrics import Metrics, Row
from tacita.model.model import Model
from tacita.report.content import verdict
from tacita.report.describe import describe
from tacita.verbs.common import (
    finish,
    gauges_of,
    held_out_scores,
    read_dataset,
    recipe_in_words,
    replay_command,
    run_folder,
    save_run,
    steps_of,
    with_unlabelled,
)
from tacita.verbs.folder import PLAN, check_folder, work_folder
from tacita.verbs.page import leaderboard_rows
from tacita.verbs.plan import (
    Plan,
    candidates,
    fit_to_budget,
    folds_of,
    load_plan,
    make_splits,
    parts,
)
from tacita.verbs.pretrainings import Comparison, compare_pretrainings, only_pretraining
from tacita.verbs.run import Run
from tacita.verbs.screen import Screen


def fit(
    data: Any,
    y: Any = None,
    *,
    labels: str | Path | None = None,
    task: str | None = None,
    recipe: str | Sequence[str] = "auto",
    budget: float | str | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    test: Any = None,
    unlabelled: Any = None,
    labels_per_class: int | None = None,
    draws: int | None = None,
    group: str | None = None,
    missing: Missing = "refuse",
    modality: str | None = None,
    image_size: int | None = None,
    series_id: str | None = None,
    time: str | None = None,
    resume: bool = False,
    overwrite: bool = False,
    dry_run: bool = False,
    quiet: bool = False,
    device: str = "auto",
    precision: str = "32-true",
) -> Model:
    """Compare what could learn from the data, refit the best on all labels, save and report it.

    data: a path, the name of a built-in set, arrays, tensors, a frame, a torch data set or a
        `Dataset`; `y`: labels, with -1, NaN or None where there is none.
    recipe: "auto" compares the usual candidates; or one or several names of recipes or methods; or
        the folder of a run, whose plan is replayed.
    budget: seconds, or "90s", "5m", "2h"; training is stretched or cut to fill it.
    out: the run's folder; by default `runs/NAME` for data from a path, and none for data in memory
        (then nothing is written and `model.save` is yours to call).
    test: samples with labels, of the same form as `data`, kept for the last figure.
    unlabelled: further samples of the same form; their labels, if they have any, are not looked at.
    labels_per_class, draws: hide labels on purpose, to see how few would do.
    dry_run: print the resolved plan and raise `DryRun` before anything is written or trained.

    Everything else is as in `tacita.load` and `tacita.train`. Raises `DataError` and `ConfigError`
    before training starts.
    """
    folder = run_folder(data, out, resume)
    check_folder(folder, resume=resume, overwrite=overwrite)
    make_fabric(device, precision)  # type: ignore[arg-type]  # Refuses what is not there.
    screen = Screen(quiet=quiet)
    began = monotonic()
    engine = {"device": device, "precision": precision}
    reading = {
        "labels": labels, "task": task, "group": group, "missing": missing,
        "modality": modality, "image_size": image_size, "series_id": series_id, "time": time,
    }  # fmt: skip
    whole = with_unlabelled(read_dataset(data, y, **reading), unlabelled, screen)
    replayed = _replayed(recipe, folder, resume)
    pretraining = only_pretraining(recipe, replayed)
    if not pretraining:
        check_trainable(whole)
    held = _test_set(test, whole)
    description = describe(whole, held)
    screen.lines(description.lines())
    command = (
        ""
        if folder is None
        else replay_command(data, folder, reading, test=test, unlabelled=unlabelled)
    )
    if pretraining:
        names = [recipe] if isinstance(recipe, str) else recipe
        return compare_pretrainings(
            whole,
            description,
            Comparison(
                names, replayed, held, labels_per_class, draws, budget, seed, folder, resume,
                dry_run, engine, command,
            ),
            screen,
        )  # fmt: skip
    if replayed is None:
        plan = _plan(whole, held, recipe, budget, seed, labels_per_class, draws, engine)
    else:
        plan = replayed
    pool, held = parts(whole, held, plan)
    for name, reason in plan.skipped.items():
        screen.line("left out", f"{name}: {reason}")
    screen.line("plan", plan.protocol)
    for each in plan.recipes:
        screen.line("auto", recipe_in_words(each))
    if dry_run:
        raise DryRun(plan)

    with ExitStack() as stack:
        work = work_folder(folder, resume=resume, stack=stack)
        if folder is not None and not resume:
            plan.save(folder / PLAN)
        scored = held if plan.splits.score_on_held_out and held is not None else pool
        run = Run(
            pool, scored, folds_of(plan, pool, scored), work, engine, screen.tick, screen.warning
        )
        stack.enter_context(screen.bar)
        screen.expect(steps_of(plan.recipes, len(run.folds)))
        rows = []
        for each in plan.recipes:
            rows.append(run.row(each))
            screen.row(rows[-1])
            pretrained = run.new_health(each)
            if pretrained is not None:
                screen.line("health", f"{each.name}: {pretrained.line()}")
        rows, winner = _ranked(rows, plan.recipes)
        # Where labels are hidden on purpose, the model is that of the first draw.
        if plan.splits.score_on_held_out:
            learner = run.first(winner)
            pool = pool.hide_labels(run.folds[0].train)
        else:
            learner = run.fitted(winner, pool, len(run.folds))
        gauges = gauges_of(learner, pool)
        metrics = Metrics(
            protocol=plan.protocol,
            winner=winner.name,
            leaderboard=rows,
            held_out=held_out_scores(learner, held),
            health=None if gauges is None else gauges.as_dict(),
        )
        model = Model(winner, learner, metrics)
        if folder is not None:
            save_run(model, pool, held, run.histories, description, folder, command)
    screen.leaderboard(rows)
    screen.line("result", verdict(leaderboard_rows(metrics)))
    finish(screen, model, gauges, folder)
    screen.line("took", f"{monotonic() - began:.0f} s")
    return model


def _test_set(test: Any, data: Dataset) -> Dataset | None:
    if test is None:
        return None
    x, y = test if isinstance(test, tuple) else (test, None)
    # Read by the training data's schema, so that columns and categories mean the same.
    found = joined(list(read_like(x, data.schema)))
    if y is not None:
        found = as_dataset(found, y, task=data.task.name)
    found = found.recoded(data.task)
    if not bool(found.labelled.any()):
        raise DataError(
            f"{found.source}: no test sample has a label.", remedy="Give test samples with labels."
        )
    return found.subset(found.labelled)


def _replayed(recipe: str | Sequence[str], folder: Path | None, resume: bool) -> Plan | None:
    """The plan of an earlier run, where this one resumes or replays it."""
    if resume and folder is not None and (folder / PLAN).exists():
        return load_plan(folder / PLAN)
    if isinstance(recipe, str) and (Path(recipe) / PLAN).is_file():
        return load_plan(Path(recipe) / PLAN)
    return None


def _plan(
    whole: Dataset,
    held: Dataset | None,
    recipe: str | Sequence[str],
    budget: float | str | None,
    seed: int,
    labels_per_class: int | None,
    draws: int | None,
    engine: dict[str, Any],
) -> Plan:
    splits, protocol = make_splits(whole, held, labels_per_class, draws, seed)
    recipes, skipped = candidates(whole, recipe, seed)
    seconds = None if budget is None else parse_duration(budget)
    learnt = torch.isin(whole.index, torch.tensor(splits.train[0], dtype=torch.int64))
    first = whole.hide_labels(learnt).normalised()
    recipes = fit_to_budget(recipes, first, len(splits.train), seconds, **engine)
    return Plan(seed=seed, protocol=protocol, recipes=recipes, skipped=skipped, splits=splits)


def _ranked(rows: list[Row], recipes: list[Recipe]) -> tuple[list[Row], Recipe]:
    """The rows best first, those without a score last, and the recipe of the best."""
    pairs = sorted(
        zip(rows, recipes, strict=True),
        key=lambda pair: -math.inf if pair[0].mean is None else pair[0].mean,
        reverse=True,
    )
    if not pairs or pairs[0][0].mean is None:
        reasons = "; ".join(f"{row.name}: {row.error}" for row in rows)
        raise ConfigError(
            f"No candidate gave a score ({reasons}).", remedy="See the reasons given."
        )
    return [row for row, _ in pairs], pairs[0][1]
