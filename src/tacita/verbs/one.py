"""The single steps of the main job as verbs of their own: pretrain, adapt, compare."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch

from tacita.adapt.trained import Trained
from tacita.catalog.recipe import Recipe, recipe_from_options
from tacita.catalog.values import parse_duration
from tacita.data.check import check_trainable
from tacita.data.dataset import Dataset
from tacita.data.reading import Missing
from tacita.data.splits import HELD_OUT, enough_to_hold_out, hold_out
from tacita.encoder import Encoder
from tacita.engine.devices import make_fabric
from tacita.engine.history import History, JsonLines
from tacita.errors import ConfigError, DryRun
from tacita.learner import EncoderOnly, Learner, NetworkLearner
from tacita.model.build import encoder_for, learner_for, needs_encoder, pretrain_encoder
from tacita.model.metrics import Metrics
from tacita.model.model import Model
from tacita.objective import Objective
from tacita.report.describe import describe
from tacita.verbs.common import (
    finish,
    gauges_of,
    held_out_scores,
    read_dataset,
    recipe_in_words,
    run_folder,
    save_run,
    steps_of,
    typed_command,
    with_unlabelled,
)
from tacita.verbs.fit import fit
from tacita.verbs.folder import PLAN, PROGRESS, check_folder, work_folder
from tacita.verbs.going_on import check_apart, going_on, kept_at, read_past, state_of
from tacita.verbs.plan import Plan, Splits, fit_to_budget, load_plan, resolved
from tacita.verbs.screen import Screen


def pretrain(
    method: str,
    data: Any,
    y: Any = None,
    *,
    start: Model | str | Path | None = None,
    replay: Any = None,
    labels: str | Path | None = None,
    task: str | None = None,
    budget: float | str | None = None,
    seed: int = 0,
    out: str | Path | None = None,
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
    **options: Any,
) -> Model:
    """Train an encoder on all samples without using a label; the model embeds, and can be adapted.

    start: a model or its folder, whose encoder is trained on from where it is, seeing the new data
        through its normaliser; it is not changed. (`resume` goes on with a run that was interrupted.)
        Where its run had `schedule="infinite"` and the same method, and was kept in a folder, that run
        itself goes on at its constant rate: heads, teachers, the optimiser's moments and all of its
        options, where no other is given. `schedule="cosine"` starts anew from the encoder.
    replay: earlier data, as a path, a name, samples in memory or a list of these: a share of every batch
        (`replay_share=0.1`) is drawn evenly from all of them.
    `options`: arguments of the method, of `tacita.train` (`steps`, `batch_size`, ...), `encoder`
    and `encoder.NAME`. Labels, where there are any, only serve the report. All else as in `fit`.
    """
    reading: dict[str, Any] = {
        "labels": labels, "task": task, "group": group, "missing": missing,
        "modality": modality, "image_size": image_size, "series_id": series_id, "time": time,
    }  # fmt: skip
    whole = read_dataset(data, y, **reading)
    past = None if replay is None else read_past(replay, reading)
    recipe = recipe_from_options("pretrain", method, options, seed)
    encoder, state = None, None
    if start is not None:
        first = start if isinstance(start, Model) else Model.load(start)
        encoder, whole = _started(first, whole, recipe)
        state = state_of(first, recipe)
        if state is not None:
            check_apart(out, state)
            recipe = going_on(first, recipe)
        recipe = recipe.model_copy(update={"encoder": first.recipe.encoder})
    if whole.normaliser is None:
        whole = whole.normalised()
    settings = Settings(
        data,
        out,
        budget,
        resume,
        overwrite,
        dry_run,
        quiet,
        {"device": device, "precision": precision},
    )

    def make(recipe: Recipe, pool: Dataset, engine: dict[str, Any]) -> Made:
        begin = copy.deepcopy(encoder)
        alarm = Screen(quiet=quiet).warning
        engine |= {"start": state, "replay": past, "keep": kept_at(recipe, engine["checkpoint"])}
        trained, objective, history = pretrain_encoder(
            recipe, pool, encoder=begin, alarm=alarm, **engine
        )
        return Made(EncoderOnly(trained).fit(pool), history, objective)

    facts = {} if state is None else {"goes on": f"{state.parent} at its constant rate"}
    return run_one(recipe, whole, None, settings, make, facts=facts)


def adapt(
    method: str,
    data: Any,
    y: Any = None,
    *,
    start: Model | str | Path | None = None,
    unlabelled: Any = None,
    labels: str | Path | None = None,
    task: str | None = None,
    budget: float | str | None = None,
    seed: int = 0,
    out: str | Path | None = None,
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
    **options: Any,
) -> Model:
    """Learn from the labels with one method, from a pretrained encoder on where `start` gives one.

    start: a model or its folder. Its encoder and its normaliser are used; neither is changed.
    unlabelled: further samples of the same form; their labels, if they have any, are not looked at.
    Labels that suffice are held out for a figure; all else as in `pretrain`.
    """
    whole = read_dataset(
        data, y, labels=labels, task=task, group=group, missing=missing,
        modality=modality, image_size=image_size, series_id=series_id, time=time,
    )  # fmt: skip
    whole = with_unlabelled(whole, unlabelled, Screen(quiet=quiet))
    check_trainable(whole)
    recipe = recipe_from_options("learn", method, options, seed)
    encoder = None
    if start is not None:
        first = start if isinstance(start, Model) else Model.load(start)
        encoder, whole = _started(first, whole, recipe)
        recipe = recipe.model_copy(
            update={"encoder": first.recipe.encoder, "pretrain": first.recipe.pretrain}
        )
        recipe.check()
    held = None
    if enough_to_hold_out(whole):
        _, aside = hold_out(whole, HELD_OUT, seed)
        outside = torch.isin(torch.arange(len(whole)), aside)
        held, whole = whole.subset(aside), whole.subset(~outside)
    if whole.normaliser is None:
        whole = whole.normalised()
    settings = Settings(
        data,
        out,
        budget,
        resume,
        overwrite,
        dry_run,
        quiet,
        {"device": device, "precision": precision},
    )

    def make(recipe: Recipe, pool: Dataset, engine: dict[str, Any]) -> Made:
        begin = None
        if needs_encoder(recipe):
            begin = encoder or encoder_for(recipe, pool.spec)
        alarm = Screen(quiet=quiet).warning
        learner = learner_for(recipe, begin, engine, alarm).fit(pool, seed=seed)
        return Made(learner, learner.history_ if isinstance(learner, Trained) else History(0))

    return run_one(recipe, whole, held, settings, make)


def compare(data: Any, methods: str | Sequence[str], y: Any = None, **options: Any) -> Model:
    """Several recipes, methods or YAML files on the same splits; `options` as in `tacita.fit`.

    The best is refitted on all labels and given back, as `fit` does. Methods that pretrain need no
    labels: they are compared by what their encoders are found to be.
    """
    names = methods.split(",") if isinstance(methods, str) else list(methods)
    return fit(data, y, recipe=names, **options)


class Made(NamedTuple):
    """What a training made: a learner, how it went, and (of pretraining) what was trained."""

    learner: Learner
    history: History
    objective: Objective[Any] | None = None


@dataclass(frozen=True)
class Settings:
    """Where a single training is kept and how it runs."""

    origin: Any
    out: str | Path | None
    budget: float | str | None
    resume: bool
    overwrite: bool
    dry_run: bool
    quiet: bool
    engine: dict[str, Any]


def run_one(
    recipe: Recipe,
    data: Dataset,
    held: Dataset | None,
    settings: Settings,
    make: Callable[[Recipe, Dataset, dict[str, Any]], Made],
    *,
    facts: Mapping[str, str] | None = None,
    trainings: int = 1,
) -> Model:
    """Resolve one recipe, train it where it can be resumed, save it and say how it went.

    facts: further lines for the screen; trainings: how often `make` takes the recipe's steps.
    """
    screen = Screen(quiet=settings.quiet)
    description = describe(data, held)
    screen.lines(description.lines())
    folder = run_folder(settings.origin, settings.out, settings.resume)
    check_folder(folder, resume=settings.resume, overwrite=settings.overwrite)
    make_fabric(**settings.engine)  # Refuses a device that is not there.
    if settings.resume and folder is not None and (folder / PLAN).exists():
        plan = load_plan(folder / PLAN)
    else:
        seconds = None if settings.budget is None else parse_duration(settings.budget)
        recipes = fit_to_budget([resolved(recipe, data)], data, 1, seconds, **settings.engine)
        empty = Splits(train=[], score=[])
        plan = Plan(seed=recipe.seed, protocol="one training", recipes=recipes, splits=empty)
    recipe = plan.recipes[0]
    screen.line("auto", recipe_in_words(recipe))
    for key, text in (facts or {}).items():
        screen.line(key, text)
    if settings.dry_run:
        raise DryRun(plan)
    with ExitStack() as stack:
        work = work_folder(folder, resume=settings.resume, stack=stack)
        if folder is not None and not settings.resume:
            plan.save(folder / PLAN)
        stack.enter_context(screen.bar)
        screen.expect(trainings * steps_of([recipe], folds=1))
        engine = {
            **settings.engine,
            "checkpoint": work / "training.safetensors",
            "resume": True,
            "callbacks": (
                JsonLines(work / PROGRESS, candidate=recipe.name, training="training"),
                lambda step: screen.tick(recipe.name, step),
            ),
        }
        learner, history, objective = make(recipe, data, engine)
        gauges = gauges_of(learner, data, objective)
        metrics = Metrics(
            protocol=plan.protocol,
            winner=recipe.name,
            held_out=held_out_scores(learner, held),
            health=None if gauges is None else gauges.as_dict(),
        )
        model = Model(recipe, learner, metrics)
        if folder is not None:
            curves = {recipe.name: history.rows}
            save_run(model, data, held, curves, description, folder, typed_command())
    finish(screen, model, gauges, folder)
    return model


def _started(first: Model, whole: Dataset, recipe: Recipe) -> tuple[Encoder, Dataset]:
    """The encoder of a model, and the data as that model sees it."""
    if recipe.encoder is not None:
        raise ConfigError(
            f"encoder={recipe.encoder.method} was given beside a model to start from.",
            remedy="Leave it out: the encoder is the model's.",
        )
    if not isinstance(first.learner, NetworkLearner):
        raise ConfigError(
            f"{first.recipe.name} has no encoder to start from.",
            remedy="Start from a pretrained model: tacita pretrain barlow-twins DATA",
        )
    was, now = first.schema.spec, whole.spec
    if was.modality != now.modality or was.channels != now.channels:
        raise ConfigError(
            f"The encoder was made for {was.modality} of shape {was.shape}, "
            f"but {whole.source} has {now.modality} of shape {now.shape}.",
            remedy="Pretrain on data like these.",
        )
    return first.learner.encoder, whole.normalised(first.learner.data_.normaliser)
