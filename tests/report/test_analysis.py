import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from tacita.errors import DataError
from tacita.measures.calibration import BINS, reliability
from tacita.measures.errors import confident_errors, confusion
from tacita.report import analysis


@st.composite
def predictions(draw):
    classes = draw(st.integers(2, 5))
    count = draw(st.integers(1, 40))
    generator = np.random.default_rng(draw(st.integers(0, 10_000)))
    probabilities = generator.dirichlet(np.ones(classes), count)
    return probabilities, generator.integers(0, classes, count), classes


def drawn(probabilities, y, bins=BINS):
    return analysis.calibration(
        reliability(torch.from_numpy(probabilities), torch.from_numpy(y), bins)
    )


def test_rows_of_the_confusion_matrix_are_true_classes():
    matrix = confusion(np.array([1, 1, 2, 0]), np.array([0, 0, 2, 1]), 3)
    assert matrix.tolist() == [[0, 2, 0], [1, 0, 0], [0, 0, 1]]


@settings(deadline=None, max_examples=25)
@given(predictions())
def test_confusion_and_class_figures_agree_with_scikit_learn(case):
    probabilities, y, classes = case
    predicted = probabilities.argmax(1)
    labels = list(range(classes))
    matrix = confusion(predicted, y, classes)
    np.testing.assert_array_equal(matrix, confusion_matrix(y, predicted, labels=labels))
    rows = analysis.per_class(matrix, [str(k) for k in labels])
    expected = precision_recall_fscore_support(y, predicted, labels=labels, zero_division=np.nan)
    got = np.array([[row.precision, row.recall, row.f1, row.support] for row in rows]).T
    np.testing.assert_allclose(got, np.array(expected), atol=1e-12)


def test_a_class_never_predicted_has_no_precision():
    never, always = analysis.per_class(np.array([[0, 3], [0, 2]]), ["never", "always"])
    assert np.isnan(never.precision)
    assert (never.recall, never.f1, never.support) == (0.0, 0.0, 3)
    assert (always.precision, always.recall, always.support) == (0.4, 1.0, 2)
    assert always.f1 == pytest.approx(4 / 7)


def test_calibration_of_a_case_worked_by_hand():
    # Two bins of [0, 0.5] and (0.5, 1]: one sample at 0.5 (wrong), three at 0.7, 0.8, 0.9 (2 right).
    probabilities = np.array([[0.5, 0.5], [0.7, 0.3], [0.8, 0.2], [0.1, 0.9]])
    bins = drawn(probabilities, np.array([1, 0, 1, 1]), bins=2)
    np.testing.assert_allclose(bins.confidence, [0.5, 0.8])
    np.testing.assert_allclose(bins.accuracy, [0.0, 2 / 3])
    assert bins.count.tolist() == [1, 3]
    assert bins.error == pytest.approx((1 * 0.5 + 3 * (0.8 - 2 / 3)) / 4)


@settings(deadline=None, max_examples=25)
@given(predictions())
def test_calibration_bins_agree_with_scikit_learn(case):
    probabilities, y, _ = case
    bins = drawn(probabilities, y)
    right = probabilities.argmax(1) == y
    accuracy, confidence = calibration_curve(right, probabilities.max(1), n_bins=15)
    np.testing.assert_allclose(bins.accuracy, accuracy)
    np.testing.assert_allclose(bins.confidence, confidence)
    assert bins.count.sum() == len(y)


def test_no_samples_have_no_calibration_error():
    bins = drawn(np.zeros((0, 3)), np.zeros(0, dtype=np.int64))
    assert np.isnan(bins.error)
    assert len(bins.count) == 0


@settings(deadline=None, max_examples=25)
@given(predictions(), st.integers(0, 10))
def test_confident_errors_are_wrong_and_fall_in_confidence(case, top):
    probabilities, y, _ = case
    found = confident_errors(probabilities, y, top)
    wrong = probabilities.argmax(1) != y
    assert len(found) == min(top, wrong.sum())
    assert wrong[found].all()
    sure = probabilities.max(1)
    assert (np.diff(sure[found]) <= 0).all()
    if len(found):
        assert sure[found].min() >= np.delete(sure, found)[np.delete(wrong, found)].max(initial=0)


def test_the_map_keeps_clusters_apart_and_repeats_itself():
    generator = np.random.default_rng(0)
    features = np.concatenate(
        [generator.normal(0, 0.1, (30, 8)), generator.normal(5, 0.1, (30, 8))]
    )
    first, again = analysis.embedding_map(features), analysis.embedding_map(features)
    np.testing.assert_array_equal(first.xy, again.xy)
    assert "t-SNE" in first.method
    a, b = first.xy[:30], first.xy[30:]
    between = np.linalg.norm(a.mean(0) - b.mean(0))
    assert between > 3 * max(np.linalg.norm(part - part.mean(0), axis=1).mean() for part in (a, b))


def test_many_samples_are_mapped_by_components_alone():
    features = np.random.default_rng(0).normal(size=(analysis.TSNE_LIMIT + 1, 4)) * [1, 9, 1, 5]
    xy, method = analysis.embedding_map(features)
    assert "PCA" in method
    assert "t-SNE" not in method
    assert abs(np.corrcoef(xy[:, 0], features[:, 1])[0, 1]) > 0.99
    assert abs(np.corrcoef(xy[:, 1], features[:, 3])[0, 1]) > 0.99


@pytest.mark.parametrize("shape", [(1, 3), (3, 1), (40, 1), (40, 5), (12, 2)])
@pytest.mark.parametrize("kind", ["same", "line", "noise"])
def test_degenerate_features_still_have_a_finite_map(shape, kind):
    features = np.ones(shape, dtype=np.float32)
    if kind == "line":
        features = features * np.arange(len(features))[:, None]
    if kind == "noise":
        features = np.random.default_rng(1).normal(size=shape)
    xy, method = analysis.embedding_map(features)
    assert xy.shape == (len(features), 2)
    assert np.isfinite(xy).all()
    assert method


def test_features_that_are_not_finite_are_refused_with_the_sample():
    features = np.ones((4, 2))
    features[2, 1] = np.nan
    with pytest.raises(DataError, match="sample 2"):
        analysis.embedding_map(features)
