"""Scalars and arrays of NumPy are taken wherever options go, and recipes hold plain numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV

import tacita
from tacita.catalog.recipe import dump_recipe, recipe_from_options
from tacita.catalog.value_types import convert
from tacita.data.reading import Reading
from tacita.verbs.options import Running


@pytest.mark.parametrize(
    "annotation, given, expected",
    [
        ("int", np.int32(5), 5),
        ("float", np.float64(0.5), 0.5),
        ("float", np.float32(0.5), 0.5),
        ("bool", np.True_, True),
        ("str", np.str_("a"), "a"),
        ("Literal['a', 'b']", np.str_("a"), "a"),
        ("tuple[int, ...]", np.array([8, 16]), (8, 16)),
        ("tuple[int, ...]", [np.int64(8), 16], (8, 16)),
        ("int", np.array(7), 7),
    ],
)
def test_values_of_numpy_become_plain_ones(annotation: str, given: Any, expected: Any) -> None:
    found = convert(annotation, given)
    assert (found, type(found)) == (expected, type(expected))


def test_a_recipe_made_of_numbers_of_numpy_is_the_same_file() -> None:
    given = {"steps": np.int64(5), "learning_rate": np.float64(0.001)}
    plain = {"steps": 5, "learning_rate": 0.001}
    written = dump_recipe(recipe_from_options("learn", np.str_("supervised"), given, np.int64(3)))
    assert written == dump_recipe(recipe_from_options("learn", "supervised", plain, 3))


def test_options_of_reading_and_running_take_them() -> None:
    running = Running(seed=np.int64(3), budget=np.float64(2))
    assert (running, type(running.seed), type(running.budget)) == (
        Running(seed=3, budget=2.0),
        int,
        float,
    )
    words = Reading(order=np.array(["low", "high"])).order
    assert words == ("low", "high")
    assert all(type(word) is str for word in words or ())


@pytest.mark.parametrize(
    "grid", [{"learning_rate": np.logspace(-3, -2, 2)}, {"steps": np.arange(2, 4)}]
)
def test_a_grid_of_an_array_is_searched(grid: dict[str, Any]) -> None:
    x = np.random.default_rng(0).normal(size=(24, 2))
    search = GridSearchCV(
        tacita.TacitaClassifier("supervised", steps=2), grid, cv=2, error_score="raise"
    )
    assert set(search.fit(x, x[:, 0] > 0).best_params_) == set(grid)


def test_a_verb_takes_a_seed_of_numpy() -> None:
    x = np.random.default_rng(0).normal(size=(24, 2))
    model = tacita.adapt("random-forest", x, x[:, 0] > 0, seed=np.int64(5), quiet=True)
    assert (model.recipe.seed, type(model.recipe.seed)) == (5, int)
