"""TacitaRegressor: numbers in the user's units, rows without a target, and scikit-learn's manners."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import tacita
from tacita import TacitaRegressor
from tacita.errors import ConfigError, DataError


def forest(**named: Any) -> TacitaRegressor:
    return TacitaRegressor(**{"method": "random-forest", "random_state": 0, **named})


def diabetes() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows, all targets, and those of the first 150 with NaN behind."""
    X, y = load_diabetes(return_X_y=True)
    return X, y, np.where(np.arange(len(y)) < 150, y, np.nan)


SHUFFLED = KFold(3, shuffle=True, random_state=0)
"""Parts of which each has some targets."""


EXPECTED = {
    "check_sample_weight_equivalence_on_dense_data": "a forest draws its rows, and a row that is there "
    "twice is drawn in another way than one of weight 2; scikit-learn excepts its own from it"
}


@parametrize_with_checks([forest()], expected_failed_checks=lambda _: EXPECTED, xfail_strict=True)
def test_scikit_learns_own_checks(estimator: Any, check: Any) -> None:
    check(estimator)


def test_a_network_learns_from_few_targets_and_predicts_in_their_units() -> None:
    X, y, few = diabetes()
    regressor = TacitaRegressor(
        encoder="feature-tokens", steps=300, batch_size=64, random_state=0
    ).fit(X, few)
    predicted = regressor.predict(X[150:])
    assert predicted.dtype == np.float64
    linear = Ridge().fit(X[:150], y[:150])
    assert r2_score(y[150:], predicted) > linear.score(X[150:], y[150:]) - 0.1
    assert regressor.score(X[150:], y[150:]) == pytest.approx(r2_score(y[150:], predicted))


def test_rows_without_a_target_are_no_mistakes_of_a_score() -> None:
    X, y, few = diabetes()
    regressor = forest().fit(X, few)
    weight = np.arange(len(y)) + 1.0
    known = ~np.isnan(few)
    expected = r2_score(few[known], regressor.predict(X)[known], sample_weight=weight[known])
    assert regressor.score(X, few, sample_weight=weight) == pytest.approx(expected)
    with pytest.raises(DataError, match="none of the 442 samples has a label"):
        regressor.score(X, np.full(len(X), np.nan))


def test_minus_one_is_a_number() -> None:
    X = np.random.default_rng(0).normal(size=(60, 2))
    y = np.where(X[:, 0] > 0, 1.0, -1.0)
    assert set(np.sign(forest().fit(X, y).predict(X))) == {-1.0, 1.0}


def test_it_stands_in_pipelines_and_grids() -> None:
    X, _, few = diabetes()
    grid = GridSearchCV(
        make_pipeline(StandardScaler(), forest()),
        {"tacitaregressor__method": ["random-forest", "ridge"]},
        cv=SHUFFLED,
        error_score="raise",
    ).fit(X, few)
    assert grid.best_score_ > 0.2
    assert cross_val_score(forest(), X, few, cv=SHUFFLED).min() > 0.1


def test_its_model_is_saved_and_loaded(tmp_path: Any) -> None:
    X, _, few = diabetes()
    regressor = forest().fit(X, few)
    regressor.model_.save(tmp_path)
    np.testing.assert_allclose(tacita.Model.load(tmp_path).predict(X), regressor.predict(X))


@pytest.mark.parametrize(
    "y, named, message",
    [
        (["a", "b"] * 3, {}, "not all targets are numbers"),
        ([1.0, np.inf] * 3, {}, "the target of sample 1 is infinite"),
        ([2.0] * 6, {}, "the labels are all 2"),
        ([1.0, 2.0] * 3, {"method": "fixmatch"}, "fixmatch"),
    ],
)
def test_targets_that_cannot_be_learnt_from_are_named(
    y: Any, named: dict[str, Any], message: str
) -> None:
    X = np.random.default_rng(0).normal(size=(6, 3))
    with pytest.raises((DataError, ConfigError), match=message):
        forest(**named).fit(X, y)


def test_weights_are_those_of_rows() -> None:
    X, _, few = diabetes()
    weights = np.where(np.arange(len(few)) % 3, 1.0, 5.0)
    linear = TacitaRegressor("ridge")
    learnt = linear.fit(X, few, sample_weight=weights).predict(X)
    np.testing.assert_allclose(linear.fit(X, few, sample_weight=weights / 3).predict(X), learnt)
    known = ~np.isnan(few)
    scaled = (X - X.mean(0)) / X.std(0)
    expected = Ridge().fit(scaled[known], few[known], weights[known] / weights[known].mean())
    np.testing.assert_allclose(learnt, expected.predict(scaled), rtol=1e-3)
    assert np.abs(linear.fit(X, few).predict(X) - learnt).max() > 1
