"""The main job: from data with a few labels to the best model there is for them, and its report."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

import torch

from tacita.adapt.trained import Trained
from tacita.catalog import discover
from tacita.catalog.options import taking
from tacita.catalog.plain import plain
from tacita.catalog.recipe import FAMILIES, Recipe, recipe_from_options
from tacita.data.check import check_trainable
from tacita.data.dataset import Dataset, joined
from tacita.data.reading import Reading
from tacita.engine.devices import make_fabric, under_torchrun
from tacita.errors import ConfigError, DataError, DryRun
from tacita.learner import Learner
from tacita.modalities.load import read_like
from tacita.modalities.memory import as_dataset
from tacita.model.metrics import Row
from tacita.model.model import Model
from tacita.report.content import verdict
from tacita.report.describe import describe
from tacita.verbs.budget import in_order
from tacita.verbs.common import (
    finish,
    gauges_of,
    read_dataset,
    recipe_in_words,
    replay_command,
    run_folder,
    save_run,
    steps_of,
    told,
    told_with_method,
    with_unlabelled,
)
from tacita.verbs.ensembling import blend, in_words, refit_members
from tacita.verbs.folder import PLAN, work_folder
from tacita.verbs.measured import measured
from tacita.verbs.options import Running
from tacita.verbs.page import RunPage
from tacita.verbs.plan import (
    Plan,
    candidates,
    folds_of,
    load_plan,
    make_splits,
    parts,
)
from tacita.verbs.pretrainings import Comparison, compare_pretrainings, only_pretraining
from tacita.verbs.prior import prior_shares
from tacita.verbs.ranking import ranked, with_ensemble
from tacita.verbs.run import Run
from tacita.verbs.screen import Screen
from tacita.verbs.start import check_start, mark_of, opened, started, starting_from
from tacita.verbs.timing import budgeted, deadline_of, expected_in_words, processes_of
from tacita.verbs.workers import Workers, on_one_thread, one_thread


@taking(Reading, Running)
def fit(
    data: Any,
    y: Any = None,
    *,
    recipe: str | Sequence[str] = "auto",
    start: Model | str | Path | None = None,
    test: Any = None,
    unlabelled: Any = None,
    labels_per_class: int | None = None,
    draws: int | None = None,
    metric: str | None = None,
    **options: Any,
) -> Model:
    """Compare what could learn from the data, refit the best on all labels, save and report it.

    data: a path, the name of a built-in set, arrays, tensors, a frame, a torch data set or a
        `Dataset`; `y`: labels, with -1, NaN or None where there is none.
    recipe: "auto" (the usual candidates for these data, and all of them together), a recipe, a method, a
        YAML file, a list of these, or the folder of a run to repeat. Where it is one method, `options` may
        be those of the method, its encoder and its training, as in `tacita.adapt`.
    start: a model or its folder: candidates with an encoder start from a copy of that one, in place of
        random weights, and all see the data through its normaliser. What pretrains goes on from it;
        "auto" pretrains no more.
    test: samples with labels, of the same form as `data`, kept for the last figure.
    unlabelled: further samples of the same form; their labels, if they have any, are not looked at.
    labels_per_class, draws: hide labels on purpose, to see how few would do.
    metric: the figure that ranks the candidates, such as "balanced_accuracy", "macro_f1", "auc",
        "mean_absolute_error"; by default the task's own, and balanced accuracy for uneven classes.

    How data are read (`labels` to `tokeniser`) is told as in `tacita.load`. And how it runs:

    budget: seconds, or "90s", "5m", "2h", that the whole may take; training is stretched or cut to fill
        it. Without one it takes 10 minutes at most; "none" lifts that.
    seed: governs everything random.
    out: the run's folder; by default `runs/NAME` for data from a path, and none for data in memory
        (then nothing is written and `model.save` is yours to call).
    resume: go on with the interrupted run in `out`; `overwrite`: replace it.
    dry_run: print the resolved plan and raise `DryRun` before anything is written or trained.
    quiet: print nothing; 1 (`-q`) leaves the lines of the result.
    device, precision: as in `tacita.train`.

    Raises `DataError` and `ConfigError` before training starts.

    >>> from tacita.modalities.load import load
    >>> few = load("wine").hide_labels(torch.arange(0, 178, 6))
    >>> model = fit(few, recipe="logistic-regression", quiet=True)
    >>> model.metrics.winner, len(model.predict(few))
    ('logistic-regression', 178)
    """
    draws, labels_per_class = plain(draws), plain(labels_per_class)
    chosen: str | Sequence[str | Recipe] = plain(recipe)
    if isinstance(chosen, str) and chosen in discover.cards():
        reading, running, settings = told_with_method(fit, chosen, options)
        if settings:
            family = discover.get(chosen).family
            key = "pretrain" if family in FAMILIES["pretrain"] else "learn"
            chosen = [recipe_from_options(key, chosen, settings, running.seed)]
    else:
        reading, running = told(fit, options)
    if under_torchrun() and int(os.environ["WORLD_SIZE"]) > 1:
        raise ConfigError(
            "A comparison runs in one process, and torchrun started several.",
            remedy="Run it without torchrun, or call tacita.train in a script of your own.",
        )
    make_fabric(running.device, running.precision)  # Refuses a device that is not there.
    with run_folder(data, running) as folder:
        return _fit(
            data,
            y,
            chosen,
            start,
            test,
            unlabelled,
            labels_per_class,
            draws,
            metric,
            reading,
            running,
            folder,
        )


def _fit(
    data: Any,
    y: Any,
    recipe: str | Sequence[str | Recipe],
    start: Model | str | Path | None,
    test: Any,
    unlabelled: Any,
    labels_per_class: int | None,
    draws: int | None,
    metric: str | None,
    reading: Reading,
    running: Running,
    folder: Path | None,
) -> Model:
    """`fit` in a folder that is held."""
    screen = Screen(quiet=running.quiet)
    began = monotonic()
    whole = with_unlabelled(read_dataset(data, y, reading), unlabelled, screen)
    replayed = _replayed(recipe, folder, running.resume)
    pretraining = only_pretraining(recipe, replayed)
    if not pretraining:
        check_trainable(whole, fewest=1)
    held = _test_set(test, whole)
    first = None if start is None else opened(start)
    encoder, by = None, None
    if first is not None:
        encoder, whole = started(first, whole)
        by = whole.normaliser
    if replayed is not None:
        check_start(replayed, first)
    description = describe(whole, held)
    screen.lines(description.lines())
    command = (
        ""
        if folder is None
        else replay_command(
            data, folder, reading, test=test, unlabelled=unlabelled, **{"from": _folder_of(start)}
        )
    )
    if pretraining:
        if metric is not None:
            raise ConfigError(
                f"metric={metric!r} was given, but ways to pretrain are compared by their encoders.",
                remedy="Leave it out.",
            )
        names = [recipe] if isinstance(recipe, str) else recipe
        return compare_pretrainings(
            whole,
            description,
            Comparison(
                names, replayed, first, held, labels_per_class, draws, running, folder, command
            ),
            screen,
        )
    if replayed is not None and metric is not None:
        chosen, _ = whole.task.ranked_by(whole.targets[whole.labelled], metric)
        replayed = replayed.model_copy(update={"metric": chosen, "ranked_by": ""})
    plan = replayed or _plan(
        whole, held, recipe, first, labels_per_class, draws, metric, running, began
    )
    pool, held = parts(whole, held, plan, by)
    processes = processes_of(plan, pool, running.device, encoder)
    for name, reason in plan.skipped.items():
        screen.line("left out", f"{name}: {reason}")
    screen.line("plan", plan.protocol)
    if plan.ranked_by:
        screen.line("ranked", plan.ranked_by)
    for each in plan.recipes:
        screen.line("auto", recipe_in_words(each))
    if plan.expected:
        screen.line("expects", expected_in_words(plan, processes, monotonic() - began))
    if running.dry_run:
        raise DryRun(plan)

    with ExitStack() as stack:
        if on_one_thread(running.device):
            stack.enter_context(one_thread())
        work = work_folder(folder, resume=running.resume, stack=stack)
        if folder is not None and (metric or not running.resume):
            plan.save(folder / PLAN)
        scored = held if plan.splits.score_on_held_out and held is not None else pool
        run = Run(
            pool,
            scored,
            folds_of(plan, pool, scored),
            work,
            metric=plan.metric,
            start=encoder,
            keep_learners=held is None and bool(pool.kind.features(pool)),
            alone=len(plan.recipes) == 1,
            engine=running.engine,
            deadline=deadline_of(plan, processes, running, began),
            tick=screen.tick,
            warn=screen.warning,
        )
        stack.enter_context(screen.bar)
        screen.expect(steps_of(plan.recipes, len(run.folds)))
        found: dict[str, Row] = {}
        with Workers(run, processes) as workers:
            shares = prior_shares(pool.modality, pool.task, [each.name for each in plan.recipes])
            for each in workers.finish(in_order(plan.recipes, plan.expected, shares.tolist())):
                found[each.name] = run.row(each)
                screen.row(found[each.name])
                for fold, said in run.ended.get(each.name, {}).items():
                    screen.line("stopped", f"{each.name}, fold {fold + 1}: {said}")
                pretrained = run.new_health(each)
                if pretrained is not None:
                    screen.line("health", f"{each.name}: {pretrained.line()}")
            ranking = ranked([found[each.name] for each in plan.recipes], plan.recipes, run.folds)
            together = blend(run, plan.recipes, found) if plan.ensemble else None
            if together is not None:
                screen.row(together.row)
                screen.line("ensemble", in_words(together.recipe))
                ranking = with_ensemble(ranking, together.recipe, together.row, run.folds)
            winner = ranking.winner
            workers.refit([each.recipe for each in winner.members or ()])
        # Where labels are hidden on purpose, the model is that of the first draw.
        learner: Learner
        if plan.splits.score_on_held_out:
            learner = run.learner(winner)
            pool = pool.hide_labels(run.folds[0].train)
        elif winner.members is not None:
            winner, learner = refit_members(run, winner)
        else:
            learner = run.refit(winner)
            if isinstance(learner, Trained) and learner.history_.ended:
                screen.line("stopped", f"{winner.name}: {learner.history_.ended}")
        gauges = gauges_of(learner, pool)
        pooled = together.out_of_fold if winner.members and together else run.out_of_fold(winner)
        metrics = measured(run, plan, ranking, learner, held, gauges, pooled)
        model = Model(_as_made(winner, first), learner, metrics)
        model.page = RunPage(
            model, pool, held, description=description, curves=run.histories, command=command,
            out_of_fold=pooled, outside=run.outside(winner),
        )  # fmt: skip
        if folder is not None:
            save_run(model, run.histories, folder)
    screen.leaderboard(metrics)
    screen.line("result", verdict(metrics))
    finish(screen, model, gauges, folder)
    screen.line("took", f"{monotonic() - began:.0f} s")
    return model


def _folder_of(start: Model | str | Path | None) -> Any:
    """What the line that repeats a run has to say of the model that it started from."""
    return start.folder or start if isinstance(start, Model) else start


def _as_made(recipe: Recipe, first: Model | None) -> Recipe:
    """The recipe with how its encoder was pretrained before, where it started from a model's."""
    if recipe.members is not None:
        members = [
            each.model_copy(update={"recipe": _as_made(each.recipe, first)})
            for each in recipe.members
        ]
        return recipe.model_copy(update={"members": members})
    if first is None or recipe.encoder is None:
        return recipe
    return recipe.model_copy(update={"pretrain": recipe.pretrain or first.recipe.pretrain})


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


