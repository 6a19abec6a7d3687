"""TacitaClassifier is an estimator like scikit-learn's own, and trains as `tacita.adapt` does.

What could go wrong: labels that are not found again in the user's own type and order, an option that
is lost on the way, unlabelled rows that count as mistakes, or a second path beside the verbs'.
"""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits, load_wine
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import tacita
from tacita import TacitaClassifier
from tacita.errors import ConfigError, DataError

TINY = {"encoder.dim": 16, "encoder.depth": 1}
EXPECTED = {
    "check_classifiers_classes": "one of its classes is -1, which means unlabelled here; scikit-learn "
    "excepts its own semi-supervised classifiers from it by name",
    "check_sample_weight_equivalence_on_dense_data": "only the ratios of weights count: a penalty and the "
    "steps of a training stay as they are, where twice the rows would weaken the one and change the other",
}


def tiny(**named: Any) -> TacitaClassifier:
    options = {"steps": 30, "batch_size": 16, "learning_rate": 0.02, "options": TINY}
    return TacitaClassifier(**{"encoder": "feature-tokens", "random_state": 0, **options, **named})


def wine(each: int = 6) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Standardised wines, all labels, and `each` labels a class with -1 elsewhere."""
    X, y = load_wine(return_X_y=True)
    X, few = StandardScaler().fit_transform(X), np.full(len(y), -1)
    for code in range(3):
        chosen = np.flatnonzero(y == code)[:each]
        few[chosen] = code
    return X, y, few


# Their labels are all there, and few are the steps.
@pytest.mark.filterwarnings("ignore:every sample has a label", "ignore:for an epoch of unlabelled")
@parametrize_with_checks(
    [tiny(random_state=None)], expected_failed_checks=lambda _: EXPECTED, xfail_strict=True
)
def test_scikit_learns_own_checks(estimator: Any, check: Any) -> None:
    check(estimator)


def test_it_is_the_training_of_the_verb() -> None:
    X, _, few = wine()
    classifier = tiny(random_state=3, options={**TINY, "threshold": 0.8, "train.warmup": 0.2})
    model = tacita.adapt(
        "fixmatch", X, few, seed=3, quiet=True, steps=30, batch_size=16, learning_rate=0.02,
        threshold=0.8, warmup=0.2, encoder="feature-tokens", **TINY,
    )  # fmt: skip
    np.testing.assert_array_equal(
        classifier.fit(X, few).predict_proba(X), model.predict_proba(X.astype(np.float32))
    )
    np.testing.assert_array_equal(classifier.embed(X), model.embed(X.astype(np.float32)))
    assert classifier.model_.recipe == model.recipe


def test_its_model_is_saved_without_a_pickle(tmp_path: Any) -> None:
    X, _, few = wine()
    classifier = tiny().fit(X, np.where(few < 0, None, few.astype(str)))
    classifier.model_.save(tmp_path)
    loaded = tacita.Model.load(tmp_path)
    assert loaded.predict(X).tolist() == classifier.predict(X).tolist()


@pytest.mark.parametrize("missing", [-1, "", None, float("nan")])
def test_words_are_learnt_under_every_marker(missing: Any) -> None:
    X, y, few = wine()
    names = np.array(["white", "rose", "blanc de noirs"])
    words = np.array([missing if code < 0 else str(names[code]) for code in few], dtype=object)
    numbers, named = tiny().fit(X, few), tiny().fit(X, words)
    assert named.classes_.tolist() == sorted(names)
    order = [sorted(names).index(name) for name in names]
    assert named.score(X, names[y]) > 0.8
    assert numbers.score(X, y) > 0.8
    assert set(named.predict(X)) == set(names)
    assert np.array_equal(np.sort(order), np.arange(3))


@pytest.mark.parametrize("dtype", ["int64", "float32", "object"])
def test_numbers_are_given_back_in_their_type_and_order(dtype: str) -> None:
    X, _, few = wine()
    y = np.where(few < 0, -1, 10 * (2 - few)).astype(dtype)
    classifier = tiny().fit(X, y)
    assert classifier.classes_.tolist() == [0, 10, 20]
    predicted = classifier.predict(X)
    assert predicted.dtype.kind == ("i" if dtype == "object" else np.dtype(dtype).kind)
    known = few >= 0
    assert (predicted[known] == y[known].astype(int)).mean() > 0.9


def test_rows_are_reshaped_into_images_and_series() -> None:
    digits = load_digits()
    images, y = digits.images[:200, None].astype(np.float32), digits.target[:200]
    few = np.where(np.arange(200) < 40, y, -1)
    image = TacitaClassifier(
        encoder="residual-cnn", steps=5, options={"encoder.width": 8}, random_state=0
    )
    flat = clone(image).set_params(shape=(1, 8, 8))
    np.testing.assert_array_equal(
        image.fit(images, few).predict_proba(images),
        flat.fit(images.reshape(200, 64), few).predict_proba(images.reshape(200, 64)),
    )
    assert flat.n_features_in_ == 64
    assert flat.model_.schema.spec.shape == (1, 8, 8)
    series = (
        clone(image)
        .set_params(shape=(8, 8), encoder=None, options={})
        .fit(images.reshape(200, 64), few)
    )
    assert series.model_.schema.spec.modality == "series"
    # Bytes of this rank would be taken for grey images if the shape did not say otherwise.
    bytes_ = images.reshape(200, 64).astype(np.uint8)
    assert clone(series).fit(bytes_, few).model_.schema.spec.modality == "series"


def test_a_few_labels_and_the_rest_unlabelled_beat_the_labels_alone() -> None:
    digits = load_digits()
    X, y = digits.data[:900], digits.target[:900]
    few = np.where(np.arange(len(y)) < 40, y, -1)
    classifier = TacitaClassifier(
        encoder="residual-cnn",
        steps=100,
        learning_rate=0.005,
        shape=(1, 8, 8),
        options={"encoder.width": 16},
        random_state=0,
    )
    alone = LogisticRegression(max_iter=1000).fit(X[:40], y[:40])
    assert classifier.fit(X, few).score(X[40:], y[40:]) > alone.score(X[40:], y[40:]) + 0.03


def test_unlabelled_rows_are_no_mistakes_of_a_score() -> None:
    X, y, few = wine()
    classifier = tiny().fit(X, few)
    known = few >= 0
    right = classifier.predict(X) == y
    assert classifier.score(X, few) == right[known].mean()
    weight = np.arange(len(y)) + 1.0
    expected = np.average(right[known], weights=weight[known])
    assert classifier.score(X, few, sample_weight=weight) == pytest.approx(expected)


def test_a_grid_holds_methods_options_and_baselines() -> None:
    X, y, few = wine(12)
    grid = GridSearchCV(
        make_pipeline(StandardScaler(), tiny()),
        [
            {"tacitaclassifier__options": [{**TINY, "threshold": t} for t in (0.8, 0.95)]},
            {"tacitaclassifier__method": ["supervised"]},
            # This one trains by no steps and has no encoder.
            {
                "tacitaclassifier__method": ["label-spreading"],
                "tacitaclassifier__options": [None],
            },
        ],
        cv=2,
        error_score="raise",
    ).fit(X, few)
    assert len(grid.cv_results_["mean_test_score"]) == 4
    assert min(grid.cv_results_["mean_test_score"]) > 0.7
    assert grid.score(X, y) > 0.85


def test_cross_validation_scores_the_labelled_rows_of_each_part() -> None:
    X, _, few = wine(12)
    scores = cross_val_score(tiny(), X, few, cv=3)
    assert scores.shape == (3,)
    # Counting unlabelled rows as mistakes, no part could reach a quarter.
    assert scores.min() > 0.7


def test_a_state_decides_everything_random() -> None:
    X, _, few = wine()

    def fitted(state: Any) -> np.ndarray:
        return tiny(steps=5, random_state=state).fit(X, few).predict_proba(X)

    before = torch.get_rng_state()
    np.testing.assert_array_equal(fitted(1), fitted(1))
    assert torch.equal(torch.get_rng_state(), before)
    assert not np.array_equal(fitted(1), fitted(2))
    np.testing.assert_array_equal(
        fitted(np.random.RandomState(5)), fitted(np.random.RandomState(5))
    )
    one = np.random.RandomState(5)
    assert not np.array_equal(fitted(one), fitted(one))


def test_a_fitted_one_is_pickled_in_memory_and_cloned_unfitted() -> None:
    X, _, few = wine()
    classifier = tiny(steps=5).fit(X, few)
    again = pickle.loads(pickle.dumps(classifier))
    np.testing.assert_array_equal(again.predict_proba(X), classifier.predict_proba(X))
    with pytest.raises(NotFittedError):
        clone(classifier).predict(X)


def test_names_of_columns_are_kept_and_asked_for() -> None:
    X, _, few = wine()
    frame = pd.DataFrame(X, columns=[f"c{i}" for i in range(X.shape[1])])
    classifier = tiny(steps=5).fit(frame, few)
    assert classifier.feature_names_in_.tolist() == list(frame.columns)
    with pytest.raises(ValueError, match="feature names should match"):
        classifier.predict(frame[frame.columns[::-1]])


@pytest.mark.parametrize(
    "named, error, message, remedy",
    [
        ({"method": "fixmach"}, ConfigError, "'fixmach'", "fixmatch"),
        ({"method": "mae"}, ConfigError, "learn.method: mae", "adapt, semisup, baseline"),
        ({"encoder": "vit"}, ConfigError, "vit reads images", "--modality tables"),
        ({"options": {"treshold": 0.9}}, ConfigError, "learn.treshold", "threshold"),
        ({"options": {"threshold": 2.0}}, ConfigError, "threshold=2.0", ""),
        ({"steps": 0}, ConfigError, "steps=0", "1 or more"),
        ({"device": "gpu"}, ConfigError, "gpu", ""),
        ({"shape": (1, 4, 4)}, ConfigError, "holds 16 numbers, but a row of X has 13", "(C, H, W)"),
        ({"shape": (1, 1, 1, 13)}, ConfigError, "shape=(1, 1, 1, 13) has 4 axes", "2 of series"),
        ({"method": "minirocket"}, ConfigError, "minirocket", "tables"),
    ],
)
def test_arguments_that_cannot_be_are_named(
    named: dict[str, Any], error: type[Exception], message: str, remedy: str
) -> None:
    X, _, few = wine()
    given = {"options": None, "encoder": None, **named}
    with pytest.raises(error) as caught:
        tiny(**given).fit(X, few)
    assert message in str(caught.value)
    assert remedy in str(caught.value)


@pytest.mark.parametrize(
    "y, message, remedy",
    [
        ([-1] * 6, "none of the 6 samples has a label", "Give at least 1 label a class"),
        (["a", "a", "", "", "", ""], "all 2 labels are of one class, 'a'", "at least two classes"),
        ([0.5, 1.5, 0.25, -1, -1, -1], "y is continuous, such as 0.5", "TacitaRegressor"),
        (["a", 1, "b", -1, -1, -1], "words and numbers as labels, such as 'a' and 1", "as words"),
        ([0, 1, -1], "inconsistent numbers of samples: [6, 3]", ""),
    ],
)
def test_labels_that_cannot_be_learnt_from_are_named(
    y: list[Any], message: str, remedy: str
) -> None:
    X = np.random.default_rng(0).normal(size=(6, 3))
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        tiny(steps=1).fit(X, np.array(y, dtype=object) if "a" in y else y)
    assert message in str(caught.value)
    assert remedy in str(caught.value)


def test_one_label_a_class_is_enough() -> None:
    X, _, few = wine(1)
    assert tiny().fit(X, few).score(X, few) == 1.0


def test_a_score_without_a_label_and_features_without_an_encoder_are_refused() -> None:
    X, _, few = wine()
    forest = tiny(method="random-forest", options=None).fit(X, few)
    with pytest.raises(DataError, match="none of the 178 samples has a label"):
        forest.score(X, np.full(len(X), -1))
    with pytest.raises(ConfigError, match="random-forest has no encoder"):
        forest.embed(X)


def test_weights_are_those_of_rows_and_zero_leaves_one_out() -> None:
    X, y, few = wine()
    keep, weights = np.arange(len(y)) % 4 != 0, 1.0 + np.arange(len(y)) % 3
    for classifier in (tiny(), TacitaClassifier("logistic-regression")):
        with_zeros = clone(classifier).fit(X, few, sample_weight=weights * keep)
        without = clone(classifier).fit(X[keep], few[keep], sample_weight=weights[keep])
        plain = clone(classifier).fit(X[keep], few[keep])
        np.testing.assert_array_equal(with_zeros.predict_proba(X), without.predict_proba(X))
        assert not np.array_equal(plain.predict_proba(X), without.predict_proba(X))
        alike = clone(classifier).fit(X, few, sample_weight=np.full(len(y), 7))
        np.testing.assert_array_equal(
            alike.predict_proba(X), clone(classifier).fit(X, few).predict_proba(X)
        )


def test_a_class_of_weight_zero_is_no_class() -> None:
    X, y, _ = wine()
    classifier = TacitaClassifier("random-forest", random_state=0)
    assert classifier.fit(X, y, sample_weight=(y != 1).astype(float)).classes_.tolist() == [0, 2]


def test_a_method_that_cannot_weigh_says_so_before_it_learns() -> None:
    X, _, few = wine()
    classifier = TacitaClassifier("label-spreading")
    with pytest.raises(ConfigError, match="label-spreading cannot weigh samples"):
        classifier.fit(X, few, sample_weight=np.arange(len(few)) + 1)
    with pytest.raises(DataError, match="weight of sample 2 is -1"):
        tiny().fit(X, few, sample_weight=[1, 1, -1, *[1] * (len(few) - 3)])
