"""Early stopping by labels that are held out for it: which, by what figure, and what is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import tacita
from tacita.adapt.supervised import Supervised
from tacita.adapt.trained import FineTune, Trained
from tacita.adapt.watching import parts_to_watch, watch
from tacita.catalog.recipe import load_recipe, training_parameters
from tacita.data.dataset import Dataset
from tacita.encoders import build
from tacita.errors import ConfigError, DataError, DryRun
from tacita.modalities.load import load
from tacita.verbs.options import Running
from tacita.verbs.screen import Screen
from tests.verbs.test_run import SUPERVISED, run_in

SMALL: dict[str, Any] = {"encoder": "feature-tokens", "encoder.dim": 8, "encoder.depth": 1}


def wine(count: int = 178) -> Dataset:
    data = load("wine")
    order = torch.randperm(178, generator=torch.Generator().manual_seed(0))[:count]
    return data.subset(order).normalised()


def learner(**engine: Any) -> FineTune:
    torch.manual_seed(0)
    encoder = build("feature-tokens", wine().spec, dim=8, depth=1)
    return FineTune(encoder, engine={"steps": 40, "learning_rate": 0.05, **engine})


def test_a_fifth_of_the_labels_is_watched_and_not_learnt_from() -> None:
    data = wine(60)
    learnt, watched = parts_to_watch(data, seed=3)
    assert len(watched) == 12
    assert sorted([*learnt.tolist(), *watched.tolist()]) == list(range(60))
    seen, stopping = watch(learner(), data, 100, 3, patience=4)
    assert stopping is not None
    assert (stopping.every, stopping.patience) == (5, 4)
    assert seen.labelled.nonzero().squeeze(1).tolist() == learnt.tolist()
    assert len(seen) == 60  # as samples without a label they are still there
    assert watch(learner(), data, 100, 3) == (data, None)


def test_the_weights_that_are_kept_are_those_of_the_least_loss_on_what_is_watched() -> None:
    data = wine()
    model = learner(patience=2)
    model.fit(data, seed=1)
    history = model.history_
    scores = {row["step"]: row["score"] for row in history.rows if "score" in row}
    assert history.best is not None
    assert history.best.step == max(scores, key=lambda step: scores[step])
    assert history.stopped_at == history.best.step + 2 * 2  # twice two steps without progress
    assert (
        history.ended == f"stopped at step {history.stopped_at} of 40, best at {history.best.step}"
    )
    task = data.task.fitted(data.targets)
    aside = data.subset(parts_to_watch(data, 1)[1])
    assert -task.loss(model.logits(aside), aside.y) == pytest.approx(history.best.score, rel=1e-4)


def test_where_labels_are_too_few_to_watch_any_it_is_said_before_training(tmp_path: Path) -> None:
    data = load("digits").subset(torch.arange(300))
    few = data.hide_labels(torch.cat([(data.y == k).nonzero()[:1, 0] for k in range(10)]))
    network = Trained(build("residual-cnn", data.spec, width=4), Supervised, engine={"patience": 2})
    with pytest.raises(DataError, match=r"too few for that(?s:.)*Leave patience out"):
        network.try_out(few, 0)
    with pytest.raises(ConfigError, match="patience=0"):
        tacita.adapt("supervised", wine(60), patience=0, quiet=True, out=tmp_path / "r", **SMALL)
    assert not (tmp_path / "r" / "model.safetensors").exists()


def test_only_what_learns_from_labels_takes_it() -> None:
    assert "patience" in training_parameters("learn")
    with pytest.raises(ConfigError, match=r"pretrain\.patience: unknown"):
        tacita.pretrain("barlow-twins", "wine", patience=3, quiet=True)
    with pytest.raises(ConfigError, match="not trained by steps"):
        tacita.adapt("knn", "wine", patience=3, quiet=True)


@pytest.mark.long
def test_it_is_said_saved_and_replayed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = {**SMALL, "steps": 40, "learning_rate": 0.05, "patience": 2}
    model = tacita.adapt("supervised", wine(), out=tmp_path / "a", **options)
    said = capsys.readouterr().out
    assert "patience 2; stops by the loss on 20% of the labels, not learnt from" in said
    history = model.learner.history_  # type: ignore[attr-defined]
    assert f"stopped   supervised: stopped at step {history.stopped_at} of 40, best at" in said
    recipe = load_recipe(tmp_path / "a" / "recipe.yaml")
    assert recipe.learn is not None
    assert recipe.learn.train["patience"] == 2
    again = tacita.fit(wine(), recipe=str(tmp_path / "a" / "recipe.yaml"), out=tmp_path / "b")
    said = capsys.readouterr().out
    assert "stopped   supervised, fold 1: " in said
    assert "stopped   supervised: " in said
    named = tacita.fit(wine(), recipe="supervised", quiet=True, **options)
    assert (again.predict_proba(wine()) == named.predict_proba(wine())).all()
    replayed = tacita.fit(wine(), recipe=str(tmp_path / "b"), quiet=True)
    assert (again.predict_proba(wine()) == replayed.predict_proba(wine())).all()
    with pytest.raises(DryRun):
        tacita.fit(wine(), recipe=str(tmp_path / "b"), dry_run=True)
    assert "patience 2; stops by" in capsys.readouterr().out


@pytest.mark.parametrize("kill_at", [4, 12])
def test_a_killed_run_goes_on_to_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kill_at: int
) -> None:
    options = {**SMALL, "steps": 60, "learning_rate": 0.05, "patience": 3, "quiet": True}
    whole = tacita.adapt("supervised", wine(), out=tmp_path / "whole", **options)

    class Killed(Exception): ...

    def tick(self: Screen, name: str, training: str, step: int) -> None:
        if step >= kill_at:
            raise Killed

    before = Running.engine.fget  # type: ignore[attr-defined]
    often = property(lambda self: {**before(self), "checkpoint_every": 0.0})
    monkeypatch.setattr(Running, "engine", often)
    with monkeypatch.context() as patch:
        patch.setattr(Screen, "tick", tick)
        with pytest.raises(Killed):
            tacita.adapt("supervised", wine(), out=tmp_path / "run", **options)
    resumed = tacita.adapt("supervised", wine(), out=tmp_path / "run", resume=True, **options)
    ours, theirs = (m.learner.history_ for m in (resumed, whole))  # type: ignore[attr-defined]
    assert (ours.best, ours.stopped_at) == (theirs.best, theirs.stopped_at)
    assert (resumed.predict_proba(wine()) == whole.predict_proba(wine())).all()


def test_a_resumed_comparison_still_knows_how_its_folds_ended(tmp_path: Path) -> None:
    assert SUPERVISED.learn is not None
    train = {**SUPERVISED.learn.train, "patience": 2}
    recipe = SUPERVISED.model_copy(
        update={"learn": SUPERVISED.learn.model_copy(update={"train": train})}
    )
    first, again = run_in(tmp_path), run_in(tmp_path)
    first.row(recipe)
    again.row(recipe)
    assert first.ended == again.ended
    assert set(first.ended[recipe.name]) == {0, 1}
