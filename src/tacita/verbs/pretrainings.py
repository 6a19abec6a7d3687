"""Several ways to pretrain under one budget: what each encoder is worth, with labels or without any.

Every candidate gets the same share of the time and is looked at in the same way. Where there are
labels, probes of the frozen encoder rank them; where there are none, the rank of the embeddings does,
but among runs of one method with one encoder only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic

import numpy as np
import torch

from tacita.adapt.knn import Knn
from tacita.adapt.linear_probe import LinearProbe
from tacita.audit.health.rankme import highest
from tacita.catalog.recipe import Recipe
from tacita.data.check import check_trainable
from tacita.data.dataset import Dataset
from tacita.engine.history import peak_memory_mb, reset_peak_memory
from tacita.errors import ConfigError, DryRun, TacitaError
from tacita.learner import EncoderOnly
from tacita.model.metrics import Metrics, PretrainingRow
from tacita.model.model import Model
from tacita.report.describe import Description
from tacita.verbs.budget import costs_of, fit_to_budget
from tacita.verbs.common import finish, held_out_scores, recipe_in_words, save_run, steps_of
from tacita.verbs.folder import ENCODERS, PLAN, work_folder
from tacita.verbs.options import Running
from tacita.verbs.page import RunPage
from tacita.verbs.plan import (
    Plan,
    Splits,
    candidates,
    folds_of,
    make_splits,
    named_recipe,
    parts,
)
from tacita.verbs.results import file_name
from tacita.verbs.run import Run
from tacita.verbs.screen import Screen
from tacita.verbs.start import mark_of, starting_from


@dataclass(frozen=True)
class Comparison:
    """What is compared, and where and how.

    names: of recipes, methods or YAML files; `plan` replays an earlier comparison instead.
    start: the model whose encoder all go on from; test, labels_per_class, draws: as in `fit`, for the
        probes.
    """

    names: Sequence[str | Recipe]
    plan: Plan | None
    start: Model | None
    test: Dataset | None
    labels_per_class: int | None
    draws: int | None
    running: Running
    folder: Path | None
    command: str


def only_pretraining(recipe: str | Sequence[str | Recipe], replayed: Plan | None) -> bool:
    """Whether all that is to be compared pretrains and learns from no label.

    Raises `ConfigError` where some do and some do not, which no figure could compare.
    """
    if replayed is None and recipe == "auto":
        return False
    if replayed is not None:
        recipes = replayed.recipes
    else:
        recipes = [named_recipe(name) for name in ([recipe] if isinstance(recipe, str) else recipe)]
    without = [each.name for each in recipes if each.learn is None]
    if without and len(without) < len(recipes):
        others = next(each.name for each in recipes if each.learn is not None)
        raise ConfigError(
            f"{without[0]} pretrains and predicts nothing, so it cannot be compared with {others}.",
            remedy="Name a recipe that pretrains and then learns, such as barlow-linear-probe, "
            "or compare methods that pretrain with each other.",
        )
    return bool(without)


def compare_pretrainings(
    whole: Dataset, description: Description, comparison: Comparison, screen: Screen
) -> Model:
    """Train every candidate, look at its encoder, and give back the best as far as that can be told."""
    began = monotonic()
    plan = comparison.plan or _plan(whole, comparison)
    first = comparison.start
    pool, held = parts(whole, comparison.test, plan, None if first is None else whole.normaliser)
    for each in plan.recipes:
        screen.line("auto", recipe_in_words(each))
    screen.line("plan", plan.protocol)
    folder, running = comparison.folder, comparison.running
    if running.dry_run:
        raise DryRun(plan)
    with ExitStack() as stack:
        work = work_folder(folder, resume=running.resume, stack=stack)
        if folder is not None and not running.resume:
            plan.save(folder / PLAN)
        scored = held if plan.splits.score_on_held_out and held is not None else pool
        run = Run(
            pool,
            scored,
            folds_of(plan, pool, scored),
            work,
            start=None if first is None else first.learner.encoder,
            engine=running.engine,
            tick=screen.tick,
            warn=screen.warning,
        )
        stack.enter_context(screen.bar)
        screen.expect(steps_of(plan.recipes, folds=0))
        rows = []
        for each in plan.recipes:
            rows.append(_row(run, each))
            screen.pretraining(rows[-1])
        rows, best, reason = judged(rows, plan.recipes)
        winner = next(each for each in plan.recipes if each.name == best)
        gauges = run.health(winner)
        metrics = Metrics(
            protocol=plan.protocol,
            winner=winner.name,
            pretrainings=rows,
            held_out=_held_out(run, winner, held),
            health=gauges.as_dict(),
        )
        model = Model(winner, EncoderOnly(run.encoder(winner)).fit(pool), metrics)
        model.page = RunPage(
            model, pool, description=description, curves=run.histories, command=comparison.command
        )
        if folder is not None:
            for each, row in ((r, _found(rows, r)) for r in plan.recipes):
                if row.error is None:
                    kept = EncoderOnly(run.encoder(each)).fit(pool)
                    figures = Metrics(
                        protocol=plan.protocol,
                        winner=each.name,
                        pretrainings=[row],
                        health=run.health(each).as_dict(),
                    )
                    Model(each, kept, figures).save(folder / ENCODERS / file_name(each))
            save_run(model, run.histories, folder)
    screen.pretrainings(rows, best)
    screen.line("result", reason)
    finish(screen, model, gauges, folder)
    if folder is not None:
        screen.line("kept", f"{folder / ENCODERS}: the encoder of every candidate")
    screen.line("took", f"{monotonic() - began:.0f} s")
    return model


def _plan(whole: Dataset, comparison: Comparison) -> Plan:
    running = comparison.running
    seed = running.seed
    if bool(whole.labelled.any()):
        check_trainable(whole)
        splits, protocol = make_splits(
            whole, comparison.test, comparison.labels_per_class, comparison.draws, seed
        )
        protocol = f"probes of the frozen encoders in {protocol}"
    elif comparison.test is not None or comparison.labels_per_class is not None:
        raise ConfigError(
            f"{whole.source} has no label for a probe to learn from.",
            remedy="Leave test, labels_per_class and draws out, or give labels.",
        )
    else:
        splits, protocol = Splits(train=[], score=[]), "no labels: the rank of the embeddings"
    first = comparison.start
    begin = None if first is None else partial(starting_from, first)
    recipes, skipped = candidates(whole, comparison.names, seed, begin)
    if running.seconds is not None:
        share = running.seconds / len(recipes)
        costs = costs_of(recipes, whole.normalised(), **running.engine)
        recipes = [
            fit_to_budget([each], {each.name: costs[each.name]}, 0, share)[0][0] for each in recipes
        ]
    return Plan(
        seed=seed,
        protocol=protocol,
        start=mark_of(first),
        recipes=recipes,
        skipped=skipped,
        splits=splits,
    )


def _row(run: Run, recipe: Recipe) -> PretrainingRow:
    """Train one candidate and look at its encoder; an error of ours becomes words."""
    assert recipe.pretrain is not None
    facts = {
        "name": recipe.name,
        "method": recipe.pretrain.method,
        "steps": recipe.pretrain.train["steps"],
    }
    reset_peak_memory()
    try:
        gauges = run.health(recipe)
    except TacitaError as error:
        return PretrainingRow(**facts, error=error.message)
    return PretrainingRow(
        **facts,
        probe=_probed(run, recipe, LinearProbe),
        knn=_probed(run, recipe, Knn),
        rank=gauges.rank,
        width=gauges.embedding_dim or gauges.dim,
        alignment=gauges.alignment,
        uniformity=gauges.uniformity,
        seconds=round(run.pretraining_seconds(recipe), 2),
        peak_mb=round(peak_memory_mb(torch.device("cpu")), 1),
        warnings=list(gauges.warnings),
    )


def _probed(run: Run, recipe: Recipe, probe: type[LinearProbe | Knn]) -> float | None:
    """The mean score of a probe over the folds; None without labels."""
    scores = []
    for fold in run.folds:
        learner = probe(run.encoder(recipe)).fit(run.data.hide_labels(fold.train))
        part = run.scored.subset(fold.score)
        scores.append(learner.task_.scores(learner.logits(part), part.y)[run.metric])
    return float(np.mean(scores)) if scores else None


def _held_out(run: Run, winner: Recipe, held: Dataset | None) -> dict[str, float] | None:
    """What a linear probe of the winner scores on what no probe was fitted or chosen on."""
    if held is None:
        return None
    probe = LinearProbe(run.encoder(winner)).fit(
        run.data.hide_labels(run.folds[0].train) if run.scored is held else run.data
    )
    return held_out_scores(probe, held)


def judged(
    rows: Sequence[PretrainingRow], recipes: Sequence[Recipe]
) -> tuple[list[PretrainingRow], str, str]:
    """The rows, the best first where that can be told; the name of the one to keep; and why.

    Raises `ConfigError` where none could be trained.
    """
    trained = [row for row in rows if row.error is None]
    if not trained:
        reasons = "; ".join(f"{row.name}: {row.error}" for row in rows)
        raise ConfigError(
            f"No candidate could be trained ({reasons}).", remedy="See the reasons given."
        )
    if trained[0].probe is not None:
        ordered = sorted(rows, key=lambda row: -math.inf if row.probe is None else -row.probe)
        ordered = [r for r in ordered if r.error is None] + [r for r in ordered if r.error]
        best = ordered[0]
        return ordered, best.name, f"{best.name} is best by the linear probe."
    kinds: dict[str, dict[str, float]] = {}
    for row, recipe in zip(rows, recipes, strict=True):
        if row.rank is not None:
            kinds.setdefault(f"{row.method} {recipe.encoder} {row.width}", {})[row.name] = row.rank
    first = next(iter(kinds.values()))
    best_name = highest(first)
    if len(kinds) == 1 and len(first) > 1:
        ordered = sorted(rows, key=lambda row: math.inf if row.rank is None else -row.rank)
        words = f"{len(first)} runs of {trained[0].method}."
        if first[best_name] < max(first.values()):
            words = f"{best_name} is kept: its rank is within a hundredth of the highest of {words}"
        else:
            words = f"{best_name} has the highest rank of {words}"
        return ordered, best_name, words
    told = [
        f"by rank {highest(runs)} of {len(runs)} runs of {kind.split()[0]}"
        for kind, runs in kinds.items()
        if len(runs) > 1
    ]
    words = (
        "rank compares runs of one method, so without labels it does not tell which method is best"
    )
    if len(trained) == 1:
        words = "one run has nothing to be compared with"
    return list(rows), best_name, "; ".join([words, *told]) + f"; {best_name} is given back."


def _found(rows: Sequence[PretrainingRow], recipe: Recipe) -> PretrainingRow:
    return next(row for row in rows if row.name == recipe.name)
