"""Which words are classes and which mean "no label", the order of classes, and what is asked of users."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import tacita
from tacita import errors
from tacita.data.check import check_trainable
from tacita.data.reading import Reading
from tacita.modalities.load import load, read_like
from tacita.modalities.memory import as_dataset
from tacita.report.describe import describe
from tacita.verbs.common import replay_command

X = np.arange(24, dtype=np.float32).reshape(12, 2)


def table(path: Path, labels: list[str]) -> Path:
    rows = [f"{i / 7:.3f},{i * i},{label}" for i, label in enumerate(labels)]
    path.write_text("\n".join(["a,b,y", *rows, ""]))
    return path


def warnings_of(data) -> str:
    return " ".join(describe(data).warnings)


def test_classes_in_the_header_of_a_series_file_are_classes(tmp_path):
    head = "@problemName f\n@classLabel true -1 1\n@data\n"
    (tmp_path / "f.ts").write_text(head + "1,2,3:-1\n2,3,4:1\n3,4,5:?\n")
    data = load(tmp_path / "f.ts")
    assert (data.task.classes, data.y.tolist()) == (("-1", "1"), [0, 1, -1])
    (again,) = read_like(tmp_path / "f.ts", data.schema)
    assert again.y.tolist() == [0, 1, -1]


@pytest.mark.parametrize("names", [("none", "crack"), ("-1", "1"), ("nan", "NA")])
def test_sub_folders_are_classes_whatever_they_are_called(tmp_path, names):
    for name in (*names, "unlabelled"):
        (tmp_path / name).mkdir()
        for i in range(2):
            (tmp_path / name / f"{i}.txt").write_text(f"some words {name} {i}")
    data = load(tmp_path)
    assert set(data.task.classes) == set(names)
    assert int(data.labelled.sum()) == 4


def test_words_of_a_column_are_classes_and_describe_asks(tmp_path):
    data = load(table(tmp_path / "s.csv", ["none", "mild", "severe", ""] * 3), labels="y")
    assert (data.task.classes, int(data.labelled.sum())) == (("mild", "none", "severe"), 9)
    assert "'none' may mean that there is no label" in warnings_of(data)
    told = load(tmp_path / "s.csv", labels="y", as_class="none")
    assert "may mean" not in warnings_of(told)


def test_a_word_that_may_be_no_label_and_is_the_most_is_refused_until_told(tmp_path):
    path = table(tmp_path / "s.csv", ["NA"] * 8 + ["a", "b"] * 4 + ["NA"])
    with pytest.raises(errors.DataError, match="'NA' is the label of 9 of 17 samples"):
        tacita.adapt("knn", str(path), labels="y", quiet=True)
    none = load(path, labels="y", unlabelled_as="NA")
    assert (none.task.classes, int(none.labelled.sum())) == (("a", "b"), 8)
    check_trainable(none)
    check_trainable(load(path, labels="y", as_class=["NA"]))
    (later,) = read_like(path, none.schema)
    assert torch.equal(later.y, none.y)


def test_minus_one_among_whole_numbers_is_no_label_unless_told():
    y = [-1, 1] * 6
    assert as_dataset(X, y).task.classes == as_dataset(X, list(map(str, y))).task.classes == ("1",)
    with pytest.raises(errors.DataError, match="--class=-1"):
        check_trainable(as_dataset(X, y))
    told = as_dataset(X, y, as_class="-1")
    assert (told.task.classes, told.y.tolist()) == (("-1", "1"), [0, 1] * 6)
    (again,) = read_like(X, told.schema)
    assert not bool(again.labelled.any())
    words = as_dataset(X, ["-1", "cat", "dog"] * 4)
    assert words.task.classes == ("-1", "cat", "dog")
    assert "'-1' may mean" in warnings_of(words)


def test_a_word_may_mean_that_there_is_no_number():
    y = ["1.5", "2.5", "NA"] * 4
    with pytest.raises(errors.DataError, match="unlabelled_as"):
        as_dataset(X, y, task="regression")
    assert int(as_dataset(X, y, task="regression", unlabelled_as="NA").labelled.sum()) == 8
    y = np.where(np.arange(12) < 6, -999.0, np.arange(12))
    assert int(as_dataset(X, y, task="regression", unlabelled_as="-999").labelled.sum()) == 6


def test_measurements_with_a_word_among_them_are_no_classes():
    with pytest.raises(errors.ConfigError, match="measurements"):
        as_dataset(X, [*(f"{i}.25" for i in range(11)), "NA"])


def test_a_data_set_may_be_told_later():
    data = as_dataset(X, ["NA", "a", "b"] * 4)
    told = as_dataset(data, unlabelled_as="NA")
    assert (told.task.classes, told.meta.unlabelled_as) == (("a", "b"), ("NA",))


def test_estimators_are_told_too():
    y = np.array(["none", "mild", "severe"])[np.arange(12) % 3]
    assert tacita.TacitaClassifier("knn").fit(X, y).classes_.tolist() == ["mild", "none", "severe"]
    y = np.array(["none"] * 8 + ["a", "b"] * 2)
    with pytest.raises(errors.DataError, match="as_class"):
        tacita.TacitaClassifier("knn").fit(X, y)
    told = tacita.TacitaClassifier("knn", unlabelled_as="none").fit(X, y)
    assert told.classes_.tolist() == ["a", "b"]
    assert tacita.TacitaClassifier("knn", as_class="none").fit(X, y).classes_.tolist() == [
        "a",
        "b",
        "none",
    ]


def test_what_was_told_stands_in_the_line_that_repeats_a_run():
    reading = Reading(labels="y", unlabelled_as=["NA", "-9"], as_class="none", order="low,high")
    line = replay_command("d.csv", Path("r"), reading)
    assert "--unlabelled-as NA --unlabelled-as=-9 --class none --order low --order high" in line


# Names


def test_names_that_may_be_one_are_asked_for():
    assert "are they one" in warnings_of(as_dataset(X, ["Cat", "cat", "dog"] * 4))
    assert "are they one" not in warnings_of(as_dataset(X, ["cats", "cat", "dog"] * 4))


def test_a_huge_class_beside_small_ones_is_asked_for():
    x = np.random.default_rng(0).normal(size=(100, 2))
    data = as_dataset(x, ["other"] * 90 + ["a", "b"] * 5)
    assert "unlabelled_as='other'" in warnings_of(data)


def test_spaces_and_the_composition_of_accents_make_no_class():
    assert as_dataset(X, ["caf\u00e9", "cafe\u0301 ", " b"] * 4).task.classes == ("b", "caf\u00e9")


def test_numbers_are_one_class_however_they_are_written():
    assert as_dataset(X, ["1", "1.0", "2"] * 4).task.classes == ("1", "2")
    assert as_dataset(X, ["1", "1.0", "beta"] * 4).task.classes == ("1", "1.0", "beta")
    assert as_dataset(X, [True, False, None] * 4).task.classes == ("False", "True")


def test_one_hot_labels_are_named():
    with pytest.raises(errors.DataError, match="argmax"):
        as_dataset(X, np.eye(3)[np.arange(12) % 3])


# Order


@pytest.mark.parametrize("kind", ["pandas", "arrow", "parquet", "y", "label file"])
def test_the_order_of_categories_is_kept(tmp_path, kind):
    words = np.array(["low", "medium", "high"])[np.arange(12) % 3]
    grade = pd.Categorical(words, categories=["low", "medium", "high", "top"], ordered=True)
    frame = pd.DataFrame({"x": X[:, 0], "grade": grade})
    if kind == "y":
        data = as_dataset(X, grade, task="ordinal")
    elif kind == "pandas":
        data = as_dataset(frame, labels="grade", task="ordinal")
    elif kind == "label file":
        pq.write_table(
            pa.Table.from_pandas(frame.assign(x=range(12))[["x", "grade"]]), tmp_path / "l.parquet"
        )
        data = as_dataset(X, labels=tmp_path / "l.parquet", task="ordinal")
    else:
        frame = pa.Table.from_pandas(frame)
        pq.write_table(frame, tmp_path / "g.parquet")
        if kind == "parquet":
            data = load(tmp_path / "g.parquet", labels="grade", task="ordinal")
        else:
            data = as_dataset(frame, labels="grade", task="ordinal")
    assert data.task.classes == ("low", "medium", "high")
    assert data.y.tolist() == [0, 1, 2] * 4


def test_words_without_an_order_are_refused_and_it_may_be_told(tmp_path):
    path = table(tmp_path / "s.csv", ["low", "high", ""] * 4)
    with pytest.raises(errors.ConfigError, match="--order high,low"):
        load(path, labels="y", task="ordinal")
    for order in ("low,high", ["low", "high"], "low, medium ,high"):
        data = load(path, labels="y", order=order)
        assert (data.task.name, data.task.classes) == ("ordinal", ("low", "high"))
    with pytest.raises(errors.ConfigError, match="not in the order"):
        load(path, labels="y", order="low,medium")
    with pytest.raises(errors.ConfigError, match="have no order"):
        load(path, labels="y", order="low,high", task="classification")
    with pytest.raises(errors.ConfigError, match="not an order"):
        load(path, labels="y", order="low")


def test_a_word_is_a_class_or_no_label_and_not_both():
    with pytest.raises(errors.ConfigError, match="class too"):
        as_dataset(X, unlabelled_as="NA", as_class="NA")
