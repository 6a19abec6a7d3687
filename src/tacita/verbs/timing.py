"""A comparison in its budget: what the plan may use, how many processes, and when folds end."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from time import monotonic

import numpy as np
import torch
from torch.nn import functional

from tacita.catalog.recipe import Recipe
from tacita.data.dataset import Dataset
from tacita.encoder import Encoder
from tacita.model.build import trains
from tacita.verbs.budget import (
    DEFAULT_BUDGET,
    LONGEST,
    Cost,
    costs_of,
    fit_to_budget,
    makespan,
    refitting,
    steps_by,
)
from tacita.verbs.deadline import Deadline
from tacita.verbs.options import Running
from tacita.verbs.plan import Plan, Splits
from tacita.verbs.workers import WORTH, on_one_thread, one_thread, processes_for
from tacita.words import seconds_in_words

TOO_FEW = 200
"""Steps of a whole comparison that are not worth being timed."""
OVER = 10.0
"""Seconds by which a budget may be overrun where trainings take longer than was planned."""
TIMING = 0.15
"""Share of a budget in which networks are timed; where several are usual, the others are left out by name."""
REPORT = 6.0
"""Seconds that the report takes, about."""
START = 10.0
"""Seconds that processes take to begin, about."""
STEPS = 20
"""Of a small convolution, timed alone and several at once."""


def budgeted(
    recipes: list[Recipe],
    data: Dataset,
    splits: Splits,
    running: Running,
    spent: float,
    *,
    start: Encoder | None,
    auto: bool,
) -> tuple[list[Recipe], dict[str, Cost], dict[str, str]]:
    """Recipes whose steps fit into the budget, what they are expected to take, and who was left out.

    Without a budget they are cut to the default one, and never stretched. spent: seconds of it so far.
    start: the encoder that all candidates start from, if they do. auto: whether candidates may be left out,
    and an ensemble made of the others.
    """
    folds = len(splits.train)
    refits = refits_of(splits, len(recipes) if auto else 1)
    if running.seconds is None and _steps(recipes) * folds <= TOO_FEW:
        return recipes, {}, {}
    budget = _budget(running)
    room = TIMING * budget if auto else math.inf
    began = monotonic()
    with one_thread() if on_one_thread(running.device) else nullcontext():
        costs = costs_of(recipes, data, room=room, **running.engine)
    timing = monotonic() - began
    untimed = [each.name for each in recipes if steps_by(each) and each.name not in costs]
    late = f"to time a few steps of those before it took {seconds_in_words(timing)} of the budget"
    left = dict.fromkeys(untimed, late)
    recipes = [each for each in recipes if each.name not in left]
    if not costs or budget == math.inf:
        return recipes, costs, left
    takes = makespan(costs, folds, 1, refits=refits)
    most = processes_for(data, recipes, running.device, start) if takes > WORTH else 1
    # Of a short budget the start of processes takes more than they save: what leaves more steps is planned.
    plans = [
        fit_to_budget(
            recipes,
            crowded(costs, processes),
            folds,
            max(0.0, budget - spent - timing - REPORT - START * (processes > 1)),
            processes=processes,
            refits=refits,
            longest=1.0 if running.seconds is None else LONGEST,
            leave_out=auto,
        )
        for processes in sorted({1, most})
    ]
    recipes, costs, dear = max(plans, key=lambda plan: _steps(plan[0]))
    return recipes, costs, {**left, **dear}


def crowded(costs: Mapping[str, Cost], processes: int) -> dict[str, Cost]:
    """What trainings take where so many processes train at once, each on one thread."""
    longer = crowding(processes)
    return {
        name: Cost(cost.pretrain * longer, cost.learn * longer, cost.key)
        for name, cost in costs.items()
    }


def crowding(processes: int) -> float:
    """How many times as long a step takes where so many are taken at once, from 1; half a second of them.

    Two processors of one core share its arithmetic, and all of them share caches, memory and what else runs.
    """
    if processes < 2:
        return 1.0
    with one_thread(), ThreadPoolExecutor(processes) as pool:
        _convolve()
        alone = min(_convolve() for _ in range(3))
        together = [each for _ in range(3) for each in pool.map(_convolve, [STEPS] * processes)]
    return max(1.0, float(np.median(together)) / alone)


def _convolve(steps: int = STEPS) -> float:
    """Seconds of so many steps of a small convolution with batch norm, such as the networks here are of."""
    torch.set_num_threads(1)  # Of this thread; a new one would take all cores.
    # Ones, so that nobody's random numbers move.
    weight, x = torch.ones(32, 32, 3, 3, requires_grad=True), torch.ones(16, 32, 16, 16)
    began = monotonic()
    for _ in range(steps):
        maps = functional.conv2d(x, weight, padding=1)
        normed = functional.batch_norm(maps, None, None, training=True)
        torch.autograd.backward(functional.relu(normed).sum())
    return monotonic() - began


def processes_of(plan: Plan, data: Dataset, device: str, start: Encoder | None) -> int:
    """How many processes a plan's folds are shared out to; 1 for those that would hardly have begun."""
    takes = makespan(plan.expected, len(plan.splits.train), 1, refits=0)
    return processes_for(data, plan.recipes, device, start) if takes > WORTH else 1


def expected_in_words(plan: Plan, processes: int, spent: float) -> str:
    """What the whole will take, and of what."""
    folds = len(plan.splits.train)
    refits = refits_of(plan.splits, len(plan.recipes) if plan.ensemble else 1)
    whole = spent + makespan(plan.expected, folds, processes, refits=refits)
    whole += REPORT + START * (processes > 1)
    each = {name: cost.pretrain + folds * cost.learn for name, cost in plan.expected.items()}
    parts = ", ".join(f"{name} {seconds_in_words(takes)}" for name, takes in each.items())
    how = f"in {processes} processes of one thread" if processes > 1 else "in this process"
    return f"about {seconds_in_words(whole)} {how}: {parts}; beside baselines"


def deadline_of(plan: Plan, processes: int, running: Running, began: float) -> Deadline:
    """When a run that began at a moment is to be over, and what is expected of it by then."""
    refits = refits_of(plan.splits, len(plan.recipes) if plan.ensemble else 1)
    after = refitting(plan.expected, processes, refits) + REPORT
    return Deadline(began + _budget(running) + OVER, after, plan.expected)


def refits_of(splits: Splits, candidates: int) -> int:
    """How many candidates may be fitted once more on all labels; a draw's model is there already."""
    return 0 if splits.score_on_held_out else candidates


def _budget(running: Running) -> float:
    """Seconds: those given, the default, or no end of them where the budget is "none"."""
    return running.seconds or (DEFAULT_BUDGET if running.budget is None else math.inf)


def _steps(recipes: Sequence[Recipe]) -> int:
    sections = ((recipe, key) for recipe in recipes for key in ("pretrain", "learn"))
    return sum(
        recipe.sections[key].train["steps"] for recipe, key in sections if trains(recipe, key)
    )
