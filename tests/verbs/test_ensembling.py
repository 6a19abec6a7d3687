"""The ensemble: weighed and scored by predictions out of fold, better than what it is made of by itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tacita.catalog.recipe import Recipe, Section
from tacita.data.dataset import Dataset
from tacita.data.splits import cross_validation
from tacita.errors import ConfigError, DataError
from tacita.modalities.load import load
from tacita.modalities.memory import as_dataset
from tacita.verbs.ensembling import blend, in_words, refit_members
from tacita.verbs.run import Run

NAMES = ("logistic-regression", "random-forest", "label-spreading", "support-vectors")
RECIPES = [Recipe(name=name, learn=Section(method=name)) for name in NAMES]


def few(name: str = "wine", every: int = 8) -> Dataset:
    data = load(name)
    return data.hide_labels(torch.arange(0, len(data), every)).normalised()


def run_of(data: Dataset, work: Path) -> Run:
    return Run(data, data, cross_validation(data, 0), work, engine={"device": "cpu"})


def test_its_figures_are_those_of_models_and_weights_that_never_saw_the_sample(
    tmp_path: Path,
) -> None:
    data = few()
    run = run_of(data, tmp_path)
    rows = {each.name: run.row(each) for each in RECIPES}
    found = blend(run, RECIPES, rows)
    assert found is not None
    assert found.out_of_fold is not None
    at, logits = found.out_of_fold
    assert torch.equal(at, data.labelled.nonzero().squeeze(1))
    # By hand, for one fold: its labels, changed, change the weights of the others and not its own.
    fold = run.folds[1]
    y = data.y.clone()
    y[fold.score] = (y[fold.score] + 1) % 3
    other = run_of(data.with_labels(y), tmp_path)
    other.folds = run.folds
    changed = blend(other, RECIPES, rows)
    assert changed is not None
    assert changed.out_of_fold is not None
    mine = torch.isin(at, fold.score)
    torch.testing.assert_close(changed.out_of_fold[1][mine], logits[mine])
    assert not torch.allclose(changed.out_of_fold[1][~mine], logits[~mine])
    scores = [data.task.scores(logits[torch.searchsorted(at, f.score)], data.y[f.score])
              for f in run.folds]  # fmt: skip
    assert found.row.folds == pytest.approx([each["accuracy"] for each in scores])


def test_the_fitted_ensemble_is_the_weighted_mean_of_its_members(tmp_path: Path) -> None:
    data = few()
    run = run_of(data, tmp_path)
    found = blend(run, RECIPES, {each.name: run.row(each) for each in RECIPES})
    assert found is not None
    recipe, learner = refit_members(run, found.recipe)
    members = recipe.members or []
    assert sum(each.weight for each in members) == pytest.approx(1)
    hidden = data.subset(~data.labelled)
    expected = sum(
        each.weight * (run.refit(each.recipe).logits(hidden) / each.temperature).softmax(1)
        for each in members
    )
    np.testing.assert_allclose(learner.predict_proba(hidden), expected, atol=1e-5)
    assert in_words(recipe).count("%") == len(members)


def test_what_only_guesses_has_hardly_a_weight(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(240) % 2
    told = y[:, None] * 4.0 + torch.randn(240, 1, generator=generator)
    noise = torch.randn(240, 5, generator=generator)
    data = as_dataset(torch.cat([told, noise], 1).numpy(), y.numpy()).normalised()
    deaf = Recipe(
        name="deaf", learn=Section(method="logistic-regression", options={"penalty": 1e6})
    )
    run = run_of(data, tmp_path)
    recipes = [RECIPES[0], deaf]
    found = blend(run, recipes, {each.name: run.row(each) for each in recipes})
    # One member is no ensemble: the single candidate is kept as it is.
    assert found is None


def test_regression_blends_the_numbers_and_draws_of_labels_do_not_blend(tmp_path: Path) -> None:
    data = few("diabetes", every=5)
    run = run_of(data, tmp_path)
    recipes = [Recipe(name=name, learn=Section(method=name)) for name in ("ridge", "extra-trees")]
    rows = {each.name: run.row(each) for each in recipes}
    found = blend(run, recipes, rows)
    assert found is not None
    # In the labels' own units, and no worse than the mean of the two.
    assert found.row.merit > np.mean([row.merit for row in rows.values()])
    drawn = Run(data, data.subset(data.labelled), run.folds, tmp_path)
    assert drawn.draws
    assert blend(drawn, recipes, rows) is None


def test_a_member_that_fails_at_the_end_is_left_out_by_name(tmp_path: Path) -> None:
    data = few()
    said: list[str] = []
    run = run_of(data, tmp_path)
    run.warn = said.append
    found = blend(run, RECIPES, {each.name: run.row(each) for each in RECIPES})
    assert found is not None
    first, *others = found.recipe.members or []
    run.failed[first.recipe.name] = "it is gone"
    recipe, learner = refit_members(run, found.recipe)
    assert said == [f"{first.recipe.name} is left out of the ensemble: it is gone"]
    assert recipe.members == others
    assert learner.predict_proba(data).sum(1) == pytest.approx(np.ones(len(data)), abs=1e-5)
    run.failed |= {each.recipe.name: "and so is it" for each in others}
    with pytest.raises(ConfigError, match="and so is it"):
        refit_members(run, found.recipe)


def test_an_error_that_is_none_of_ours_leaves_a_candidate_out_unless_it_is_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("nothing\nto see")

    monkeypatch.setattr("tacita.verbs.results.SPARED", (Exception,))
    monkeypatch.setattr("tacita.baselines.random_forest.RandomForest.estimator", broken)
    run = run_of(few(), tmp_path)
    row = run.row(RECIPES[1])
    assert row.error is not None
    assert row.error.startswith("ZeroDivisionError: nothing (test_ensembling.py, line ")
    assert run.row(RECIPES[0]).mean is not None
    run.alone = True
    with pytest.raises(ZeroDivisionError):
        run.row(RECIPES[1])


def test_an_ensemble_in_a_file_is_checked_member_by_member() -> None:
    member = {"weight": 0.5, "recipe": {"name": "a", "learn": {"method": "knn"}}}
    nested = {
        "name": "e",
        "members": [member, {**member, "recipe": {"name": "b", "members": [member]}}],
    }
    for given, words in (
        ({"name": "e", "members": [member], "learn": {"method": "knn"}}, "sections of its own"),
        (nested, "ensembles in it"),
        ({"name": "e", "members": [{**member, "recipe": {"name": "a", "learn": {"method": "knnn"}}}]},
         "members.0.recipe: learn.method: .*knn"),
    ):  # fmt: skip
        with pytest.raises((ConfigError, DataError), match=words):
            Recipe.model_validate(given).check()
