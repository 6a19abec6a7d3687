"""The main job end to end on small real data: what is promised on the screen is what is on disk."""

from __future__ import annotations

import html
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import tacita
from tacita import cli
from tacita.errors import ConfigError, DataError, DryRun
from tacita.modalities.load import load
from tacita.model.metrics import Metrics
from tacita.model.model import Model
from tacita.verbs.fit import fit
from tacita.verbs.plan import load_plan
from tacita.verbs.prior import prior_shares

QUICK = ["logistic-regression", "knn", "supervised"]


def quick(folder: Path | None = None, **options: object) -> Model:
    settings = {"recipe": QUICK, "budget": "2s", "quiet": True, "out": folder, **options}
    return fit("wine", **settings)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, Path]:
    """A model and its folder, which no test changes."""
    folder = tmp_path_factory.mktemp("quick") / "run"
    return quick(folder, seed=3), folder


def test_everything_promised_is_in_the_folder(run: tuple[Model, Path]) -> None:
    model, folder = run
    found = {path.name for path in folder.iterdir()}
    assert found >= {
        "recipe.yaml", "labels.json", "metrics.json", "history.jsonl", "report.html", "report.md",
        "plan.json", "model.safetensors",
    }  # fmt: skip
    assert "work" not in found
    metrics = Metrics.model_validate_json((folder / "metrics.json").read_bytes())
    assert metrics.winner == model.recipe.name
    assert bool(metrics.tie) == (metrics.winner != metrics.leaderboard[0].name)
    assert [row.name for row in metrics.leaderboard if row.baseline] == ["logistic-regression"]
    means = [row.mean for row in metrics.leaderboard]
    assert means == sorted(means, reverse=True)  # type: ignore[type-var]
    assert all(len(row.folds) == 5 for row in metrics.leaderboard)
    assert metrics.held_out is not None
    assert metrics.held_out["accuracy"] > 0.8


def test_the_saved_model_predicts_what_the_returned_one_does(run: tuple[Model, Path]) -> None:
    model, folder = run
    again = Model.load(folder)
    data = load("wine")
    assert (model.predict(data) == again.predict(data)).all()
    assert again.recipe == model.recipe


def test_the_held_out_figure_is_of_samples_that_the_model_never_saw(
    run: tuple[Model, Path],
) -> None:
    model, folder = run
    plan = load_plan(folder / "plan.json")
    data = load("wine")
    held = set(plan.splits.held_out)
    for part in (*plan.splits.train, *plan.splits.score):
        assert not held & set(part)
    aside = data.subset(torch.tensor(sorted(held)))
    assert model.metrics.held_out is not None
    assert model.evaluate(aside)["accuracy"] == pytest.approx(model.metrics.held_out["accuracy"])


def test_a_run_replayed_from_its_own_folder_gives_the_same_model(
    run: tuple[Model, Path], tmp_path: Path
) -> None:
    first, folder = run
    again = quick(tmp_path / "again", recipe=str(folder), budget=None)
    assert again.recipe == first.recipe
    ours, theirs = first.metrics.leaderboard, again.metrics.leaderboard
    assert [(row.name, row.folds) for row in ours] == [(row.name, row.folds) for row in theirs]
    data = load("wine")
    assert (first.predict_proba(data) == again.predict_proba(data)).all()


