"""Boosted trees with categories go to disk and back, and what stands before them is not trusted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
from sklearn.compose import ColumnTransformer
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder

from tacita.baselines.gradient_boosting import GradientBoosting
from tacita.baselines.safe_estimator import load_estimator, save_estimator
from tacita.errors import CheckpointError
from tests.helpers import mixed_tables


@pytest.fixture
def learner() -> GradientBoosting:
    return GradientBoosting().fit(mixed_tables())


def read(learner: GradientBoosting, path: Path) -> Any:
    unfitted = learner.estimator(learner.task_, learner.spec_, rows=2, seed=0)
    return load_estimator(path, unfitted, learner.spec_)


def test_trees_with_categories_and_empty_cells_come_back_as_they_were(
    learner: GradientBoosting, tmp_path: Path
) -> None:
    save_estimator(learner.estimator_, tmp_path / "e.skops")
    x = mixed_tables().x.numpy()
    found = read(learner, tmp_path / "e.skops").predict_proba(x)
    assert np.array_equal(found, learner.estimator_.predict_proba(x))


def test_the_function_before_the_trees_changes_nothing() -> None:
    learner, data = GradientBoosting(), mixed_tables()
    x, y = data.x.numpy(), data.y.numpy()
    whole = learner.estimator(data.task, data.spec, len(data), 0).fit(x, y)
    learner.spec_, expected = data.spec, whole.predict_proba(x)
    for _, step, _ in whole._preprocessor.transformers_:
        if isinstance(step, FunctionTransformer):
            step.func = None
    assert np.array_equal(whole.predict_proba(x), expected)


def without_a_column(columns: Any) -> ColumnTransformer:
    steps = [("a", OrdinalEncoder(), [4]), ("b", FunctionTransformer(), [0, 1])]
    return ColumnTransformer(steps).fit(columns)


def of_other_kinds(columns: Any) -> ColumnTransformer:
    steps = [("a", OneHotEncoder(), [4, 5]), ("b", FunctionTransformer(), [0, 1])]
    return ColumnTransformer(steps).fit(columns)


def with_a_function(columns: Any) -> ColumnTransformer:
    mask = np.array([False, False, False, False, True, True])
    steps = [("a", OrdinalEncoder(), mask), ("b", FunctionTransformer(np.exp), ~mask)]
    return ColumnTransformer(steps).fit(columns)


@pytest.mark.parametrize("before", [without_a_column, of_other_kinds, with_a_function, "nothing"])
def test_what_gives_the_trees_other_columns_is_refused(
    before: Any, learner: GradientBoosting, tmp_path: Path
) -> None:
    columns = np.nan_to_num(mixed_tables().x.numpy())
    learner.estimator_._preprocessor = before(columns) if callable(before) else before
    skops.io.dump(learner.estimator_, tmp_path / "e.skops")
    with pytest.raises(CheckpointError, match=r"e\.skops"):
        read(learner, tmp_path / "e.skops")
