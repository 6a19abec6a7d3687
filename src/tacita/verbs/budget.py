"""How long trainings take on this machine, which of them a budget has room for, and with how many steps."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from heapq import heappop, heappush
from time import monotonic
from typing import Any, NamedTuple

from tacita.adapt.trained import Trained
from tacita.catalog.recipe import Recipe
from tacita.data.dataset import Dataset
from tacita.engine.train import train
from tacita.model.build import (
    encoder_for,
    is_baseline,
    learner_for,
    pretraining_for,
    training_options,
    trains,
)
from tacita.verbs.results import pretraining_key
from tacita.words import seconds_in_words

DEFAULT_BUDGET = 600.0
"""Seconds that a comparison may take where none are given; trainings are cut to it, never stretched."""
USABLE = 0.9
"""Share of the time for trainings that is planned; the rest is for scores and for what takes longer."""
LONGEST, SHORTEST = 4.0, 0.25
"""A budget stretches or cuts the methods' own number of steps by at most this. With fewer steps a network
says little of its method, and is left out instead."""
FEWEST_STEPS = 20
LONG = 1.0
"""Seconds of two steps from which no more of them are timed."""


class Cost(NamedTuple):
    """Seconds that a candidate takes: to pretrain, once for all folds, and to learn, for each.

    key: the pretraining's name, which other candidates may share.
    """

    pretrain: float
    learn: float
    key: str = ""


Costs = Mapping[str, Cost]


def costs_of(
    recipes: Sequence[Recipe], data: Dataset, *, room: float = math.inf, **run: Any
) -> dict[str, Cost]:
    """By name, what the candidates that are trained by steps will take; a few steps of each are timed.

    room: seconds for it. Once they are used up, no further candidate is timed, and it has no cost.
    """
    found: dict[str, Cost] = {}
    pretrained: dict[str, float] = {}
    began = monotonic()
    for recipe in recipes:
        if not steps_by(recipe):
            continue
        if monotonic() - began > room:
            break
        key = ""
        if recipe.pretrain is not None:
            key = pretraining_key(recipe)
            if key not in pretrained:
                pretrained[key] = _seconds(recipe, "pretrain", data, **run)
        learn = _seconds(recipe, "learn", data, **run) if trains(recipe, "learn") else 0.0
        found[recipe.name] = Cost(pretrained.get(key, 0.0), learn, key)
    return found


def steps_by(recipe: Recipe) -> bool:
    """Whether anything in a recipe is trained by steps."""
    return any(trains(recipe, key) for key in ("pretrain", "learn"))


def makespan(costs: Costs, folds: int, processes: int, *, refits: int) -> float:
    """Seconds until all of it is done, by so many at once: pretrainings first, then the cheapest folds.

    refits: how many are fitted once more at the end: the winner, or an ensemble's members; the dearest count.
    """
    order = sorted(costs.values(), key=lambda cost: cost.pretrain + cost.learn)
    left = [folds] * len(order)
    ready: dict[str, float] = {"": 0.0}
    """When a pretraining that has begun is over."""
    free = [0.0] * processes
    end = 0.0
    while True:
        begun = next((cost for cost in order if cost.key not in ready), None)
        if begun is None and not any(left):
            break
        now = heappop(free)
        if begun is not None:
            ready[begun.key] = now = now + begun.pretrain
        else:
            can = (i for i, cost in enumerate(order) if left[i] and ready[cost.key] <= now)
            place = next(can, None)
            if place is not None:
                left[place] -= 1
                now += order[place].learn
            else:  # All that is left waits for pretrainings.
                now = min(moment for moment in ready.values() if moment > now)
        heappush(free, now)
        end = max(end, now)
    return end + refitting(costs, processes, refits)


def refitting(costs: Costs, processes: int, refits: int) -> float:
    """The last of it: seconds until so many are fitted once more."""
    again = sorted((cost.learn for cost in costs.values()), reverse=True)[:refits]
    return max(sum(again) / processes, *again[:1], 0.0)


def fit_to_budget(
    recipes: Sequence[Recipe],
    costs: Costs,
    folds: int,
    budget: float,
    *,
    processes: int = 1,
    refits: int = 0,
    longest: float = LONGEST,
    leave_out: bool = False,
) -> tuple[list[Recipe], dict[str, Cost], dict[str, str]]:
    """Recipes with their steps stretched or cut alike to fill a budget, their costs, and who was left out.

    The share is a power of the root of two, so that timings which differ a little make one plan.
    leave_out: whether candidates that cannot have a quarter of their own steps are left out, the dearest
    first, as long as others are there.
    """
    kept, costs = list(recipes), dict(costs)
    left: dict[str, str] = {}
    room = USABLE * budget
    while True:
        takes = makespan(costs, folds, processes, refits=refits)
        share = room / takes if takes else longest
        if share >= SHORTEST or not leave_out or len(kept) < 2 or not costs:
            break
        name = max(costs, key=lambda each: costs[each].pretrain + folds * costs[each].learn)
        cost = costs.pop(name)
        kept = [each for each in kept if each.name != name]
        alone = SHORTEST * makespan({name: cost}, folds, processes, refits=refits)
        left[name] = (
            f"a quarter of its usual steps would take {seconds_in_words(alone)},"
            f" and networks have {seconds_in_words(room)}" + (" together" if alone < room else "")
        )
    steps = 2 ** (math.floor(2 * math.log2(min(longest, max(share, 1e-9)))) / 2)
    costs = {
        name: Cost(cost.pretrain * steps, cost.learn * steps, cost.key)
        for name, cost in costs.items()
    }
    return [_stretched(each, steps) for each in kept], costs, left


def in_order(recipes: Sequence[Recipe], costs: Costs, shares: Sequence[float]) -> list[Recipe]:
    """As they are tried: baselines, those first that were good on other data, then networks by their time.

    shares: of each candidate, as `prior_shares` has them; time may end before all have had their turn.
    """
    known = dict(zip((each.name for each in recipes), shares, strict=True))

    def place(recipe: Recipe) -> tuple[bool, float]:
        cost = costs.get(recipe.name, Cost(0.0, 0.0))
        network = not is_baseline(recipe)
        return network, cost.pretrain + cost.learn if network else -known[recipe.name]

    return sorted(recipes, key=place)


def _seconds(recipe: Recipe, key: str, data: Dataset, **run: Any) -> float:
    encoder = encoder_for(recipe, data.spec)
    data = data.learnable()
    if key == "pretrain":
        objective = pretraining_for(recipe, encoder)
    else:
        learner = learner_for(recipe, encoder)
        assert isinstance(learner, Trained)
        objective = learner.build(data)
        data = learner.learnt_from(data)
    options = training_options(recipe, key) | run
    options.pop("patience", None)  # All steps are timed.
    # The first steps are slower; where they take long, that is little beside what they do.
    few = train(copy.deepcopy(objective), data, **{**options, "steps": 2})
    if few.seconds > LONG:
        return options["steps"] * few.seconds / 2
    history = train(objective, data, **{**options, "steps": 6})
    return options["steps"] * history.seconds / 6


def _stretched(recipe: Recipe, share: float) -> Recipe:
    for key in ("pretrain", "learn"):
        section = recipe.sections.get(key)
        if section is not None and "steps" in section.train:
            steps = max(FEWEST_STEPS, round(section.train["steps"] * share))
            section = section.model_copy(update={"train": {**section.train, "steps": steps}})
            recipe = recipe.model_copy(update={key: section})
    return recipe
