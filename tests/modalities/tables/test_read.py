"""Tables: which columns are numbers, what is missing, and where a bad cell stands."""

import math

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tacita import errors
from tacita.modalities.load import load
from tacita.modalities.memory import as_dataset
from tacita.modalities.readers import values
from tacita.report.describe import describe

CSV = """age,colour,member,label
31,red,True,yes
45,blue,False,no
27,red,True,
62,green,False,yes
"""


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "people.csv"
    path.write_text(CSV)
    return path


def test_columns_are_numbers_where_all_values_parse_and_categories_otherwise(table):
    data = load(table, labels="label")
    assert data.meta.columns == ("age", "colour", "member")
    assert data.meta.categories == ((), ("blue", "green", "red"), ("False", "True"))
    assert data.x.tolist() == [[31, 2, 1], [45, 0, 0], [27, 2, 1], [62, 1, 0]]
    assert data.y.tolist() == [1, 0, -1, 1]
    assert data.task.classes == ("no", "yes")
    assert data.spec.cardinalities == (0, 3, 2)


@pytest.mark.parametrize("ending", ["csv", "tsv", "parquet", "semicolon"])
def test_every_format_gives_the_same_table(table, tmp_path, ending):
    frame = pd.read_csv(table)
    path = tmp_path / f"again.{'csv' if ending == 'semicolon' else ending}"
    if ending == "parquet":
        frame.to_parquet(path)
    else:
        separator = {"tsv": "\t", "semicolon": ";"}.get(ending, ",")
        frame.to_csv(path, index=False, sep=separator)
    expected, found = load(table, labels="label"), load(path, labels="label")
    assert torch.equal(found.x, expected.x)
    assert torch.equal(found.y, expected.y)
    assert found.meta.categories == expected.meta.categories
    from_memory = as_dataset(frame, labels="label")
    assert torch.equal(from_memory.x, expected.x)
    assert torch.equal(from_memory.y, expected.y)


