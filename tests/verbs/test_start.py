"""Runs that start from a model: every candidate from its encoder, resumed and replayed with it alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tacita
from tacita.data.dataset import Dataset
from tacita.errors import ConfigError, DryRun
from tacita.model.model import Model
from tacita.verbs.plan import load_plan
from tacita.verbs.screen import Screen

METHODS = ["knn", "linear-probe", "random-forest"]


def wine() -> Dataset:
    data = tacita.load("wine")
    return data.hide_labels(torch.cat([(data.y == k).nonzero()[:7, 0] for k in range(3)]))


def encoder_in(folder: Path, seed: int = 0) -> Model:
    return tacita.pretrain(
        "barlow-twins", tacita.load("wine"), steps=3, seed=seed, quiet=True, out=folder,
        **{"encoder": "feature-tokens", "encoder.dim": 8, "encoder.depth": 1},
    )  # fmt: skip


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return encoder_in(tmp_path_factory.mktemp("start") / "first")


def weights(model: Model) -> dict[str, torch.Tensor]:
    encoder = model.learner.encoder
    assert encoder is not None
    return {name: value.clone() for name, value in encoder.state_dict().items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_candidates_start_from_the_models_encoder_and_leave_it_alone(
    first: Model, tmp_path: Path
) -> None:
    before = weights(first)
    model = tacita.compare(wine(), ["knn", "linear-probe"], start=first.folder, quiet=True)
    assert same(weights(model), before)
    assert model.recipe.encoder == first.recipe.encoder
    assert model.recipe.pretrain == first.recipe.pretrain  # how it was made, not done again
    ours, theirs = model.learner.data_.normaliser, first.learner.data_.normaliser
    assert ours is not None
    assert theirs is not None
    assert torch.equal(ours.mean, theirs.mean)
    alone = tacita.adapt(model.recipe.name, wine(), start=first, quiet=True)
    assert (alone.predict_proba(wine()) == model.predict_proba(wine())).all()
    tuned = tacita.compare(wine(), ["supervised"], start=first, budget="1s", quiet=True)
    assert not same(weights(tuned), before)
    assert same(weights(first), before)


def test_what_pretrains_goes_on_from_it(first: Model, tmp_path: Path) -> None:
    recipe = tmp_path / "still.yaml"
    recipe.write_text(
        "name: still\npretrain: {method: barlow-twins, train: {steps: 1, learning_rate: 0.0}}\n"
    )
    parameters = dict(first.learner.encoder.named_parameters())  # type: ignore[union-attr]
    went_on = tacita.compare(wine(), [str(recipe)], start=first, quiet=True)
    found = dict(went_on.learner.encoder.named_parameters())  # type: ignore[union-attr]
    assert all(torch.equal(found[name], value) for name, value in parameters.items())


def test_auto_pretrains_no_more(first: Model) -> None:
    with pytest.raises(DryRun) as stopped:
        tacita.fit(wine(), start=first, dry_run=True, quiet=True)
    recipes = stopped.value.plan.recipes  # type: ignore[attr-defined]
    assert all(recipe.pretrain is None for recipe in recipes)
    assert {"linear-probe", "fine-tune", "supervised", "random-forest"} <= {r.name for r in recipes}
    assert all(r.encoder == first.recipe.encoder for r in recipes if r.encoder)


def test_an_encoder_named_beside_it_and_other_data_are_refused(
    first: Model, tmp_path: Path
) -> None:
    recipe = tmp_path / "own.yaml"
    recipe.write_text("name: own\nencoder: {method: ft-transformer}\nlearn: {method: knn}\n")
    with pytest.raises(ConfigError, match="beside a model to start from"):
        tacita.compare(wine(), [str(recipe)], start=first, quiet=True)
    with pytest.raises(ConfigError, match="encoder was made for tables"):
        tacita.compare("digits", ["knn"], start=first, quiet=True)
    with pytest.raises(ConfigError, match="random-forest has no encoder, so it starts from none"):
        tacita.adapt("random-forest", wine(), start=first, quiet=True)


@pytest.mark.long
@pytest.mark.parametrize("verb", ["compare", "adapt"])
def test_a_run_is_resumed_with_the_same_encoder_or_not_at_all(
    verb: str, first: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, other = tmp_path / "t.npz", encoder_in(tmp_path / "other", seed=1)
    data = wine()
    np.savez(table, x=data.x.numpy(), y=data.y.numpy())
    first = tacita.pretrain(
        "barlow-twins", table, steps=2, quiet=True, out=tmp_path / "mine",
        **{"encoder": "feature-tokens", "encoder.dim": 8, "encoder.depth": 1},
    )  # fmt: skip

    class Killed(Exception): ...

    def run(**options: Any) -> Model:
        options = {"out": tmp_path / "run", "quiet": True, **options}
        if verb == "compare":
            return tacita.compare(table, METHODS, **options)
        return tacita.adapt("linear-probe", table, **options)

    def kill(self: object, *_: object) -> None:
        raise Killed

    where = "tacita.verbs.fit.Run.row" if verb == "compare" else "tacita.verbs.one_training.Run.row"
    with monkeypatch.context() as patch:
        patch.setattr(where, kill)
        with pytest.raises(Killed):
            run(start=first)
    assert load_plan(tmp_path / "run" / "plan.json").start
    with pytest.raises(ConfigError, match=r"which is not given(?s:.)*--from"):
        run(resume=True)
    with pytest.raises(ConfigError, match="encoder of another model"):
        run(resume=True, start=other)
    model = run(resume=True, start=first.folder)
    whole = run(out=tmp_path / "whole", start=first)
    assert (model.predict(table) == whole.predict(table)).all()
    plain = run(out=tmp_path / "plain")
    with pytest.raises(ConfigError, match="from no model"):
        tacita.fit(table, recipe=str(tmp_path / "plain"), start=first, quiet=True)
    assert plain.folder is not None


def test_the_line_that_repeats_a_run_names_the_model(first: Model, tmp_path: Path) -> None:
    tacita.compare("wine", ["knn", "linear-probe"], start=first, quiet=True, out=tmp_path / "run")
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert f"--from {first.folder}" in page
    again = tacita.fit("wine", recipe=str(tmp_path / "run"), start=first.folder, quiet=True)
    model = Model.load(tmp_path / "run")
    assert (again.predict_proba("wine") == model.predict_proba("wine")).all()


# A score wherever labels are learnt


def test_few_labels_are_scored_out_of_fold_by_models_of_the_same_encoder(
    first: Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    adapted = tacita.adapt("linear-probe", wine(), start=first, out=tmp_path / "run")
    said = capsys.readouterr().out
    (line,) = [line for line in said.splitlines() if line.startswith("folds ")]
    assert "linear-probe: accuracy" in line
    assert line.endswith("each label as predicted by a model that was trained without it")
    compared = tacita.compare(wine(), ["linear-probe"], start=first, quiet=True)
    assert adapted.metrics.held_out is None
    assert adapted.metrics.out_of_fold == compared.metrics.out_of_fold
    assert adapted.metrics.out_of_fold_intervals == compared.metrics.out_of_fold_intervals
    assert Model.load(tmp_path / "run").metrics.out_of_fold == adapted.metrics.out_of_fold
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "Out of fold: each of the 21 labelled samples" in page


def test_labels_that_suffice_are_scored_once_and_not_by_folds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tacita.verbs.one_training.Run.row", None)
    model = tacita.adapt("random-forest", "wine", quiet=True)
    assert model.metrics.held_out is not None
    assert model.metrics.out_of_fold is None


def test_where_no_folds_can_be_made_it_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    x = torch.randn(30, 3).numpy()
    y = [1.0, 2.0, 4.0] + [float("nan")] * 27
    model = tacita.adapt("ridge", x, y, task="regression")
    said = capsys.readouterr().out
    assert model.metrics.out_of_fold is None
    assert "warning   no score: " in said
    assert "too few for two folds" in said


def test_a_bare_result_has_the_score(capsys: pytest.CaptureFixture[str]) -> None:
    tacita.adapt("random-forest", wine(), quiet=1)
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["folds"]
    assert Screen(quiet=1).results
