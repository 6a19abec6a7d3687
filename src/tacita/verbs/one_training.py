"""One recipe trained: resolved, resumable, saved and told of, whichever verb asked for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

from tacita.catalog.recipe import Recipe
from tacita.data.dataset import Dataset
from tacita.data.splits import Fold
from tacita.engine.devices import make_fabric
from tacita.engine.history import History
from tacita.engine.loggers import JsonLines
from tacita.errors import ConfigError, DryRun
from tacita.learner import Learner
from tacita.measures.intervals import Interval
from tacita.model.metrics import Metrics, finite
from tacita.model.model import Model
from tacita.objective import Objective
from tacita.report.describe import describe
from tacita.verbs.budget import costs_of, fit_to_budget
from tacita.verbs.common import (
    finish,
    gauges_of,
    held_out_intervals,
    held_out_scores,
    recipe_in_words,
    run_folder,
    save_run,
    steps_of,
    typed_command,
)
from tacita.verbs.folder import PLAN, PROGRESS, work_folder
from tacita.verbs.options import Running
from tacita.verbs.page import RunPage
from tacita.verbs.plan import Plan, Splits, load_plan, resolved
from tacita.verbs.run import Run
from tacita.verbs.screen import Screen
from tacita.verbs.start import check_start, mark_of


class Made(NamedTuple):
    """What a training made: a learner, how it went, and (of pretraining) what was trained."""

    learner: Learner
    history: History
    objective: Objective[Any] | None = None


def run_one(
    origin: Any,
    recipe: Recipe,
    data: Dataset,
    running: Running,
    make: Callable[[Recipe, Dataset, dict[str, Any]], Made],
    *,
    held: Dataset | None = None,
    folds: Sequence[Fold] = (),
    facts: Mapping[str, str] | None = None,
    trainings: int = 1,
    start: Model | None = None,
) -> Model:
    """Resolve one recipe, train it where it can be resumed, save it and say how it went.

    origin: what the user gave as data, after which the run's folder is called.
    make: trains; it is given the resolved recipe, the data, and what the engine is told.
    held: samples for the last figure; `folds`: where there are none, over which the recipe is trained
        once more each, for predictions out of fold. `facts`: further lines for the screen.
    trainings: how often `make` takes the recipe's steps.
    start: the model whose encoder is trained on. How that was pretrained is kept in the recipe of what
        learns from labels, and not done again.
    """
    screen = Screen(quiet=running.quiet)
    description = describe(data, held)
    screen.lines(description.lines())
    make_fabric(running.device, running.precision)  # Refuses a device that is not there.
    with ExitStack() as stack:
        folder = stack.enter_context(run_folder(origin, running))
        if running.resume and folder is not None and (folder / PLAN).exists():
            plan = load_plan(folder / PLAN)
            if len(plan.recipes) > 1 or plan.splits.train:
                raise ConfigError(
                    f"{folder} is the run of a comparison.", remedy="Resume it as it was started."
                )
            check_start(plan, start)
        else:
            recipes = [resolved(recipe, data)]
            if running.seconds is not None:
                costs = costs_of(recipes, data, **running.engine)
                seconds = running.seconds / trainings
                recipes, _, _ = fit_to_budget(recipes, costs, len(folds), seconds, refits=1)
            plan = Plan(
                seed=recipe.seed,
                protocol="one training" + f", and one for each of {len(folds)} folds" * bool(folds),
                start=mark_of(start),
                recipes=recipes,
                splits=Splits(train=[], score=[]),
            )
        recipe = plan.recipes[0]
        screen.line("auto", recipe_in_words(recipe))
        for key, text in (facts or {}).items():
            screen.line(key, text)
        if running.dry_run:
            raise DryRun(plan)
        work = work_folder(folder, resume=running.resume, stack=stack)
        if folder is not None and not running.resume:
            plan.save(folder / PLAN)
        stack.enter_context(screen.bar)
        screen.expect(trainings * steps_of([recipe], folds=1 + len(folds)))
        engine = {
            **running.engine,
            "checkpoint": work / "training.safetensors",
            "resume": True,
            "callbacks": (
                JsonLines(work / PROGRESS, candidate=recipe.name, training="training"),
                lambda now: screen.tick(recipe.name, recipe.name, now.step),
            ),
        }
        learner, history, objective = make(recipe, data, engine)
        if history.ended:
            screen.line("stopped", f"{recipe.name}: {history.ended}")
        gauges = gauges_of(learner, data, objective)
        run = Run(
            data, data, list(folds), work, engine=running.engine, tick=screen.tick,
            warn=screen.warning, start=None if start is None else start.learner.encoder,
        )  # fmt: skip
        out_of_fold, intervals = _out_of_fold(run, recipe, screen)
        if start is not None and recipe.learn is not None:
            recipe = recipe.model_copy(update={"pretrain": start.recipe.pretrain})
        metrics = Metrics(
            protocol=plan.protocol,
            winner=recipe.name,
            chance={} if held is None and out_of_fold is None else data.task.chance(),
            held_out=held_out_scores(learner, held),
            held_out_intervals=held_out_intervals(learner, held),
            out_of_fold=out_of_fold,
            out_of_fold_intervals=intervals,
            health=None if gauges is None else gauges.as_dict(),
        )
        model = Model(recipe, learner, metrics)
        curves = {recipe.name: history.rows}
        model.page = RunPage(
            model, data, held, description=description, curves=curves, command=typed_command(),
            out_of_fold=run.out_of_fold(plan.recipes[0]),
        )  # fmt: skip
        if folder is not None:
            save_run(model, curves, folder)
    finish(screen, model, gauges, folder)
    return model


def _out_of_fold(
    run: Run, recipe: Recipe, screen: Screen
) -> tuple[dict[str, float] | None, dict[str, Interval]]:
    """Scores of the labels by models trained without them, and how far these may be off."""
    if not run.folds:
        return None, {}
    row = run.row(recipe)
    if row.error is not None:
        screen.warning(f"no score: {row.error}")
        return None, {}
    pooled = run.out_of_fold(recipe)
    if pooled is None:
        return row.scores, {}
    at, logits = pooled
    task, y = run.data.task, run.scored.y[at]
    return finite(task.scores(logits, y)), task.intervals(logits, y)