def _replayed(
    recipe: str | Sequence[str | Recipe], folder: Path | None, resume: bool
) -> Plan | None:
    """The plan of an earlier run, where this one resumes or replays it."""
    if resume and folder is not None and (folder / PLAN).exists():
        return load_plan(folder / PLAN)
    if isinstance(recipe, str) and (Path(recipe) / PLAN).is_file():
        return load_plan(Path(recipe) / PLAN)
    return None


def _plan(
    whole: Dataset,
    held: Dataset | None,
    recipe: str | Sequence[str | Recipe],
    first: Model | None,
    labels_per_class: int | None,
    draws: int | None,
    metric: str | None,
    running: Running,
    began: float,
) -> Plan:
    seed = running.seed
    chosen, why = whole.task.ranked_by(whole.targets[whole.labelled], metric)
    splits, protocol = make_splits(whole, held, labels_per_class, draws, seed)
    together = recipe == "auto" and whole.task.blends
    if not splits.train and not together:
        check_trainable(whole)  # Without a score there is nothing to choose one by.
    begin = None if first is None else partial(starting_from, first)
    recipes, skipped = candidates(whole, recipe, seed, begin)
    timed = whole
    if splits.train:
        learnt = torch.tensor(splits.train[0], dtype=torch.int64)
        timed = whole.hide_labels(torch.isin(whole.index, learnt))
    timed = timed.normalised(None if first is None else whole.normaliser)
    recipes, expected, left = budgeted(
        recipes,
        timed,
        splits,
        running,
        monotonic() - began,
        start=None if first is None else first.learner.encoder,
        auto=recipe == "auto",
    )
    return Plan(
        seed=seed,
        protocol=protocol,
        metric=chosen,
        ranked_by=why,
        start=mark_of(first),
        recipes=recipes,
        skipped={**skipped, **left},
        ensemble=together,
        expected=expected,
        splits=splits,
    )
