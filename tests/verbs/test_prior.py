"""What is known of candidates before: shares that add up, by their points, and even where nothing is."""

from __future__ import annotations

import pytest
import torch

from benchmarks.priors import table
from tacita.catalog import discover
from tacita.catalog.recipe import Recipe
from tacita.tasks import Classification, Regression
from tacita.verbs.plan import named_recipe
from tacita.verbs.prior import POINTS, _points, prior_shares

CLASSES = Classification(("a", "b"))


def test_shares_follow_the_points_and_the_unknown_is_the_median() -> None:
    known = _points()["series"]
    best, worst = max(known, key=lambda n: known[n]), min(known, key=lambda n: known[n])
    shares = prior_shares("series", CLASSES, [best, worst, "never seen"])
    assert float(shares.sum()) == pytest.approx(1)
    ratio = torch.tensor((known[best] - known[worst]) / POINTS, dtype=torch.float64).exp()
    torch.testing.assert_close(shares[0] / shares[1], ratio)
    assert shares[1] < shares[2] < shares[0]
    assert len(set(prior_shares("volumes", CLASSES, ["a", "b", "c"]).tolist())) == 1
    # Points of accuracy say nothing of how well numbers are predicted.
    assert len(set(prior_shares("series", Regression(), [best, worst]).tolist())) == 1


def learns_classes(recipe: Recipe) -> bool:
    return recipe.learn is None or discover.get(recipe.learn.method).learns("classification")


@pytest.mark.parametrize("modality", ["images", "series", "tables"])
def test_every_usual_candidate_has_been_measured(modality: str) -> None:
    cards = discover.cards().values()
    recipes = [named_recipe(name) for name in discover.modality(modality).usual]
    usual = [each.name for each in recipes if learns_classes(each)]
    baselines = [
        card.slug
        for card in cards
        if card.family == "baseline"
        and modality in discover.reads(card)
        and card.learns("classification")
    ]
    assert {*usual, *baselines} <= set(_points()[modality])


def test_points_are_over_the_median_and_tasks_count_alike_however_many_draws() -> None:
    lines = [
        {"task": "x", "modality": "tables", "accuracy": {"a": 0.9, "b": 0.8, "c": 0.7}},
        {"task": "x", "modality": "tables", "accuracy": {"a": 0.9, "b": 0.8, "c": 0.7}},
        {"task": "y", "modality": "tables", "accuracy": {"a": 0.5, "b": 0.5, "c": 0.5}},
    ]
    assert table(lines) == {"tables": {"a": 2.5, "b": 0.0, "c": -2.5}}
