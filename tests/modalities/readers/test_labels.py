"""Labels: every spelling of "missing", the order of the classes, and label files."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tacita import errors
from tacita.modalities.load import load
from tacita.modalities.memory import as_dataset
from tacita.tasks import encode

MISSING = st.sampled_from([None, -1, -1.0, float("nan"), "", "NaN", "nan", pd.NA, pd.NaT])


def codes(values, task=None):
    return encode(values, task, torch.zeros(len(values), 1), "test")


@settings(deadline=None)
@given(
    labels=st.lists(
        st.one_of(
            MISSING.map(lambda m: (m, False)), st.sampled_from("abc").map(lambda n: (n, True))
        ),
        min_size=1,
    )
)
def test_missing_labels_are_unlabelled_however_they_are_spelt(labels):
    y, task = codes([value for value, _ in labels])
    for (value, known), code in zip(labels, y.tolist(), strict=True):
        assert (task.classes[code] == value) if known else (code == -1)


@settings(deadline=None, max_examples=30)
@given(labels=st.lists(st.sampled_from([-1, 0, 1, 7, 10]), min_size=1))
def test_integers_floats_text_and_csv_cells_mean_the_same(labels):
    whole = np.array(labels)
    expected, task = codes(whole)
    assert (expected == -1).tolist() == (whole == -1).tolist()
    with_nan = np.where(whole == -1, np.nan, whole.astype(float))
    as_cells = ["" if label == -1 else str(label) for label in labels]
    for values in (labels, with_nan, torch.tensor(labels), whole.astype(str), as_cells):
        y, same = codes(values)
        assert torch.equal(y, expected)
        assert same.classes == task.classes
    y, _ = codes(pd.Series(labels, dtype="Int64").where(whole != -1))
    assert torch.equal(y, expected)


def test_numeric_classes_are_sorted_as_numbers_and_words_as_words():
    assert codes(["10", "9", "1.0"])[1].classes == ("1", "9", "10")
    assert codes(["b10", "b9"])[1].classes == ("b10", "b9")
    assert codes([True, False, None])[1].classes == ("False", "True")


def test_ordinal_grades_are_in_order():
    y, task = codes([10, 2, None, 3], "ordinal")
    assert (task.name, task.classes, y.tolist()) == ("ordinal", ("2", "3", "10"), [2, 0, -1, 1])


def test_measurements_are_not_taken_for_classes():
    values = np.random.default_rng(0).normal(size=50)
    with pytest.raises(errors.ConfigError, match="regression"):
        codes(values)
    with pytest.raises(errors.ConfigError, match="regression"):
        codes([0.3, 0.7, None, None])
    assert codes([0.5, 1.5] * 4)[1].classes == ("0.5", "1.5")


def test_regression_keeps_minus_one_and_loses_nan():
    y, task = codes([1.5, -1, None, float("nan"), "", "2"], "regression")
    assert y.isnan().tolist() == [False, False, True, True, True, False]
    assert y[1] == -1
    assert task.mean == pytest.approx(2.5 / 3)
    with pytest.raises(errors.DataError, match="'low' of sample 1 is not a number"):
        codes(["1", "low"], "regression")
    with pytest.raises(errors.DataError, match="infinite"):
        codes([1.0, float("inf")], "regression")


def test_an_unknown_task_gets_the_nearest():
    with pytest.raises(errors.ConfigError, match="Did you mean 'regression'"):
        codes([1, 2], "regresion")


@pytest.mark.parametrize("y", [np.zeros((3, 2)), [[0, 1], [1, 0], [0, 1]], [0, 1]])
def test_labels_that_do_not_fit_the_samples_are_refused(y):
    with pytest.raises(errors.DataError):
        as_dataset(np.zeros((3, 2)), y)


@pytest.fixture
def rows(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(8.0).reshape(4, 2))
    return tmp_path


def test_a_label_file_names_rows_by_their_number(rows):
    (rows / "labels.csv").write_text("row,what\n2,cat\n0,dog\n3,\n")
    data = load(rows / "x.npy", labels=rows / "labels.csv")
    assert data.y.tolist() == [1, -1, 0, -1]


def test_a_label_file_may_name_rows_by_the_id_column(tmp_path):
    (tmp_path / "t.csv").write_text("id,a\np7,1\np8,2\n")
    (tmp_path / "l.csv").write_text("id,label\np8,x\n")
    assert load(tmp_path / "t.csv", labels=tmp_path / "l.csv").y.tolist() == [-1, 0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("id,label\n9,a\n17,b\n", "2 ids without a sample: '9', '17'"),
        ("id,label\n1,a\n1,b\n", "'1' has the label 'a' and the label 'b'"),
        ("id,x,y\n1,2,3\n", "unclear which is the label"),
        ("id,label\n1,a,b\n", "row 2 has 3 cells"),
        ("id\n1\n", "1 columns"),
    ],
)
def test_a_bad_label_file_is_refused(rows, text, said):
    (rows / "labels.csv").write_text(text)
    with pytest.raises(errors.DataError) as caught:
        load(rows / "x.npy", labels=rows / "labels.csv")
    assert said in caught.value.message


def test_the_same_label_twice_is_no_conflict(rows):
    (rows / "labels.csv").write_text("id,label\n1,a\n1,a\n1,\n")
    assert load(rows / "x.npy", labels=rows / "labels.csv").y.tolist() == [-1, 0, -1, -1]


def test_the_group_may_stand_in_the_label_file_or_in_the_table(tmp_path):
    (tmp_path / "t.csv").write_text("id,a,site\np,1,x\nq,2,y\nr,3,x\n")
    (tmp_path / "l.csv").write_text("id,label\np,0\nq,1\n")
    data = load(tmp_path / "t.csv", labels=tmp_path / "l.csv", group="site")
    assert (data.groups.tolist(), data.meta.columns) == ([0, 1, 0], ("a",))
    (tmp_path / "l.csv").write_text("id,label,subject\np,0,s\nq,1,s\n")
    data = load(tmp_path / "t.csv", labels=tmp_path / "l.csv", group="subject")
    # A row without a subject is a group of its own.
    assert data.groups[0] == data.groups[1] != data.groups[2]


def test_an_id_fits_a_file_whose_name_has_its_accents_apart(tmp_path):
    for name in ("cafe\u0301", "b"):
        (tmp_path / f"{name}.txt").write_text(f"some words of {name}")
    (tmp_path / "labels.csv").write_text("file,label\ncaf\u00e9.txt,x\nb, y \n", encoding="utf-8")
    data = load(tmp_path)
    assert [data.task.classes[code] for code in data.y.tolist()] == ["y", "x"]


@pytest.mark.parametrize("name", ["B.txt", "b.text", "B"])
def test_an_id_of_another_case_or_ending_is_refused_with_an_example(tmp_path, name):
    (tmp_path / "b.txt").write_text("some words")
    (tmp_path / "labels.csv").write_text(f"file,label\n{name},x\n")
    with pytest.raises(errors.DataError, match=r"without a sample.*") as caught:
        load(tmp_path)
    assert "for example 'b.txt'" in str(caught.value)


def test_one_label_in_two_spellings_is_no_conflict(rows):
    (rows / "labels.csv").write_text("id,label\n1,1\n1,1\n2, 2\n2,2 \n0,-1\n")
    data = load(rows / "x.npy", labels=rows / "labels.csv")
    assert (data.task.classes, data.y.tolist()) == (("1", "2"), [-1, 0, 1, -1])


def test_a_word_in_a_label_file_is_a_class_until_told(rows):
    (rows / "labels.csv").write_text("id,label\n0,none\n1,a\n2,b\n3,NA\n")
    assert load(rows / "x.npy", labels=rows / "labels.csv").task.classes == ("NA", "a", "b", "none")
    told = load(rows / "x.npy", labels=rows / "labels.csv", unlabelled_as=["NA", "none"])
    assert told.y.tolist() == [-1, 0, 1, -1]
