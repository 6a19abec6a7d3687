"""The ensemble of a comparison's candidates: how much each counts, and how good it is found to be.

With few labels the scores of single candidates are mostly chance, and the best of many is lucky; the mean
of those that do well depends on no single score. Weights come from predictions out of fold, and so does
the ensemble's own score: for each fold by weights that the other folds' labels give.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tacita.catalog.recipe import Member, Recipe
from tacita.errors import TacitaError
from tacita.learner import Learner
from tacita.model.build import ensemble_of, uses_unlabelled
from tacita.model.metrics import Row
from tacita.parts.mixture import kept_weights, mixture_weights, temperature
from tacita.tasks import Task
from tacita.verbs.prior import prior_shares
from tacita.verbs.run import Run

NAME = "ensemble"


@dataclass(frozen=True)
class Blend:
    """An ensemble that can be fitted.

    recipe: its members, with their weights and temperatures. row: its line of the leaderboard.
    out_of_fold: positions in `scored`, and predictions for them by weights and models that did not see them;
        None without folds.
    """

    recipe: Recipe
    row: Row
    out_of_fold: tuple[Tensor, Tensor] | None


def blend(run: Run, recipes: Sequence[Recipe], rows: Mapping[str, Row]) -> Blend | None:
    """The ensemble of the candidates that have a score; without folds, of those that are good on other data.

    None where fewer than two of them are worth a weight, where draws of the labels are scored on samples
    kept aside (there is no label left to find weights by), and for a task whose answers have no mean.
    """
    task = run.data.task
    if not run.folds:
        return _before_any_score(run, [each for each in recipes if rows[each.name].error is None])
    scored = [each for each in recipes if rows[each.name].mean is not None]
    pooled = {each.name: run.out_of_fold(each) for each in scored}
    logits = {name: kept[1] for name, kept in pooled.items() if kept is not None}
    if not task.blends or run.draws or len(logits) < 2:
        return None
    at = next(kept[0] for kept in pooled.values() if kept is not None)
    y = run.scored.y[at]
    shares = prior_shares(run.data.modality, task, list(logits))
    found = _weights(task, logits, y, shares)
    if len(found) < 2:
        return None
    members = [
        Member(weight=found[each.name][0], temperature=found[each.name][1], recipe=each)
        for each in scored
        if each.name in found
    ]
    recipe = Recipe(name=NAME, seed=members[0].recipe.seed, members=members)
    outside = torch.empty(0)
    scores = []
    for number, fold in enumerate(run.folds):
        others = ~torch.isin(at, fold.score)
        by = _weights(task, {n: each[others] for n, each in logits.items()}, y[others], shares)
        mine = {each.name: run.predicted(each, number) for each in scored if each.name in logits}
        answer = _blended(task, mine, by)
        scores.append(task.scores(answer, run.scored.y[fold.score]))
        if not len(outside):
            outside = answer.new_full((len(at), answer.shape[1]), torch.nan)
        places = torch.searchsorted(at, fold.score)
        # A sample that several folds scored has the prediction of the first.
        first = outside[places].isnan().all(1)
        outside[places[first]] = answer[first]
    of_members = [rows[each.recipe.name] for each in members]
    row = run.row_of(
        NAME,
        scores,
        interval=task.intervals(outside, y).get(run.metric),
        seconds=sum(each.seconds for each in of_members),
        peak_mb=max(each.peak_mb for each in of_members),
        unlabelled=uses_unlabelled(recipe),
    )
    return Blend(recipe, row, (at, outside))


def _before_any_score(run: Run, recipes: Sequence[Recipe]) -> Blend:
    names = [each.name for each in recipes]
    weights = kept_weights(prior_shares(run.data.modality, run.data.task, names))
    both = zip(weights.tolist(), recipes, strict=True)
    members = [Member(weight=weight, recipe=each) for weight, each in both if weight > 0]
    recipe = Recipe(name=NAME, seed=recipes[0].seed, members=members)
    row = run.row_of(NAME, [], unlabelled=uses_unlabelled(recipe))
    return Blend(recipe, row, None)


def refit_members(run: Run, recipe: Recipe) -> tuple[Recipe, Learner]:
    """An ensemble of members fitted on all labels; one that fails is left out by name.

    Raises the error of the last where none is left.
    """
    found: list[tuple[Member, Learner]] = []
    last: TacitaError | None = None
    for each in recipe.members or ():
        try:
            found.append((each, run.refit(each.recipe)))
        except TacitaError as error:
            run.alarm(f"{each.recipe.name} is left out of the ensemble: {error.message}")
            last = error
    if not found and last is not None:
        raise last
    recipe = recipe.model_copy(update={"members": [each for each, _ in found]})
    return recipe, ensemble_of(recipe, [each for _, each in found]).of_fitted()


def in_words(recipe: Recipe) -> str:
    """Who is in an ensemble, the weightiest first."""
    members = sorted(recipe.members or (), key=lambda each: -each.weight)
    return ", ".join(f"{each.recipe.name} {each.weight:.0%}" for each in members)


def _weights(
    task: Task, logits: Mapping[str, Tensor], y: Tensor, prior: Tensor
) -> dict[str, tuple[float, float]]:
    """By name, the weight and the temperature of the candidates that are to count."""

    def losses(name: str) -> Callable[[float], Tensor]:
        return lambda heat: -task.log_likelihoods(task.tempered(logits[name], heat), y)

    heats = {name: temperature(losses(name)) for name in logits}
    likelihoods = torch.stack([-losses(name)(heats[name]) for name in logits], 1)
    weights = kept_weights(mixture_weights(likelihoods, prior))
    both = zip(logits, weights.tolist(), strict=True)
    return {name: (weight, heats[name]) for name, weight in both if weight > 0}


def _blended(
    task: Task, logits: Mapping[str, Tensor], by: Mapping[str, tuple[float, float]]
) -> Tensor:
    tempered = [task.tempered(logits[name], heat) for name, (_, heat) in by.items()]
    return task.blended(tempered, [weight for weight, _ in by.values()])
