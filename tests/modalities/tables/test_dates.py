"""Columns of dates: recognised by type or by text, spread over numbers, and read so ever after."""

import datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tacita import errors
from tacita.data.notes import ReadingWarning
from tacita.modalities.load import load, read_like
from tacita.modalities.memory import as_dataset
from tacita.modalities.readers.rows import array_row
from tacita.modalities.tables.dates import DateColumn, date_columns, spread
from tacita.report.describe import describe

ALL = ("days", "year", "month", "weekday", "hour")
moments = st.datetimes(datetime.datetime(1, 1, 1), datetime.datetime(9999, 12, 31, 23, 59, 59))


def parts_of(column, **facts):
    """Every part of a column of dates, as rows of numbers."""
    date = DateColumn(name="t", parts=ALL, **{"first": 0, **facts})
    table, notes = spread(
        pa.table({"t": column}), [date], missing="impute", source="s", row_name=array_row()
    )
    assert table.column_names == [f"t.{part}" for part in ALL]
    return np.stack([table[name].to_numpy() for name in table.column_names], 1), notes


@settings(deadline=None, max_examples=50)
@given(times=st.lists(moments, min_size=1, max_size=5))
def test_parts_are_those_of_the_calendar_for_types_and_text_alike(times):
    start = datetime.datetime(1970, 1, 1)
    expected = [
        [(t - start) / datetime.timedelta(1), t.year, t.month, t.isoweekday(), t.hour]
        for t in times
    ]
    for cells in (
        pa.array(times, pa.timestamp("us")),
        [t.isoformat() for t in times],
        [t.isoformat(" ") for t in times],
    ):
        found, notes = parts_of(cells)
        np.testing.assert_allclose(found, expected, rtol=1e-12)
        assert not notes
    for cells, form in (
        ([f"{t.day}.{t.month}.{t.year:04}" for t in times], "day-first"),
        ([f"{t.month}/{t.day}/{t.year:04}" for t in times], "month-first"),
    ):
        np.testing.assert_array_equal(
            parts_of(cells, form=form)[0][:, 1:4], np.array(expected)[:, 1:4]
        )


def test_zones_are_told_in_utc_and_dates_that_do_not_exist_are_missing():
    cells = ["2020-01-01T01:30+02:00", "2019-12-31 23:30Z", "2019-12-31T18:00-0530"]
    found, _ = parts_of(cells, zoned=True)
    assert found[:, 4].tolist() == [23, 23, 23]
    typed = pa.array([1577835000], pa.timestamp("s", "Asia/Tokyo"))
    assert parts_of(typed, zoned=True)[0].tolist() == found[1:2].tolist()
    cells = [
        "2021-02-29",
        "2020-13-01",
        "2020-01-01T24:00",
        "0000-01-01",
        "yesterday",
        "",
        "2020-02-29",
    ]
    found, (note,) = parts_of(cells)
    assert np.isnan(found[:, 0]).tolist() == [True] * 6 + [False]
    assert str(note) == (
        "5 cells of column 't' are no dates, so they are missing, the first: '2021-02-29' at row 0"
    )


@pytest.mark.parametrize(
    ("cells", "form"),
    [
        (["2020-01-02", "2020/3/4", "2020.12.31"], "year-first"),
        (["01/02/2020", "31/12/2020", "2020-05-05"], "day-first"),
        (["01/02/2020", "12/31/2020"], "month-first"),
        (["2020-01-02", "?", "?", "2020-01-02", "?", None], None),
        (["2020-01-02", "?", "2020-01-02", None], "year-first"),
        (["a", "b"], None),
        (["1.2.3", "2020"], None),
        ([None, None], None),
        ([], None),
    ],
)
def test_a_column_is_one_of_dates_where_half_of_its_filled_cells_are(cells, form):
    found, _ = date_columns(pa.table({"t": pa.array(cells, pa.string())}), ["t"], "s")
    assert [date.form for date in found] == [form] * (form is not None)


@pytest.mark.parametrize("cells", [["03/04/2020", "05.06.2021"], ["13/04/2020", "04/13/2020"]])
def test_dates_that_can_be_read_in_two_ways_are_refused(cells):
    with pytest.raises(
        errors.DataError, match=r"'t'.*'(03|13)/04/2020'[\s\S]*2020-04-03.*--ignore"
    ):
        as_dataset(pd.DataFrame({"t": cells, "a": [1, 2]}))
    assert as_dataset(pd.DataFrame({"t": cells, "a": [1, 2]}), categorical="t").meta.categories[0]


def test_a_model_reads_dates_as_it_learnt_them(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,when,y\n1,31/12/2020,u\n2,02/01/2021,v\n3,03/01/2021,u\n")
    data = load(path, labels="y")
    assert data.meta.columns == ("a", "when.days", "when.year", "when.month", "when.weekday")
    assert data.x[:, 1].tolist() == [0, 2, 3]
    assert "day first" in str(data.notes[0])
    assert ("dates", "when as days, year, month, weekday; days since 2020-12-31") in describe(
        data
    ).facts
    assert data.meta == type(data.meta).model_validate_json(data.meta.model_dump_json())
    path.write_text("when,a\n01/02/2031,5\n2020-12-30,5\n")
    (part,) = read_like(path, data.schema)
    assert part.x.tolist() == [[5, 3684, 2031, 2, 6], [5, -1, 2020, 12, 3]]
    frame = pd.DataFrame({"a": [5.0], "when": [datetime.date(2031, 2, 1)]})
    assert next(read_like(frame, data.schema)).x.tolist() == part.x[:1].tolist()


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("soon", "1 cell of column 'when' is no date, the first at row 2: 'soon'"),
        ("", "1 empty cell in column 'when', the first at row 2"),
        ("2020-01-01T00:00Z", "row 2, column 'when', has a time zone, and the column has none"),
    ],
)
def test_cells_that_are_no_dates_follow_the_policy(tmp_path, cell, said):
    path = tmp_path / "t.csv"
    path.write_text("a,when\n1,2020-01-01\n2,2020-01-02\n")
    strict, filled = load(path).schema, load(path, missing="impute").schema
    path.write_text(f"a,when\n1,{cell}\n")
    with pytest.raises(errors.DataError, match=said):
        list(read_like(path, strict))
    if cell == "soon":
        with pytest.warns(ReadingWarning, match="'soon' at row 2"):
            (part,) = read_like(path, filled)
        assert part.x[0, 1:].isnan().all()


def test_what_cannot_be_spread_is_refused():
    frame = pd.DataFrame({"t": pd.date_range("2020", periods=3), "t.days": [1, 2, 3]})
    with pytest.raises(errors.DataError, match=r"become a column 't\.days'"):
        as_dataset(frame)
    with pytest.raises(errors.DataError, match="beyond the years"):
        as_dataset(pa.table({"t": pa.array([2**60], pa.timestamp("s")), "a": [1.0]}))
    schema = as_dataset(frame[["t"]].assign(a=[1, 2, 3])).schema
    with pytest.raises(errors.DataError, match="dates 't' is missing"):
        list(read_like(frame[["t.days"]].rename(columns={"t.days": "a"}), schema))
    with pytest.raises(errors.DataError, match="the model learnt dates"):
        list(read_like(pd.DataFrame({"t": [1, 2], "a": [1, 2]}), schema))
