"""Columns of text that are numbers: an odd cell, a decimal comma or a currency makes nothing else of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tacita
from tacita.data.notes import ReadingWarning
from tacita.errors import ConfigError, DataError
from tacita.modalities.readers.numbers import Written, with_numbers
from tacita.modalities.readers.rows import array_row


def read(cells, decimal=None, known=False, missing="impute", marks=None, surely=()):
    table, written, notes = with_numbers(
        pa.table({"x": pa.array(cells, pa.string())}),
        written=Written(decimal, marks or {}),
        known=known,
        missing=missing,
        source="t.csv",
        row_name=array_row(0),
        surely=surely,
    )
    column = table["x"]
    values = column.to_pylist() if pa.types.is_floating(column.type) else None
    return values, written, [str(note) for note in notes]


@pytest.mark.parametrize(
    "odd",
    [
        "?",
        ".",
        "-",
        "--",
        "#N/A",
        "#DIV/0!",
        "<NA>",
        "<0.1",
        "1_000",
        "unknown",
        "0x1F",
        "1.2.3",
        "3,5",
    ],
)
def test_one_odd_cell_leaves_a_column_numbers(odd):
    values, _, notes = read(["1.5", "2", odd, "4.25", ""])
    assert values == [1.5, 2.0, None, 4.25, None]
    assert notes == [
        f"1 cell of column 'x' is no number and is taken for missing: {odd!r} at row 2"
    ]
    with pytest.raises(DataError, match=r"at row 2, column 'x' is not a number, as 3 of the 4"):
        read(["1.5", "2", odd, "4.25", ""], missing="refuse")


@pytest.mark.parametrize(
    "cells, decimal, values, said",
    [
        (["3,5", "2,25", "-1"], None, [3.5, 2.25, -1.0], "the comma is the decimal sign in column 'x'"),
        (["0,123", "1,250"], None, [0.123, 1.25], "the comma is the decimal sign"),
        (["1.234,5", "2,5"], None, [1234.5, 2.5], "signs between thousands"),
        (["1,234.5", "2.5"], None, [1234.5, 2.5], "signs between thousands are left out"),
        (["1,234,567", "12"], None, [1234567.0, 12.0], "signs between thousands"),
        (["1 234", "12 345,5"], None, [1234.0, 12345.5], "the comma is the decimal sign"),
        (["1'234.5", "7"], None, [1234.5, 7.0], "signs between thousands"),
        (["1\u00a0234", "7,5"], None, [1234.0, 7.5], "the comma"),
        (["\u22123.5", "2"], None, [-3.5, 2.0], ""),
        (["12%", "7.5 %"], None, [12.0, 7.5], "'%' is left out of the numbers of column 'x'"),
        (["$5", "-$ 1,200.50"], None, [5.0, -1200.5], "'$' is left out"),
        (["5 EUR", "3,5 EUR"], None, [5.0, 3.5], "'EUR' is left out"),
        (["1,234", "5"], ".", [1234.0, 5.0], "signs between thousands"),
        (["1,234", "5"], ",", [1.234, 5.0], "the comma"),
        (["1.234", "5,5"], ",", [1234.0, 5.5], "signs between thousands"),
        (["1e3", "+2.5E-2", ".5", "3."], None, [1000.0, 0.025, 0.5, 3.0], ""),
        (["1e3", "1,5"], None, [1000.0, 1.5], "the comma"),
    ],
)  # fmt: skip
def test_numbers_are_read_as_they_are_written(cells, decimal, values, said):
    found, _, notes = read(cells, decimal, missing="refuse")
    assert found == values
    assert said in " ".join(notes)
    assert bool(notes) == bool(said)


@pytest.mark.parametrize("cells", [["1,234", "5"], ["1,234", "2,500", "7"], ["-1,000"]])
def test_what_can_mean_two_things_is_asked_for(cells):
    with pytest.raises(DataError, match=r"may be (1234 or 1\.234|-1000 or -1\.000)") as caught:
        read(cells)
    assert "--decimal" in caught.value.remedy


def test_points_beside_a_decimal_comma_in_the_same_file_are_asked_for():
    table = pa.table({"a": ["3,5", "2,5"], "b": ["1.234", "2.500"], "c": ["1", "2"]})
    given = {"known": False, "missing": "refuse", "source": "t", "row_name": array_row(0)}
    with pytest.raises(DataError, match=r"column 'b' has numbers such as '1\.234'"):
        with_numbers(table, written=Written(), **given)
    told, _, _ = with_numbers(table, written=Written(","), **given)
    assert told["b"].to_pylist() == [1234.0, 2500.0]


@pytest.mark.parametrize("cells", [["12%", "7"], ["$5", "€5"], ["5", "6", "7 USD"]])
def test_units_that_differ_within_a_column_are_refused(cells):
    with pytest.raises(DataError, match="some numbers have a percent sign or a currency"):
        read(cells)


def test_later_numbers_are_of_the_unit_and_the_sign_that_were_learnt():
    assert read(["12%"], known=True, marks={"x": "%"})[0] == [12.0]
    with pytest.raises(
        DataError, match="have no mark, and those that the model learnt from had '%'"
    ):
        read(["0.12"], known=True, marks={"x": "%"})
    with pytest.raises(DataError, match="have '%', and those that the model learnt from had none"):
        read(["12%"], known=True)
    assert read(["1.234"], decimal=",", known=True)[0] == [1234.0]


def test_words_stay_words_and_a_column_of_some_numbers_is_told_of():
    assert read(["red", "blue", "1"])[0] is None
    assert read(["red", "blue", "green"]) == (None, Written(None, {}), [])
    _, _, notes = read(["red", "blue", "1"])
    assert notes == ["column 'x' is not taken for numbers, though 1 of its 3 filled cells are"]
    assert read(["red", "blue", "1"], surely=["x"])[0] == [None, None, 1.0]


@settings(deadline=None, max_examples=60)
@given(
    numbers=st.lists(st.floats(-1e15, 1e15), min_size=1, max_size=8),
    odd=st.lists(st.text(max_size=5), max_size=3),
)
def test_what_floats_write_is_read_back_beside_any_text(numbers, odd):
    cells = [repr(number) for number in numbers] + odd[: len(numbers)]
    try:
        values, _, _ = read(cells)
    except DataError:
        return  # Some odd text has a mark, or can mean two things.
    assert values is not None
    assert values[: len(numbers)] == numbers


def few_odd(folder: Path, *, odd: str, header: str = "x,y,state") -> tuple[Path, Path]:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=80), rng.normal(size=80)
    rows = [f"{a:.4f},{b:.4f},{'on' if a > 0 else 'off'}" for a, b in zip(x, y, strict=True)]
    clean, mended = folder / "clean.csv", folder / "odd.csv"
    clean.write_text("\n".join([header, *rows]))
    rows[7] = odd + rows[7][rows[7].index(",") :]
    mended.write_text("\n".join([header, *rows]))
    return clean, mended


@pytest.mark.filterwarnings("ignore::tacita.data.notes.LearntWarning")
def test_a_model_learns_the_same_from_a_table_with_one_odd_cell(tmp_path):
    clean, odd = few_odd(tmp_path, odd="?")
    options = {"labels": "state", "missing": "impute", "quiet": True}
    scores = [tacita.adapt("random-forest", path, **options) for path in (clean, odd)]
    assert min(model.metrics.held_out["accuracy"] for model in scores) == 1.0
    assert scores[1].schema.meta.id_column is None
    with pytest.raises(DataError, match=r"'\?' at row 9, column 'x' is not a number"):
        tacita.load(odd, labels="state")
    with pytest.warns(ReadingWarning, match="1 cell of column 'x' is no number"):
        scores[0].evaluate_file(odd)


def test_a_decimal_comma_is_learnt_and_remembered(tmp_path):
    path = tmp_path / "d.csv"
    rng = np.random.default_rng(0)
    rows = [f"{v:.3f}".replace(".", ",") + f";{'ab'[int(v > 0)]}" for v in rng.normal(size=60) * 9]
    path.write_text("\n".join(["x;state", *rows]))
    data = tacita.load(path, labels="state")
    assert data.meta.decimal == ","
    assert data.spec.cardinalities == (0,)
    assert any("the comma is the decimal sign" in line for line in tacita.describe(data).lines())
    tacita.adapt("random-forest", path, labels="state", quiet=True, out=tmp_path / "run")
    later = tmp_path / "later.csv"
    later.write_text("x;state\n1,234;b\n-2,500;a\n")
    loaded = tacita.Model.load(tmp_path / "run")
    assert loaded.evaluate_file(later)["accuracy"] == 1.0


def test_series_of_a_row_keep_every_step(tmp_path):
    path = tmp_path / "wide.csv"
    path.write_text('name,t0,t1,t2,label\na,"1,5",2,3,up\nb,3,?,"1,5",down\nc,1,2,"3,5",up\n')
    with pytest.raises(DataError, match=r"'\?' at row 3, column 't1'"):
        tacita.load(path, labels="label", modality="series")
    data = tacita.load(path, labels="label", modality="series", missing="impute")
    assert data.x[:, :, 0].tolist() == [[1.5, 2, 3], [3, 2.25, 1.5], [1, 2, 3.5]]
    assert data.ids == ()
    assert "column 'name': no steps, as they are no numbers" in map(str, data.notes)
    named = {"labels": "label", "modality": "series", "missing": "impute", "id_column": "name"}
    assert tacita.load(path, **named).ids == ("a", "b", "c")


def test_a_row_a_time_step_keeps_every_channel(tmp_path):
    path = tmp_path / "long.csv"
    rows = [
        f'{s},{t},"{s},{t}",{"#N/A" if (s, t) == (1, 1) else t}' for s in (1, 2) for t in (0, 1, 2)
    ]
    path.write_text("\n".join(["machine,t,a,b", *rows]))
    data = tacita.load(path, series_id="machine", time="t", missing="impute")
    assert data.meta.columns == ("a", "b")
    assert data.x[0].tolist() == [[1.0, 0.0], [1.1, 1.0], [1.2, 2.0]]


def test_ids_are_what_is_named_so(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("who,x,y\n" + "\n".join(f"p{i},{i * i % 7},{'ab'[i % 2]}" for i in range(40)))
    with pytest.raises(DataError, match="column 'who' is text with 40 different values"):
        tacita.load(path, labels="y")
    assert tacita.load(path, labels="y", id_column="who").ids[:2] == ("p0", "p1")
    with pytest.raises(ConfigError, match="id_column='whom' is no column"):
        tacita.load(path, labels="y", id_column="whom")
    with pytest.raises(ConfigError, match="id_column='x': its values are not all different"):
        tacita.load(path, labels="y", id_column="x")
    with pytest.raises(ConfigError, match="decimal=';'"):
        tacita.load(path, labels="y", decimal=";")
