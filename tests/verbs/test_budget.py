"""What a budget has room for: steps, who is left out, and that near timings make one plan."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tacita.catalog.recipe import Recipe, Section
from tacita.verbs.budget import (
    SHORTEST,
    USABLE,
    Cost,
    fit_to_budget,
    in_order,
    makespan,
)
from tacita.verbs.timing import crowded, crowding


def network(name: str, steps: int = 600, pretrain: int | None = None) -> Recipe:
    learn = Section(method="supervised", train={"steps": steps})
    before = None if pretrain is None else Section(method="mae", train={"steps": pretrain})
    return Recipe(name=name, pretrain=before, learn=learn)


def steps(recipe: Recipe) -> int:
    assert recipe.learn is not None
    return int(recipe.learn.train["steps"])


SECONDS = st.floats(0.01, 1000)


@given(st.lists(SECONDS, min_size=1, max_size=6), st.integers(1, 9), SECONDS, st.integers(1, 8))
def test_what_is_planned_fits_unless_it_cannot_be_cut_further(
    each: list[float], folds: int, budget: float, processes: int
) -> None:
    recipes = [network(f"n{i}") for i in range(len(each))]
    costs = {recipe.name: Cost(0.0, took) for recipe, took in zip(recipes, each, strict=True)}
    kept, planned, left = fit_to_budget(
        recipes, costs, folds, budget, processes=processes, refits=1, leave_out=True
    )
    assert {recipe.name for recipe in kept} | set(left) == set(costs)
    assert kept
    assert set(planned) == {recipe.name for recipe in kept}
    takes = makespan(planned, folds, processes, refits=1)
    shares = {steps(recipe) / 600 for recipe in kept}
    if len(kept) > 1:
        assert min(shares) >= SHORTEST / 2**0.5
    assert len(shares) == 1
    assert takes <= USABLE * budget * (1 + 1e-6)


def test_the_dearest_goes_first_and_the_reason_names_both_times() -> None:
    recipes = [network("cheap"), network("dear"), network("middling")]
    costs = {"cheap": Cost(0, 1), "dear": Cost(0, 400), "middling": Cost(0, 10)}
    kept, _, left = fit_to_budget(recipes, costs, 5, 60, leave_out=True)
    assert [recipe.name for recipe in kept] == ["cheap", "middling"]
    assert left["dear"] == "a quarter of its usual steps would take 8.3 min, and networks have 54 s"
    # Those that a user has named stay, with fewer steps.
    kept, _, left = fit_to_budget(recipes, costs, 5, 60)
    assert len(kept) == 3
    assert not left
    assert steps(kept[0]) < 600 * SHORTEST


def test_a_budget_stretches_or_only_cuts() -> None:
    one, costs = [network("a")], {"a": Cost(0, 1)}
    assert steps(fit_to_budget(one, costs, 5, 1000)[0][0]) == 2400
    assert steps(fit_to_budget(one, costs, 5, 1000, longest=1.0)[0][0]) == 600
    assert steps(fit_to_budget(one, costs, 5, 3, longest=1.0)[0][0]) < 600


def test_timings_that_differ_a_little_make_one_plan() -> None:
    one = [network("a", pretrain=1000)]
    plans = [
        fit_to_budget(one, {"a": Cost(10 * off, 2 * off, "k")}, 5, 18.5)[0] for off in (0.9, 1, 1.1)
    ]
    assert plans[0] == plans[1] == plans[2]


def test_processes_share_the_work_but_not_a_chain() -> None:
    costs = {"a": Cost(10.0, 1.0, "k"), "b": Cost(10.0, 2.0, "k"), "c": Cost(0.0, 3.0)}
    # The pretraining that two share is done once.
    assert makespan(costs, 5, 1, refits=0) == pytest.approx(10 + 5 * 6)
    # One pretrains until 10, the other has four folds of c until 12; then one c, five a and five b are left.
    assert makespan(costs, 5, 2, refits=0) == pytest.approx(21)
    assert makespan(costs, 5, 100, refits=0) == pytest.approx(12)
    assert makespan(costs, 5, 2, refits=1) == pytest.approx(24)
    assert makespan(costs, 5, 2, refits=3) == pytest.approx(24)
    assert makespan(costs, 5, 1, refits=3) == pytest.approx(46)
    assert makespan({}, 5, 2, refits=1) == 0
    # Five folds on two processes are three rounds.
    assert makespan({"a": Cost(0.0, 7.0)}, 5, 2, refits=0) == pytest.approx(21)


def test_baselines_come_by_what_they_were_elsewhere_and_then_the_cheapest_network() -> None:
    forest = Recipe(name="forest", learn=Section(method="random-forest"))
    better = Recipe(name="better", learn=Section(method="extra-trees"))
    recipes = [network("dear"), network("cheap"), forest, better]
    costs = {"dear": Cost(0, 9), "cheap": Cost(0, 1)}
    found = in_order(recipes, costs, [0.5, 0.1, 0.1, 0.3])
    assert [r.name for r in found] == ["better", "forest", "cheap", "dear"]


def test_where_several_train_at_once_each_is_planned_to_take_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert crowding(1) == 1.0
    before = torch.get_num_threads(), torch.get_rng_state()
    assert crowding(2) >= 1.0
    assert torch.get_num_threads() == before[0]
    assert torch.equal(torch.get_rng_state(), before[1])
    monkeypatch.setattr("tacita.verbs.timing.crowding", lambda processes: float(processes))
    assert crowded({"a": Cost(3.0, 2.0, "k")}, 2) == {"a": Cost(6.0, 4.0, "k")}
