import numpy as np
import pytest
import torch

from tacita.data.dataset import Dataset
from tacita.errors import DataError
from tacita.model.metrics import Metrics, Row
from tacita.report.content import (
    EmbeddingMap,
    ReportContent,
    sample_errors,
    verdict,
)
from tacita.tasks import Classification, Regression
from tests.helpers import samples_of


def row(name, mean, *, std=0.01, **kind):
    return Row(name=name, metric="accuracy", mean=mean, std=std, **kind)


def said(rows, **more):
    """The verdict where the first row is kept, unless another is named."""
    return verdict(Metrics(**{"winner": rows[0].name if rows else "", "leaderboard": rows, **more}))


def test_a_baseline_that_wins_is_said_to_win():
    rows = [row("forest", 0.8, baseline=True), row("fixmatch", 0.7)]
    assert said(rows) == (
        "A baseline, forest, wins: accuracy 80.0% against 70.0% "
        "for the best candidate that learns features, fixmatch."
    )


def test_a_lead_within_the_spread_is_said_to_be_small():
    rows = [row("fixmatch", 0.81, std=0.03), row("forest", 0.8, baseline=True)]
    assert "within the spread of the folds" in said(rows)
    rows = [row("fixmatch", 0.91, std=0.03), row("forest", 0.8, baseline=True)]
    assert "within the spread" not in said(rows)


def test_nobody_wins_without_a_score():
    assert said([]) == ""
    assert said([row("fixmatch", float("nan"))]).endswith("is kept; nobody has a score.")
    assert said([row("fixmatch", 0.5)]) == "fixmatch wins: accuracy 50.0%."


def test_it_is_said_where_unlabelled_samples_did_no_good():
    alone = row("supervised", 0.856)
    worse = [row("fixmatch", 0.71, unlabelled=True), row("mae + knn", 0.8, unlabelled=True)]
    assert said([alone, worse[0]]) == (
        "supervised wins: accuracy 85.6%. The unlabelled samples helped no candidate: "
        "fixmatch has 71.0% against 85.6% for supervised."
    )
    assert "mae + knn, the best that uses them, has 80.0%" in said([alone, *worse])
    better = row("simclr + knn", 0.9, unlabelled=True)
    alone = row("supervised", 0.856)
    assert said([better, alone, worse[0]]).endswith(
        " Of those that use the unlabelled samples, fixmatch is below supervised (85.6%)."
    )
    found = said([better, alone, *worse, row("byol", 0.1, unlabelled=True)])
    assert "fixmatch, mae + knn and byol are below supervised" in found
    near = row("fixmatch", 0.85, unlabelled=True)
    assert said([alone, near]).endswith("; that is within the spread of the folds.")


def test_nothing_is_said_of_unlabelled_samples_that_helped_or_were_not_compared():
    better = row("fixmatch", 0.9, unlabelled=True)
    assert "unlabelled" not in said([better, row("supervised", 0.8), row("forest", 0.1)])
    assert "unlabelled" not in said([better, row("mae", 0.1, unlabelled=True)])
    nan = row("supervised", float("nan"))
    assert "unlabelled" not in said([better, nan])


def test_a_simpler_candidate_that_is_kept_is_said_to_be_kept():
    rows = [row("fixmatch", 0.81, std=0.03), row("forest", 0.8, baseline=True)]
    found = said(rows, winner="forest", tie="fixmatch is ahead by chance, so the simpler is kept")
    assert found == (
        "A baseline, forest, is kept: accuracy 80.0% against 81.0% for the best candidate that learns "
        "features, fixmatch. fixmatch is ahead by chance, so the simpler is kept."
    )


def test_a_model_that_is_no_better_than_knowing_the_shares_is_told_off():
    found = said([row("forest", 0.6, baseline=True)], majority={"accuracy": 0.6})
    assert found.endswith("no better than knowing only how common the answers are (60.0%).")
    assert "no better" not in said([row("forest", 0.61)], majority={"accuracy": 0.6})


def test_where_less_is_better_the_least_wins():
    rows = [
        Row(name="mine", metric="mean_absolute_error", mean=2.0, std=0.1, lower=True),
        Row(
            name="forest",
            metric="mean_absolute_error",
            mean=3.0,
            std=0.1,
            lower=True,
            baseline=True,
        ),
    ]
    assert said(rows, winner="") == (
        "mine wins: mean absolute error 2 against 3 for the best baseline, forest."
    )


def test_samples_come_back_as_what_they_are():
    image = Dataset.of("images", torch.full((1, 3, 4, 4), 7, dtype=torch.uint8), torch.tensor([0]))
    assert image.kind.show(image, 0).shape == (3, 4, 4)
    series = Dataset.of(
        "series", samples_of(torch.ones(2, 9, 2), torch.tensor([9, 4])), torch.tensor([0, 0])
    )
    assert series.kind.show(series, 1).shape == (4, 2)
    table = Dataset.of(
        "tables",
        torch.tensor([[1.5, 1.0], [2.5, torch.nan]]),
        torch.tensor([0.0, 1.0]),
        Regression(),
        columns=("age", "colour"),
        categories=((), ("red", "blue")),
    )
    assert table.kind.show(table, 0) == {"age": 1.5, "colour": "blue"}
    assert np.isnan(table.kind.show(table, 1)["colour"])


def test_errors_carry_the_users_own_names():
    data = Dataset.of(
        "tables", torch.zeros(3, 1), torch.tensor([0, 1, 1]), Classification(("cat", "dog"))
    )
    (error,) = sample_errors(data, np.array([2]), np.array([0]), np.array([0.9]))
    assert (error.name, error.true, error.predicted, error.confidence) == ("#2", "dog", "cat", 0.9)
    assert error.sample == {"column 0": 0.0}


def test_shapes_that_disagree_are_refused():
    with pytest.raises(DataError, match="3 classes"):
        ReportContent("x", classes=("a", "b", "c"), confusion=np.eye(2))
    with pytest.raises(DataError, match="labelled"):
        EmbeddingMap(np.zeros((2, 2)), np.zeros(2), np.zeros(3, dtype=bool), ["a", "b"])
    with pytest.raises(DataError, match="xy"):
        EmbeddingMap(np.zeros((2, 3)), np.zeros(2), np.zeros(2, dtype=bool), ["a", "b"])
