import json

import numpy as np
import pytest

from tacita.model.metrics import Metrics, Row
from tacita.report import figures
from tacita.report.content import Calibration, EmbeddingMap, RegressionFit
from tacita.report.figures import candidates
from tacita.report.figures.map import MAP_POINTS
from tacita.report.figures.predictions import MATRIX_CLASSES
from tacita.report.figures.spec import label, plain


def points(count, *, labelled=10, classes=3):
    codes = np.arange(count) % classes
    seen = np.zeros(count, dtype=bool)
    seen[-labelled:] = True
    return EmbeddingMap(
        np.random.default_rng(0).normal(size=(count, 2)),
        codes,
        seen,
        [f"s{i}" for i in range(count)],
    )


def shown(figure, symbol=None):
    return sum(
        len(trace["x"])
        for trace in figure.data
        if symbol is None or trace["marker"].get("symbol") == symbol
    )


def test_every_fold_is_a_dot_and_the_winner_a_diamond():
    rows = [
        Row(
            name="a", metric="accuracy", mean=0.95, std=0.1, folds=[0.9, 1.0], interval=(0.7, 0.99)
        ),
        Row(name="b", metric="accuracy", mean=0.05, std=0.1, folds=[0.05], baseline=True),
        Row(name="broken", metric="accuracy", mean=None, std=None),
    ]
    metrics = Metrics(winner="a", leaderboard=rows, majority={"accuracy": 0.4})
    figure = figures.leaderboard(metrics)
    band, dots, means = figure.data
    assert list(zip(dots["x"], dots["y"], strict=True)) == [(0.9, 0), (1.0, 0), (0.05, 1)]
    assert (band["x"], band["y"]) == ([0.7, 0.99], [0, 0])
    assert means["x"] == [0.95, 0.05]
    # Whiskers end where a share does.
    assert np.allclose(means["error_x"]["array"], [0.05, 0.1])
    assert np.allclose(means["error_x"]["arrayminus"], [0.1, 0.05])
    assert means["marker"]["symbol"] == ["diamond", "circle"]
    assert [shape["x0"] for shape in figure.layout["shapes"]] == [0.4]
    low, high = figure.layout["xaxis"]["range"]
    assert -0.02 <= low < 0.05
    assert 1.0 < high <= 1.02
    assert "a 95.0%" in figure.alt


def test_a_leaderboard_without_scores_is_not_drawn():
    assert figures.leaderboard(Metrics()) is None
    none = Row(name="a", metric="r2", mean=None, std=None)
    assert figures.leaderboard(Metrics(leaderboard=[none])) is None


def test_the_learning_rate_is_drawn_apart_from_the_losses():
    history = [{"step": i, "loss": 1.0 / (i + 1), "rate": 1e-3 * i} for i in range(9)]
    (loss,) = figures.learning_curve("a", history).data
    assert loss["name"] == "loss"
    (rate,) = figures.learning_rate("a", history).data
    assert rate["y"][-1] == pytest.approx(8e-3)
    assert figures.learning_rate("a", [{"step": 1, "loss": 1.0}]) is None


def test_long_curves_are_bounded_and_keep_both_ends():
    history = [{"step": i, "loss": 1.0 + i} for i in range(3000)]
    (line,) = figures.learning_curve("a", history).data
    assert len(line["x"]) == candidates.CURVE_POINTS
    assert (line["x"][0], line["x"][-1]) == (0, 2999)


def test_a_term_seen_now_and_then_keeps_its_own_steps():
    history = [{"step": i, "loss": 1.0} | ({"knn": 0.5} if i % 5 == 0 else {}) for i in range(20)]
    loss, knn = figures.learning_curve("a", history).data
    assert len(loss["x"]) == 20
    assert knn["x"] == [0, 5, 10, 15]


def test_curves_of_many_magnitudes_are_logarithmic():
    wide = figures.learning_curve("a", [{"step": 1, "x": 1e4}, {"step": 2, "x": 1.0}])
    assert wide.layout["yaxis"]["type"] == "log"
    crossing = figures.learning_curve("a", [{"step": 1, "x": 1e4}, {"step": 2, "x": -1.0}])
    assert "type" not in crossing.layout["yaxis"]


def test_a_large_map_is_bounded_keeps_all_labelled_and_says_so():
    figure = figures.embedding_map(points(12_000, labelled=40), ["a", "b", "c"])
    assert shown(figure) == MAP_POINTS
    assert shown(figure, "diamond") == 40
    assert figure.note == "5,000 of 12,000 samples are shown."
    assert figures.embedding_map(points(50), ["a", "b", "c"]).note == ""


def test_only_held_out_mistakes_are_crossed():
    given = points(6, labelled=2)
    held_out = np.array([True, True, True, False, False, False])
    correct = np.array([True, False, True, False, True, True])
    given = EmbeddingMap(given.xy, given.codes, given.labelled, given.names, held_out, correct)
    cross = figures.embedding_map(given, ["a", "b", "c"]).data[-1]
    assert cross["name"] == "predicted wrongly"
    assert cross["x"].tolist() == [given.xy[1, 0]]


def test_values_colour_the_map_of_a_regression():
    values = np.array([1.0, 2.0, np.nan, 4.0])
    seen = np.array([True, False, False, False])
    given = EmbeddingMap(np.zeros((4, 2)), np.full(4, -1), seen, list("abcd"), values=values)
    unlabelled, rest, few = figures.embedding_map(given, ()).data
    assert len(unlabelled["x"]) == 1
    assert rest["marker"]["color"].tolist() == [2.0, 4.0]
    assert few["marker"]["color"].tolist() == [1.0]
    assert (few["marker"]["cmin"], few["marker"]["cmax"]) == (1.0, 4.0)


def test_the_matrix_is_shaded_by_the_share_of_the_true_class():
    (heat,) = figures.confusion(np.array([[3, 1], [0, 0]]), ["a", "b"]).data
    assert heat["z"].tolist() == [[0.75, 0.25], [0.0, 0.0]]
    assert heat["text"] == [["3", "1"], ["", ""]]


def test_a_large_matrix_shows_the_classes_with_most_mistakes():
    matrix = 5 * np.eye(100, dtype=np.int64)
    matrix[7, 93] = 4
    figure = figures.confusion(matrix, [f"class {k}" for k in range(100)])
    (heat,) = figure.data
    assert heat["z"].shape == (MATRIX_CLASSES, MATRIX_CLASSES)
    named = [row[0][0] for row in heat["customdata"]]
    assert "class 7" in named
    assert "class 93" in named
    assert "60 of 100" in figure.note


def test_predictions_that_are_not_finite_are_left_out():
    fit = RegressionFit(np.array([1.0, np.nan, 3.0]), np.array([1.5, 2.0, np.inf]))
    diagonal, dots = figures.predicted_against_true(fit).data
    assert dots["x"].tolist() == [1.0]
    assert diagonal["x"] == [1.0, 1.5]
    assert figures.predicted_against_true(RegressionFit(np.array([np.nan]), np.zeros(1))) is None


def test_an_empty_calibration_is_not_drawn():
    assert figures.calibration(Calibration(*(np.zeros(0),) * 3, float("nan"))) is None


def test_names_are_inert_and_bounded():
    assert label("<b>x</b>") == "&lt;b&gt;x&lt;/b&gt;"
    assert label("a\ud800") == "a?"
    assert label("class " * 20 + "7", 10) == "class…ss 7"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, float("nan"), np.float32("nan")])
def test_what_is_not_finite_becomes_null(value):
    assert json.dumps(plain({"a": [np.array([value, 1]), value]})) == '{"a": [[null, 1.0], null]}'
