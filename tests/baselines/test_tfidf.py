"""Baselines of texts: scikit-learn's own result on the texts themselves, saved and loaded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

import tacita
from tacita.catalog.discover import load_class
from tacita.data.dataset import Dataset
from tacita.data.modality import find
from tacita.errors import CheckpointError, ConfigError
from tacita.modalities.memory import as_dataset
from tacita.modalities.text.tokenisers import words_of
from tacita.model.model import Model

NAMES = ("tfidf-logistic-regression", "tfidf-svm", "tfidf-label-spreading")


def example() -> tuple[Dataset, torch.Tensor]:
    data = find("text").example()
    return data, torch.arange(0, len(data), 3)


@pytest.mark.parametrize(
    ("name", "classifier"),
    [
        ("tfidf-logistic-regression", LogisticRegression(C=10.0, max_iter=1000)),
        ("tfidf-svm", LinearSVC(random_state=0)),
    ],
)
def test_predictions_are_those_of_scikit_learn_on_the_texts(
    name: str, classifier: LogisticRegression
) -> None:
    data, known = example()
    texts = [str(data.kind.show(data, i)) for i in range(len(data))]
    assert data.meta.vocabulary - 3 == len({word for t in texts for word in words_of(t, 256)})
    vectors = TfidfVectorizer(analyzer=lambda text: words_of(text, 256), sublinear_tf=True)
    vectors.fit(texts)
    classifier.fit(vectors.transform([texts[i] for i in known]), data.y[known].numpy())
    expected = classifier.predict(vectors.transform(texts))
    learner = load_class(name)().fit(data.hide_labels(known))
    found = learner.task_.predict(learner.logits(data)).numpy()
    assert (found == expected).all()


@pytest.mark.parametrize("name", NAMES)
def test_it_learns_is_saved_and_loaded(name: str, tmp_path: Path) -> None:
    data, known = example()
    model = tacita.fit(data.hide_labels(known), recipe=name, out=tmp_path / "run", quiet=True)
    rest = torch.ones(len(data), dtype=torch.bool)
    rest[known] = False
    assert model.evaluate(data.subset(rest))["accuracy"] > 0.6
    again = Model.load(tmp_path / "run")
    texts = ["Computes the norm of a matrix.", "words that nobody knows", "layer"]
    assert np.array_equal(again.predict_proba(texts), model.predict_proba(texts))


@pytest.mark.parametrize("name", NAMES)
def test_a_tiny_vocabulary_and_a_single_repeated_text_do(name: str) -> None:
    data = as_dataset(["yes yes", "no", "yes", "no no", "maybe"] * 4, ["a", "b", "a", "b", ""] * 4)
    learner = load_class(name)().fit(data)
    assert list(learner.predict(["yes", "no"])) == ["a", "b"]
    assert np.isfinite(learner.predict_proba(["unheard of"])).all()


def test_numbers_are_predicted_by_ridge_and_refused_by_the_others() -> None:
    texts = [" ".join(["word"] * (i % 7) + ["other"] * (7 - i % 7)) for i in range(40)]
    data = as_dataset(texts, [float(i % 7) + 0.5 for i in range(40)], task="regression")
    found = load_class("tfidf-ridge")().fit(data).predict(texts)
    assert np.corrcoef(found, data.y)[0, 1] > 0.9
    for name in NAMES:
        with pytest.raises(ConfigError, match="predicts classes"):
            load_class(name)().fit(data)


def test_an_estimator_of_other_tokens_is_refused(tmp_path: Path) -> None:
    data, known = example()
    tacita.fit(data.hide_labels(known), recipe=NAMES[0], out=tmp_path / "one", quiet=True)
    other = as_dataset(["yes yes", "no", "yes", "no no"] * 9, ["a", "b", "a", "b"] * 9)
    tacita.fit(other, recipe=NAMES[0], out=tmp_path / "two", quiet=True)
    (tmp_path / "two" / "baseline.safetensors").replace(tmp_path / "one" / "baseline.safetensors")
    with pytest.raises(CheckpointError):
        Model.load(tmp_path / "one")
