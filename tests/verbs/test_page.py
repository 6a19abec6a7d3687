"""The report of a run with few labels, from memory and on disk."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer

import tacita
from tacita.errors import CheckpointError, ConfigError
from tacita.model.model import Model
from tacita.verbs.page import RunPage

X, Y = load_breast_cancer(return_X_y=True)
FEW = np.where(np.arange(569) % 28 == 0, Y, -1)  # 21 labels: none to hold out
WRONG = 28 * 5
FEW[WRONG] = 1 - FEW[WRONG]


@pytest.fixture(scope="module")
def model() -> Model:
    groups = np.arange(569) // 28 % 7
    data = tacita.as_dataset(X[:, :8], FEW, groups=groups)
    return tacita.fit(data, recipe=["logistic-regression", "knn"], quiet=True)


def test_twenty_labels_have_everything_out_of_fold(model: Model) -> None:
    assert isinstance(model.page, RunPage)
    content, metrics = model.page.content, model.metrics
    assert metrics.held_out is None
    assert content.judged.startswith("Out of fold: each of the 21 labelled samples")
    assert content.confusion is not None
    assert content.confusion.sum() == 21
    right = float(np.trace(content.confusion)) / 21
    assert metrics.out_of_fold is not None
    assert metrics.out_of_fold["accuracy"] == pytest.approx(right)
    low, high = metrics.out_of_fold_intervals["accuracy"]
    assert low < right < high
    assert [curve.name for curve in content.operating] == ["1"]
    assert content.calibration is not None
    assert sum(row.samples for row in content.groups) == 21
    assert f"#{WRONG}" in [each.name for each in content.suspects]
    assert len(content.importance) == 8
    assert content.importance[0].fall > 0


def test_what_is_had_for_nothing_stands_beside_it(model: Model) -> None:
    assert model.metrics.chance["accuracy"] == 0.5
    assert model.metrics.majority is not None
    assert 0.3 < model.metrics.majority["balanced_accuracy"] <= 0.5  # some folds lack a class
    assert all(row.interval is not None for row in model.metrics.leaderboard)
    assert "5 folds" in model.metrics.spread or "4 folds" in model.metrics.spread


def test_a_model_in_memory_writes_its_report(model: Model, tmp_path: Path) -> None:
    page = model.report(tmp_path / "page.html")
    text = page.read_text(encoding="utf-8")
    assert 'id="out-of-fold"' in text
    assert 'id="thresholds"' in text
    summary = model.report(tmp_path / "page.md", markdown=True).read_text(encoding="utf-8")
    assert "## Out of fold" in summary
    with pytest.raises(ConfigError, match="has no place"):
        model.report()
    model.save(tmp_path / "saved")
    with pytest.raises(CheckpointError, match=r"There is no report\.html"):
        Model.load(tmp_path / "saved").report()


def test_a_run_on_disk_has_both_and_its_metrics_are_read_again(tmp_path: Path) -> None:
    model = tacita.fit(X[:90, :3], Y[:90], recipe=["knn"], out=tmp_path / "run", quiet=True)
    assert model.page is None
    assert model.report() == tmp_path / "run" / "report.html"
    assert model.report(tmp_path / "m.md", markdown=True).read_text().startswith("# knn on")
    written = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert set(written["held_out_intervals"]) == {"accuracy", "balanced_accuracy"}
    assert Model.load(tmp_path / "run").metrics == model.metrics


@pytest.mark.parametrize("metric", ["macro_f1", "auc", "log_loss"])
def test_candidates_are_ranked_by_the_metric_that_is_asked_for(metric: str) -> None:
    x = X[::4, :5]
    model = tacita.fit(x, Y[::4], recipe=["knn", "logistic-regression"], metric=metric, quiet=True)
    rows = model.metrics.leaderboard
    assert {row.metric for row in rows} == {metric}
    merits = [row.merit for row in rows]
    assert merits == sorted(merits, reverse=True)
    assert rows[0].scores[metric] == pytest.approx(rows[0].mean)
    assert (metric == "log_loss") == rows[0].lower


def test_uneven_classes_are_ranked_by_balanced_accuracy_and_it_is_said(
    capsys: pytest.CaptureFixture[str],
) -> None:
    draw = np.random.default_rng(0)
    y = np.array([0] * 60 + [1] * 10)
    x = draw.normal(size=(70, 2)) + y[:, None]
    model = tacita.fit(x, y, recipe=["knn"])
    assert model.metrics.leaderboard[0].metric == "balanced_accuracy"
    assert "ranked    the classes are uneven (60 labels against 10)" in capsys.readouterr().out
    told = tacita.fit(x, y, recipe=["knn"], metric="accuracy", quiet=True)
    assert told.metrics.leaderboard[0].metric == "accuracy"
    assert told.metrics.ranked_by == ""


def test_a_metric_that_there_is_not_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'balanced_accuracy'"):
        tacita.fit(X, FEW, recipe=["knn"], metric="balanced_acuracy", quiet=True)
    with pytest.raises(ConfigError, match="Known: r2, mean_absolute_error"):
        tacita.fit("diabetes", recipe=["knn"], metric="auc", quiet=True)


def test_a_notebook_shows_short_escaped_tables(model: Model) -> None:
    data = tacita.as_dataset(X[:9, :2], ["<b>"] * 5 + ["b"] * 4)
    assert "&lt;b&gt; 5" in data._repr_html_()
    assert "<b>" not in data._repr_html_()
    assert repr(data) == "Dataset(9 rows, 2 columns, 9 labelled, classification, 2 classes)"
    shown = model._repr_html_()
    assert shown.startswith("<table><caption>Model ")
    assert "accuracy, out of fold" in shown
    assert len(shown) < 3000
