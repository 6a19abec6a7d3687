"""What is said of columns, what is no category unless it is said, and values that nobody has seen."""

import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tacita
from tacita import errors
from tacita.data.notes import ReadingWarning
from tacita.modalities.load import read_like
from tacita.modalities.memory import as_dataset


def test_columns_are_what_is_said_of_them():
    frame = pd.DataFrame(
        {
            "zip": [1010, 1020, 1010],
            "grade": pd.Categorical([3, 1, 3]),
            "on": [True, False, True],
            "when": ["2020-01-01", "2020-01-02", "2020-01-02"],
            "name": ["x", "y", "z"],
        }
    )
    data = as_dataset(
        frame, categorical=["zip", "when"], numeric="grade, on", ignore=["name"], modality="tables"
    )
    assert data.meta.columns == ("zip", "grade", "on", "when")
    assert data.meta.categories == (("1010", "1020"), (), (), ("2020-01-01", "2020-01-02"))
    assert data.x.tolist() == [[0, 3, 1, 0], [1, 1, 0, 1], [0, 3, 1, 1]]
    assert not data.ids
    again = frame.assign(zip=[1010.0, 1020.0, np.nan])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert next(read_like(again[:2], data.schema)).x.tolist() == data.x[:2].tolist()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"ignore": "nam"}, "Did you mean 'name'"),
        ({"ignore": "name", "categorical": ["name"]}, "named in ignore and in categorical"),
        ({"numeric": "name"}, r"'x' at row 0, column 'name' is not a number[\s\S]*--numeric"),
        ({"ignore": "name", "modality": "series"}, "Leave ignore out"),
        ({"ignore": "y", "labels": "y"}, "ignore='y' is no column"),
    ],
)
def test_what_cannot_be_said_is_refused(options, said):
    frame = pd.DataFrame({"name": ["x", "y", "x"], "a": [1, 2, 3], "y": ["u", "v", "u"]})
    with pytest.raises(errors.TacitaError, match=said):
        as_dataset(frame, **options)


def test_columns_without_names_cannot_be_named():
    with pytest.raises(errors.ConfigError, match="have no names"):
        as_dataset(np.zeros((3, 2)), ignore="a")


def test_free_text_is_no_category_until_it_is_said():
    words = [f"note {i}" for i in range(39)] + ["note 1"]
    frame = pd.DataFrame({"note": words, "a": range(40)})
    with pytest.raises(
        errors.DataError,
        match=r"39 different values in 40 cells[\s\S]*--categorical.*--ignore.*--text",
    ):
        as_dataset(frame)
    assert len(as_dataset(frame, categorical="note").meta.categories[0]) == 39
    assert as_dataset(frame, ignore="note").meta.columns == ("a",)
    assert as_dataset(frame, text="note").modality == "text"
    assert as_dataset(frame.assign(note=["few", "words"] * 20)).meta.categories[0] == (
        "few",
        "words",
    )


METHODS = ("gradient-boosting", "logistic-regression", "supervised")
"""One that takes a category as a code, one as zeros and ones, one as a vector."""


@pytest.fixture(scope="module")
def models():
    """Models of numbers, categories and dates, one of each way to take a category."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"n": rng.normal(size=40), "c": rng.choice(["a", "b", "c"], 40)})
    frame["when"] = (pd.Timestamp("2020") + pd.to_timedelta(range(40), "D")).strftime("%Y-%m-%d")
    frame["y"] = np.where(frame.c == "a", "p", "q")
    steps = {"steps": 2, "encoder.dim": 8, "encoder": "ft-transformer"}
    return [
        tacita.adapt(name, frame, labels="y", quiet=True, **(steps if name == "supervised" else {}))
        for name in METHODS
    ]


cells = st.tuples(
    st.floats(-1e9, 1e9),
    st.one_of(
        st.sampled_from("abc"),
        st.text(min_size=1).filter(lambda t: t.strip().lower() not in ("", "nan")),
    ),
    st.dates().map(str),
)


@settings(deadline=None, max_examples=8)
@given(rows=st.lists(cells, min_size=1, max_size=4))
def test_predict_never_blocks_on_unseen_values(models, rows):
    frame = pd.DataFrame(rows, columns=["n", "c", "when"])
    unseen = sum(text.strip() not in ("a", "b", "c") for text in frame.c)
    for model in models:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ReadingWarning)
            shares = model.predict_proba(frame)
        assert np.isfinite(shares).all()
        said = [str(each.message) for each in caught if each.category is ReadingWarning]
        assert len(said) == (unseen > 0)
        assert all(f"{unseen} value" in text for text in said)
    if unseen:
        with pytest.raises(errors.DataError, match="--strict"):
            models[0].predict(frame, strict=True)


def test_a_data_set_of_other_codes_is_refused():
    frame = pd.DataFrame({"c": ["a", "b"] * 10, "n": range(20), "y": ["p", "q"] * 10})
    model = tacita.adapt("logistic-regression", frame, labels="y", quiet=True)
    data = as_dataset(frame, labels="y")
    assert model.predict(data).tolist() == model.predict(frame).tolist()
    other = as_dataset(frame.replace({"a": "z"}), labels="y")
    with pytest.raises(errors.DataError, match="other categories or dates"):
        model.predict(other)


@pytest.mark.filterwarnings("ignore::tacita.data.notes.LearntWarning")
@pytest.mark.parametrize("missing", ["refuse", "impute"])
def test_unseen_values_are_taken_wherever_a_model_reads(tmp_path, missing):
    frame = pd.DataFrame({"c": ["a", "b"] * 10, "n": range(20), "y": ["p", "q"] * 10})
    model = tacita.adapt("logistic-regression", frame, labels="y", missing=missing, quiet=True)
    path, out = tmp_path / "new.csv", tmp_path / "p.csv"
    path.write_text("c,n,y\nnew,1,p\na,2,p\n")
    with pytest.warns(ReadingWarning, match="'new' at row 2"):
        assert model.predict_file(path, out) == 2
    with pytest.warns(ReadingWarning, match="1 value of column 'c'"):
        model.evaluate_file(path)
    with pytest.raises(errors.DataError, match="'new' at row 2"):
        model.evaluate_file(path, strict=True)
    out.unlink()
    with pytest.raises(errors.DataError, match="'new' at row 2"):
        model.predict_file(path, out, strict=True)
    assert not out.exists()