def test_text_that_differs_in_every_row_names_the_samples_where_it_is_told_to(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("name,a\nann,1\nbob,2\ncid,3\n")
    data = load(path, id_column="name")
    assert data.ids == ("ann", "bob", "cid")
    assert (data.meta.columns, data.meta.id_column) == (("a",), "name")
    unsaid = load(path)
    assert unsaid.ids == ()
    assert any(
        "column 'name'" in each and "--id-column" in each for each in describe(unsaid).warnings
    )


def test_a_column_with_an_empty_cell_is_no_name_of_the_samples(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,u\n2,\n")
    with pytest.raises(errors.DataError, match="1 empty cell in column 'b', the first at row 3"):
        load(path)


def test_the_column_called_id_names_the_samples():
    frame = pd.DataFrame({"name": ["x", "y", "z"], "a": [1, 2, 3], "ID": [7, 5, 9]})
    assert as_dataset(frame).ids == ("7", "5", "9")


def test_a_group_column_is_not_learnt_from(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("subject,a,y\ns2,1,0\ns1,2,1\ns2,3,0\n")
    data = load(path, labels="y", group="subject")
    assert data.meta.columns == ("a",)
    assert data.groups.tolist() == [1, 0, 1]


def test_imputed_numbers_stay_nan_and_empty_text_is_a_category(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,u\nNA,\n3,v\n,u\n")
    data = load(path, missing="impute")
    assert data.meta.categories == ((), ("missing", "u", "v"))
    assert data.x[:, 1].tolist() == [1, 0, 2, 1]
    assert data.x[:, 0].isnan().tolist() == [False, True, False, True]
    assert data.normalised().take(torch.arange(4)).x[1, 0] == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,b\n1,2\n3\n", "row 3 has 1 cell, the header has 2"),
        ("a,b\n1,2\n3,4,5\n", "row 3 has 3 cells, the header has 2"),
        ("a,a\n1,2\n", "two columns are called 'a'"),
        ("a,b\n1,2\n,4\n5,nan\n", "1 missing value (NaN or empty), the first at row 3, column 'a'"),
        ("a,b\n1,2\n2,inf\n", "1 infinite value, the first at row 3, column 'b'"),
        ("a,b\n1,2\n2,1e300\n", "1e+300 at row 3, column 'b' is too large"),
        ("a,b\n1,u\n2,\n3,u", "1 empty cell in column 'b', the first at row 3"),
        ("a,b\n", "there are no rows"),
        ("", "the file is empty"),
        ("\n\n", "the file is empty"),
        ("0.5,1.5\n1,2\n", "looks like data"),
        ("a,b\nx\xe9,2\n", "byte 5 (row 2) is not UTF-8"),
    ],
)
def test_a_bad_csv_is_refused_with_the_place(tmp_path, text, said):
    path = tmp_path / "bad.csv"
    path.write_bytes(text.encode("latin1"))
    with pytest.raises(errors.DataError) as caught:
        load(path)
    assert said in caught.value.message
    assert "bad.csv" in caught.value.message
    assert caught.value.remedy


def test_the_place_of_a_bad_byte_is_right_in_a_long_file(tmp_path):
    path = tmp_path / "bad.csv"
    good = b"a,b\n" + b"1,\xc3\xa9\n" * 300_000
    path.write_bytes(good + b"2,\xff\n")
    with pytest.raises(errors.DataError, match=rf"byte {len(good) + 2} \(row 300002\)"):
        load(path)


def test_utf16_is_recognised(tmp_path):
    path = tmp_path / "bad.csv"
    path.write_text("a,b\n1,2\n", encoding="utf-16")
    with pytest.raises(errors.DataError, match="UTF-16"):
        load(path)


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,2\n2,3\n", encoding="utf-8-sig")
    assert load(path).meta.columns == ("a", "b")


def test_too_many_categories_are_refused_by_name(tmp_path):
    path = tmp_path / "t.csv"
    rows = "\n".join(f"v{i},{i}" for i in (*range(1001), 0))
    path.write_text(f"text,a\n{rows}\n")
    with pytest.raises(errors.DataError, match="'text' is text with 1001 different values"):
        load(path)


def test_infinite_values_are_refused_even_when_imputing(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a\n1\n-inf\n")
    with pytest.raises(errors.DataError, match="infinite"):
        load(path, missing="impute")


def test_a_misspelt_column_or_policy_gets_the_nearest(table):
    with pytest.raises(errors.ConfigError, match="Did you mean 'label'"):
        load(table, labels="lable")
    with pytest.raises(errors.ConfigError, match="refuse"):
        load(table, missing="drop")


def test_nested_parquet_columns_are_refused(tmp_path):
    path = tmp_path / "t.parquet"
    pd.DataFrame({"a": [[1], [2, 3]], "b": [1.0, 2.0]}).to_parquet(path)
    with pytest.raises(errors.DataError):
        load(path)


def test_a_parquet_file_that_unpacks_beyond_the_bound_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"a": pa.repeat(1.0, 2**20)}), path)
    assert path.stat().st_size < 2**14
    monkeypatch.setattr(values, "LARGEST", 2**22)
    with pytest.raises(errors.DataError, match="GiB"):
        load(path)


def test_a_frame_of_mixed_types_is_refused():
    with pytest.raises(errors.DataError, match="mixes types"):
        as_dataset(pd.DataFrame({"a": [1, "x", 2.0], "b": [1, 2, 3]}))


numbers = st.floats(width=32, allow_nan=False, allow_infinity=False)
words = st.sampled_from(["red", "two words", 'a "quote"', "a,comma", "über", "line\nbreak"])


@settings(deadline=None, max_examples=40)
@given(rows=st.lists(st.tuples(numbers, words, st.integers(0, 2)), min_size=1, max_size=8))
def test_a_csv_written_by_pandas_comes_back(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    frame = pd.DataFrame(rows, columns=["number", "word", "y"])
    frame = pd.concat([frame, frame])  # so that no text is an id
    frame.to_csv(path, index=False)
    data = load(path, labels="y")
    assert data.x[:, 0].tolist() == frame["number"].tolist()
    assert [data.meta.categories[1][int(code)] for code in data.x[:, 1]] == frame["word"].tolist()
    assert [int(label) for label in data.task.decode(data.y)] == frame["y"].tolist()
    assert not any(math.isnan(value) for value in data.x.flatten().tolist())
