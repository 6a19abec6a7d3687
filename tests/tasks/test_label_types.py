"""What goes in as whole numbers, booleans or numbers comes out as such; text stays text."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from sklearn.metrics import f1_score

import tacita
from tacita.errors import ConfigError
from tacita.tasks import Classification, OpenSet, encode, task_of
from tacita.tasks.labels import told


@pytest.mark.parametrize(
    "raw, expected",
    [
        (np.array([3, 1, 3]), [3, 1, 3]),
        (np.array([True, False, True]), [True, False, True]),
        (np.array([2.0, 1.0, np.nan]), [2.0, 1.0]),
        ([1, None, 2], [1, 2]),
        (["01", "02", ""], ["01", "02"]),
        (["1", "2", "1"], ["1", "2", "1"]),
        (["a", 1, "a"], ["a", "1", "a"]),
        (pa.array([2, 1, None]).dictionary_encode(), [2, 1]),
        (told([1, -1, 1], "example", as_class=["-1"]), [1, -1, 1]),
    ],
)
def test_labels_come_out_in_the_type_that_they_went_in(raw: Any, expected: list[Any]) -> None:
    y, task = encode(raw, None, torch.zeros(3, 1), "example")
    found = task.decode(y[task.known(y)])
    assert (found, [type(label) for label in found]) == (
        expected,
        [type(label) for label in expected],
    )


def test_an_answer_beside_the_classes_keeps_labels_text() -> None:
    _, task = encode(np.array([1, 2]), "open-set", torch.zeros(2, 1), "example")
    assert isinstance(task, OpenSet)
    assert task.label_type == "words"


def test_a_file_of_predictions_has_the_text_whatever_the_type() -> None:
    task = Classification(("1", "2"), label_type="number")
    assert (task.texts(torch.tensor([1])), task.decode(torch.tensor([1]))) == (["2"], [2.0])


def test_new_classes_of_another_type_make_labels_text() -> None:
    task = Classification(("1", "2"), label_type="integer")
    assert task.grown(["3"]).label_type == "integer"
    assert task.grown(["owl"]).label_type == "words"


@pytest.mark.parametrize(
    "facts",
    [
        {"classes": ["a", "b"], "label_type": "integer"},
        {"classes": ["1_0", "2"], "label_type": "integer"},
        {"classes": ["9" * 5000, "2"], "label_type": "integer"},
        {"classes": ["inf", "2"], "label_type": "number"},
        {"classes": ["yes", "no"], "label_type": "boolean"},
        {"classes": ["1", "2"], "label_type": "object"},
    ],
)
def test_a_saved_type_that_the_classes_are_not_of_is_refused(facts: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        task_of("classification", facts)


@pytest.mark.parametrize("kind", [int, bool, float])
def test_a_saved_model_predicts_what_metrics_of_scikit_learn_take(
    kind: type, tmp_path: Any
) -> None:
    x = np.random.default_rng(0).normal(size=(40, 2))
    y = (x[:, 0] > 0).astype(kind)
    tacita.adapt("random-forest", x, y, quiet=True).save(tmp_path / "model")
    predicted = tacita.Model.load(tmp_path / "model").predict(x)
    assert predicted.dtype == y.dtype
    assert f1_score(y, predicted) > 0.9
    classifier = tacita.TacitaClassifier("random-forest", random_state=0).fit(x, y)
    assert classifier.classes_.dtype == classifier.model_.predict(x).dtype == y.dtype