def test_the_reports_command_repeats_the_run(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    rows = [f"{i},{i % 2 + i / 100},{'' if i == 3 else i % 3},{'ab'[i % 2]}" for i in range(60)]
    table.write_text("\n".join(["n,x,part,kind", *rows]) + "\n")
    reading = {"labels": "kind", "missing": "impute"}
    first = tacita.compare(table, "knn,random-forest", out=tmp_path / "run", quiet=True, **reading)
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    command = html.unescape(re.search(r'id="command">(.*?)</pre>', page, re.S)[1])  # type: ignore[index]
    words = shlex.split(command.replace("AGAIN", str(tmp_path / "again")))
    assert words[:3] == ["tacita", "fit", str(table)]
    with pytest.raises(SystemExit) as ended:
        cli.main([*words[1:], "--quiet"])
    assert ended.value.code == 0
    again = Model.load(tmp_path / "again")
    assert [row.folds for row in again.metrics.leaderboard] == [
        row.folds for row in first.metrics.leaderboard
    ]


def test_test_samples_without_labels_are_refused() -> None:
    x, y = load("wine").arrays()
    with pytest.raises(DataError, match="no test sample has a label"):
        fit(x, y, test=x[:9], recipe=["knn"], quiet=True)


def test_another_seed_makes_other_folds(tmp_path: Path) -> None:
    one, other = quick(seed=1, recipe=["knn"]), quick(seed=2, recipe=["knn"])
    assert one.metrics.leaderboard[0].folds != other.metrics.leaderboard[0].folds


def test_data_in_memory_write_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    x, y = load("wine").arrays()
    model = tacita.fit(x, y, recipe=["knn", "random-forest"], quiet=True)
    assert list(tmp_path.iterdir()) == []
    assert set(model.predict(x[:5])) <= {0, 1, 2}


def test_a_baseline_that_wins_is_returned_and_it_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # One step of training learns nothing, so that the forest wins.
    model = quick(
        tmp_path / "run", recipe=["supervised", "random-forest"], budget=0.01, quiet=False
    )
    assert model.recipe.name == "random-forest"
    assert "A baseline, random-forest, wins" in capsys.readouterr().out
    assert Model.load(tmp_path / "run").predict(load("wine")).shape == (178,)


def test_unlabelled_rows_may_be_spelled_in_any_way_and_are_used(tmp_path: Path) -> None:
    x, y = load("wine").arrays()
    words = np.array(["red", "white", "pink"], dtype=object)[y]
    words[20:50] = None
    words[60:120:2] = None
    model = fit(x, words, recipe=["label-spreading", "knn"], quiet=True)
    assert set(model.predict(x)) <= {"red", "white", "pink"}
    assert model.predict(x[:20]).tolist().count("red") > 15


def test_hidden_labels_are_never_learnt_from(tmp_path: Path) -> None:
    data = load("wine")
    options = {"recipe": ["knn"], "quiet": True, "labels_per_class": 3, "draws": 2}
    model = fit(data, out=tmp_path / "run", **options)  # type: ignore[arg-type]
    plan = load_plan(tmp_path / "run" / "plan.json")
    drawn = plan.splits.train[0]
    assert len(drawn) == 9
    # The labels of all other pool samples are changed: nothing about the model may change.
    touched = data.y.clone()
    others = ~torch.isin(data.index, torch.tensor([*drawn, *plan.splits.held_out]))
    touched[others] = (touched[others] + 1) % 3
    twin = fit(
        data.with_labels(touched), recipe=str(tmp_path / "run"), out=tmp_path / "twin", quiet=True
    )
    assert (model.predict_proba(data) == twin.predict_proba(data)).all()


def test_hidden_labels_are_not_gauged_by(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = load("wine")
    said = []
    for shift in (0, 1):
        y = data.y.clone()
        if shift:
            plan = load_plan(tmp_path / "0" / "plan.json")
            seen = torch.tensor([*plan.splits.train[0], *plan.splits.held_out])
            y[~torch.isin(data.index, seen)] = 0
        fit(
            data.with_labels(y),
            recipe=str(tmp_path / "0") if shift else ["mae-linear-probe"],
            budget="1s",
            labels_per_class=3,
            draws=1,
            out=tmp_path / str(shift),
        )
        out = capsys.readouterr().out
        said.append([line for line in out.splitlines() if line.startswith("health")])
    assert len(said[0]) == 2
    assert said[0] == said[1]


def test_what_was_pretrained_has_its_rank_beside_its_score(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text(
        "name: mine\npretrain: {method: simclr, projector: [16, 16], train: {steps: 100}}\n"
        "learn: {method: knn}\n"
    )
    model = fit("wine", recipe=[str(mine), "random-forest"], out=tmp_path / "run")
    ranks = {row.name: row.rank for row in model.metrics.leaderboard}
    assert ranks["random-forest"] is None
    assert ranks["mine"] is not None
    assert 1 < ranks["mine"] < 16
    said = capsys.readouterr().out
    board = said[said.index("candidate") :]
    assert "rank" in board.splitlines()[0]
    assert f" {ranks['mine']:.1f} " in board
    assert f"(embeddings {ranks['mine']:.1f} of 16)" in said
    # It is in the history of the pretraining too.
    lines = (tmp_path / "run" / "history.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    watched = {row["step"]: row["rank"] for row in rows if "rank" in row}
    assert list(watched) == [100]
    assert watched[100] == pytest.approx(ranks["mine"], rel=1e-4)


def test_test_samples_given_apart_are_read_like_the_training_table(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = ["size,colour,kind"]
    for _ in range(60):
        kind = int(rng.integers(2))
        rows.append(
            f"{rng.normal(3 * kind):.3f},{'red' if kind else 'blue'},{'a' if kind else 'b'}"
        )
    train, test = tmp_path / "train.csv", tmp_path / "test.csv"
    train.write_text("\n".join(rows[:51]) + "\n")
    # Only one colour here: by itself this file would be encoded otherwise.
    test.write_text("\n".join([rows[0], *(row for row in rows[51:] if "red" in row)]) + "\n")
    model = fit(
        train, labels="kind", test=test, recipe=["random-forest"], quiet=True, out=tmp_path / "r"
    )
    assert model.metrics.held_out is not None
    assert model.metrics.held_out["accuracy"] == 1.0


def test_groups_are_kept_together(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    subject = np.repeat(np.arange(10), 12)
    y = np.tile([0, 1], 60)
    x = rng.normal(size=(120, 3)) + y[:, None]
    data = tacita.as_dataset(x, y, groups=subject)
    fit(data, recipe=["knn"], quiet=True, out=tmp_path / "run")
    plan = load_plan(tmp_path / "run" / "plan.json")
    for train, score in zip(plan.splits.train, plan.splits.score, strict=True):
        assert not set(subject[train]) & set(subject[score])
        assert not set(subject[plan.splits.held_out]) & set(subject[train])


def test_regression_and_grades_run_through_the_same_verb(tmp_path: Path) -> None:
    model = fit("diabetes", recipe=["knn", "ridge"], quiet=True, out=tmp_path / "r")
    assert model.metrics.leaderboard[0].metric == "r2"
    assert model.predict(load("diabetes")).dtype == np.float64
    x, y = load("wine").arrays()
    grades = fit(
        x, y, task="ordinal", recipe=["supervised", "random-forest"], budget="1s", quiet=True
    )
    assert grades.metrics.leaderboard[0].metric == "quadratic_kappa"
    assert np.allclose(grades.predict_proba(x).sum(1), 1)


def test_a_baseline_has_the_name_of_what_it_is_for_a_task() -> None:
    found = {}
    for name in ("diabetes", "wine"):
        with pytest.raises(DryRun) as stopped:
            fit(name, dry_run=True, quiet=True)
        plan = stopped.value.plan
        named = {recipe.name for recipe in plan.recipes} | set(plan.skipped)  # type: ignore[attr-defined]
        found[name] = named & {"ridge", "logistic-regression", "label-spreading", "random-forest"}
    assert found["diabetes"] == {"ridge", "random-forest"}
    assert found["wine"] == {"logistic-regression", "label-spreading", "random-forest"}
    for data, recipe in (("diabetes", "logistic-regression"), ("wine", "ridge")):
        with pytest.raises(ConfigError, match=rf"{recipe} does not do (?s:.)*methods --task"):
            fit(data, recipe=recipe, quiet=True)


def test_a_dry_run_trains_and_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(DryRun) as stopped:
        quick(tmp_path / "run", dry_run=True, budget=None)
    assert [recipe.name for recipe in stopped.value.plan.recipes] == QUICK  # type: ignore[attr-defined]
    assert not (tmp_path / "run").exists()


def test_an_existing_folder_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("years of work")
    with pytest.raises(ConfigError, match="exists"):
        quick(tmp_path / "run")
    with pytest.raises(ConfigError, match="not the folder of a run"):
        quick(tmp_path / "run", overwrite=True)
    assert (tmp_path / "run" / "thesis.txt").read_text() == "years of work"


def test_too_few_labels_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    data = load("wine")
    y = torch.full_like(data.y, -1)
    one_each = y.clone()
    one_each[[0, 60, 140]] = data.y[[0, 60, 140]]
    for codes, words in (
        (y, "none of the 178"),
        (torch.where(data.y == 0, 0, -1), "one class"),
        (one_each, "has 1 label"),
    ):
        with pytest.raises(DataError, match=words):
            fit(data.with_labels(codes), recipe=["knn"], out=tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_the_only_label_of_a_class_is_learnt_and_never_scored() -> None:
    data = load("wine")
    rare = (data.y == 2).nonzero().squeeze(1)[1:]
    y = data.y.clone()
    y[rare] = -1
    with pytest.raises(DryRun) as planned:
        fit(data.with_labels(y), recipe=["logistic-regression"], dry_run=True, quiet=True)
    single = int(data.index[data.y == 2][0])
    splits = planned.value.plan.splits
    assert splits.train
    assert all(single in each for each in splits.train)
    assert all(single not in each for each in splits.score)


def test_with_one_label_a_class_candidates_count_by_what_was_known_and_nobody_has_a_score(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = load("wine")
    y = torch.full_like(data.y, -1)
    y[[0, 60, 140]] = data.y[[0, 60, 140]]
    few = data.with_labels(y)
    model = fit(few, out=tmp_path / "run", budget="1s")
    assert "nobody has a score" in capsys.readouterr().out
    members = model.recipe.members
    assert members is not None
    known = prior_shares("tables", data.task, [each.recipe.name for each in members])
    weights = torch.tensor([each.weight for each in members], dtype=torch.float64)
    torch.testing.assert_close(weights / weights.sum(), known)
    assert all(row.mean is None for row in model.metrics.leaderboard)
    assert model.metrics.winner == "ensemble"
    # Three labels tell a good deal of the others.
    assert model.evaluate(data.subset(~few.labelled))["accuracy"] > 0.7
    again = Model.load(tmp_path / "run")
    assert np.array_equal(again.predict(data), model.predict(data))


def test_a_candidate_that_cannot_run_is_left_out_with_its_reason(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(DryRun):
        fit("diabetes", dry_run=True)
    said = capsys.readouterr().out
    assert "left out  fixmatch" in said
    assert "label-spreading" not in said  # a baseline for another task is none here


def test_candidates_that_cannot_weigh_samples_are_left_out_or_refused_by_name(
    capsys: pytest.CaptureFixture[str],
) -> None:
    data = load("wine")
    data = data.weighted(1 + data.y)
    with pytest.raises(DryRun):
        fit(data, dry_run=True)
    said = capsys.readouterr().out
    assert "left out  label-spreading: label-spreading cannot weigh samples" in said
    assert "weights   0.5" in said
    with pytest.raises(
        ConfigError, match="knn cannot weigh samples, and those of wine have weights"
    ):
        fit(data, recipe=["random-forest", "knn"], quiet=True)


def test_every_sample_counts_the_same_in_a_score() -> None:
    data = load("wine")
    model = fit(data.weighted(1 + 99 * (data.y == 0)), recipe=["logistic-regression"], quiet=True)
    alone = fit(data, recipe=["logistic-regression"], quiet=True)
    # What it knows of the one heavy class costs it others, and each of these is a whole mistake.
    assert model.metrics.leaderboard[0].mean < alone.metrics.leaderboard[0].mean  # type: ignore[operator]
    assert not np.array_equal(model.predict_proba(data), alone.predict_proba(data))


def test_a_budget_sets_the_steps_and_is_kept_roughly() -> None:
    began = time.monotonic()
    model = fit("wine", recipe=["supervised", "mae-fine-tune"], budget="6s", quiet=True)
    took = time.monotonic() - began
    assert took < 30
    rows = model.metrics.leaderboard
    assert rows[0].mean is not None
    # On a machine that is busy with other things the second may find no time.
    assert all(row.mean is not None or "budget" in str(row.error) for row in rows)


def test_several_processes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match="torchrun started several"):
        fit("wine", quiet=True)


RUN = """
import sys, torch
torch.set_num_threads(1)
import tacita
tacita.fit("wine", recipe=["supervised", "mae-fine-tune"], budget=None, quiet=True, out=sys.argv[1],
           resume="--resume" in sys.argv)
"""


@pytest.mark.slow
def test_a_run_killed_at_any_time_resumes_to_the_same_model(tmp_path: Path) -> None:
    plain = [sys.executable, "-c", RUN]
    subprocess.run([*plain, str(tmp_path / "whole")], check=True)
    rng = np.random.default_rng(0)
    resume: list[str] = []
    for _ in range(20):
        process = subprocess.Popen([*plain, str(tmp_path / "killed"), *resume])
        try:
            process.wait(timeout=5 + float(rng.uniform(0, 4)))
            break
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
        resume = ["--resume"] if (tmp_path / "killed" / "plan.json").exists() else []
    else:
        subprocess.run([*plain, str(tmp_path / "killed"), *resume], check=True)
    whole, killed = (
        json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("whole", "killed")
    )
    assert [row["folds"] for row in whole["leaderboard"]] == [
        row["folds"] for row in killed["leaderboard"]
    ]
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "killed")]
    assert weights[0] == weights[1]
