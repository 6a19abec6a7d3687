"""Splits decide every figure: a leak, a lost class or a changed draw would spoil all of them."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tacita.data.dataset import Dataset
from tacita.data.splits import (
    cross_validation,
    draw_labels,
    enough_to_hold_out,
    hold_out,
)
from tacita.errors import ConfigError, DataError
from tacita.tasks import Classification, Regression


def table(counts: list[int], unlabelled: int = 0, groups: int = 0) -> Dataset:
    y = torch.cat([torch.full((n,), code) for code, n in enumerate(counts)])
    y = torch.cat([y, torch.full((unlabelled,), -1)])
    task = Classification(tuple(f"class {code}" for code in range(len(counts))))
    return Dataset.of(
        "tables",
        torch.randn(len(y), 2),
        y,
        task,
        groups=torch.arange(len(y)) % groups if groups else None,
    )


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(2, 30), min_size=2, max_size=4), st.integers(0, 20), st.integers(0, 9))
def test_folds_score_every_label_and_never_learn_from_what_they_score(
    counts: list[int], unlabelled: int, seed: int
) -> None:
    data = table(counts, unlabelled)
    folds = cross_validation(data, seed)
    labelled = set(data.labelled.nonzero()[:, 0].tolist())
    assert len(folds) >= 3
    for fold in folds:
        train, score = set(fold.train.tolist()), set(fold.score.tolist())
        assert not train & score
        assert train | score == labelled
        assert set(data.y[fold.train].tolist()) == set(range(len(counts)))
    assert set().union(*(fold.score.tolist() for fold in folds)) == labelled


@settings(deadline=None, max_examples=20)
@given(st.integers(5, 12), st.integers(0, 5))
def test_a_group_never_stands_on_both_sides(groups: int, seed: int) -> None:
    data = table([40, 40], groups=groups)
    assert data.groups is not None
    pairs = [(fold.train, fold.score) for fold in cross_validation(data, seed)]
    for train, score in [*pairs, hold_out(data, 0.3, seed)]:
        assert not set(data.groups[train].tolist()) & set(data.groups[score].tolist())


def test_the_held_out_part_keeps_the_shares_of_the_classes() -> None:
    data = table([80, 20])
    kept, held = hold_out(data, 0.25, seed=3)
    assert torch.bincount(data.y[held]).tolist() == [20, 5]
    assert torch.bincount(data.y[kept]).tolist() == [60, 15]


def test_splits_are_the_same_under_a_seed_and_others_under_another() -> None:
    data = table([50, 50])
    assert torch.equal(hold_out(data, 0.3, 1)[1], hold_out(data, 0.3, 1)[1])
    assert not torch.equal(hold_out(data, 0.3, 1)[1], hold_out(data, 0.3, 2)[1])
    assert torch.equal(draw_labels(data, 2, 1), draw_labels(data, 2, 1))
    assert not torch.equal(draw_labels(data, 2, 1), draw_labels(data, 2, 2))


def test_draws_take_exactly_so_many_of_each_class() -> None:
    data = table([10, 7, 5], unlabelled=20)
    drawn = draw_labels(data, 3, seed=0)
    assert torch.bincount(data.y[drawn]).tolist() == [3, 3, 3]


def test_a_draw_larger_than_a_class_names_the_class() -> None:
    with pytest.raises(DataError, match="'class 1' has 4 labels"):
        draw_labels(table([10, 4]), 5, seed=0)


def test_labels_per_class_are_refused_where_there_are_no_classes() -> None:
    data = Dataset.of("tables", torch.randn(9, 2), torch.randn(9), Regression())
    with pytest.raises(ConfigError, match="regression"):
        draw_labels(data, 2, seed=0)


def test_a_few_labels_are_not_held_out() -> None:
    assert not enough_to_hold_out(table([7, 100]))
    assert enough_to_hold_out(table([20, 20]))
    assert not enough_to_hold_out(table([20, 20], groups=4))


def test_regression_targets_are_split_too() -> None:
    data = Dataset.of("tables", torch.randn(50, 2), torch.randn(50), Regression())
    assert len(cross_validation(data, 0)) == 5
    assert enough_to_hold_out(data)
