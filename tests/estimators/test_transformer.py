"""TacitaTransformer: features of an encoder that saw no label, as a step of a pipeline."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

import tacita
from tacita import TacitaTransformer
from tacita.errors import ConfigError


def tiny(**named: Any) -> TacitaTransformer:
    given = {"encoder": "feature-tokens", "steps": 3, "batch_size": 4, "random_state": 0}
    return TacitaTransformer(
        **{**given, "options": {"encoder.dim": 16, "encoder.depth": 1}, **named}
    )


@parametrize_with_checks([tiny()])
def test_scikit_learns_own_checks(estimator: Any, check: Any) -> None:
    check(estimator)


def test_a_few_labels_go_further_on_its_features() -> None:
    digits = load_digits()
    X, y = digits.data, digits.target
    features = TacitaTransformer(shape=(1, 8, 8), steps=60, random_state=0).fit(X)
    probe = make_pipeline(features, LogisticRegression(max_iter=1000))
    few = np.concatenate([np.flatnonzero(y == c)[:2] for c in range(10)])
    rest = np.setdiff1d(np.arange(len(y)), few)
    embedded = features.transform(X)
    on_features = LogisticRegression(max_iter=1000).fit(embedded[few], y[few])
    on_pixels = LogisticRegression(max_iter=1000).fit(X[few], y[few])
    assert on_features.score(embedded[rest], y[rest]) > on_pixels.score(X[rest], y[rest]) + 0.03
    assert probe.steps[0][0] == "tacitatransformer"


def test_it_is_the_encoder_of_its_model_and_names_its_features(tmp_path: Any) -> None:
    X = np.random.default_rng(0).normal(size=(40, 5))
    transformer = tiny().fit(X)
    found = transformer.transform(X)
    assert found.shape == (40, 16)
    assert transformer.get_feature_names_out()[0] == "tacitatransformer0"
    transformer.model_.save(tmp_path)
    np.testing.assert_array_equal(tacita.Model.load(tmp_path).embed(X), found)


def test_labels_are_not_looked_at() -> None:
    X = np.random.default_rng(0).normal(size=(40, 5))
    y = np.arange(40)
    np.testing.assert_array_equal(tiny().fit(X, y).transform(X), tiny().fit(X).transform(X))


def test_a_method_that_needs_labels_is_refused() -> None:
    with pytest.raises(ConfigError, match="fixmatch"):
        tiny(method="fixmatch").fit(np.zeros((8, 3)))
