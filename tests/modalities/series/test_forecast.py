"""Reading what is to be forecast: calendars, what is known ahead, what is missing, and errors in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from tacita.data.dataset import Dataset
from tacita.errors import ConfigError, DataError
from tacita.modalities.load import load, read_like
from tacita.modalities.memory import as_dataset
from tacita.modalities.series.calendar import Calendar
from tacita.modalities.series.meta import SeriesMeta
from tacita.report.describe import describe
from tacita.windows import Windows


def sales(days: int = 60, shops: int = 2) -> pd.DataFrame:
    """Shops whose sales are their number, plus ten where there is a promotion."""
    rng = np.random.default_rng(0)
    promotion = rng.integers(0, 2, (shops, days))
    return pd.DataFrame(
        {
            "shop": np.repeat([f"shop {i}" for i in range(shops)], days),
            "day": np.tile(pd.date_range("2024-01-01", periods=days), shops),
            "size": np.repeat(np.arange(shops) * 10.0, days),
            "promotion": promotion.ravel(),
            "visitors": rng.normal(size=shops * days),
            "sales": (promotion * 10 + np.arange(shops)[:, None]).ravel() + rng.normal(size=shops * days),
        }
    )  # fmt: skip


OPTIONS: dict[str, Any] = {"labels": "sales", "series_id": "shop", "time": "day", "horizon": 7}


def windows_in(data: Dataset) -> Windows:
    assert isinstance(data.samples, Windows)
    return data.samples


def meta_in(data: Dataset) -> SeriesMeta:
    assert isinstance(data.meta, SeriesMeta)
    return data.meta


def test_a_table_becomes_windows_of_every_series() -> None:
    table = sales()
    data = as_dataset(table, **OPTIONS)
    windows, meta = windows_in(data), meta_in(data)
    assert data.task.name == "forecast"
    assert meta.columns[0] == "sales"
    assert (meta.season, meta.static) == (7, ("size",))
    assert int((~data.labelled).sum()) == 2  # One at the end of every series.
    ends = {name: i for i, name in enumerate(data.ids) if "@" not in name}
    assert ends.keys() == {"shop 0", "shop 1"}
    assert windows.stamps()[ends["shop 1"]][0] == "2024-03-01"
    shuffled = as_dataset(table.sample(frac=1, random_state=1), **OPTIONS)
    order = {name: i for i, name in enumerate(shuffled.ids)}
    same = [order[name] for name in data.ids]
    assert torch.equal(windows_in(shuffled).padded[same], windows.padded)
    torch.testing.assert_close(shuffled.y[same], data.y, equal_nan=True)


def test_what_is_known_ahead_stands_at_its_own_step() -> None:
    table = sales()
    data = as_dataset(table, **OPTIONS, known_ahead="promotion")
    windows = windows_in(data)
    assert data.spec.ahead == 7
    place = data.ids.index("shop 1 @ 2024-02-10")
    of_shop = table[(table["shop"] == "shop 1") & (table["day"] >= "2024-02-10")]
    shown = windows.padded[place, int(windows.lengths[place]) - 7 :]
    assert shown[:, -2].tolist() == of_shop["promotion"][:7].tolist()
    assert not shown[:, 0].any()  # Sales to come,
    assert not shown[:, meta_in(data).columns.index("visitors")].any()  # and who will visit.
    torch.testing.assert_close(
        windows.future()[place, :, 0], torch.tensor(of_shop["sales"].to_numpy()[:7])
    )
    # No rows to come: nothing can be asked at the end yet.
    assert bool(data.labelled.all())


def test_rows_to_come_are_asked_about_and_their_gaps_are_refused() -> None:
    table = sales()
    data = as_dataset(table, **OPTIONS, known_ahead="promotion")
    days = pd.date_range("2024-03-01", periods=7)
    rows = [
        pd.DataFrame({"shop": f"shop {i}", "day": days, "promotion": 1.0, "size": 10.0 * i})
        for i in range(2)
    ]
    later = pd.concat([table, *rows])
    (found,) = read_like(later, data.schema)
    asked = found.subset(~found.labelled)
    assert asked.ids == ("shop 0", "shop 1")
    assert windows_in(asked).padded[:, -7:, -2].tolist() == [[1.0] * 7] * 2
    later.loc[later["day"] == "2024-03-03", "promotion"] = np.nan
    with pytest.raises(DataError, match="known ahead, but the series 'shop 0' has none for step 3"):
        list(read_like(later, data.schema))


def test_a_models_further_series_are_asked_about_at_their_end_and_scored_on_their_last_steps() -> (
    None
):
    data = as_dataset(sales(), **OPTIONS)
    (found,) = read_like(sales(days=70), data.schema)
    windows = windows_in(found)
    assert found.labelled.tolist() == [True, False, True, False]
    assert (windows.stops - windows.ends).tolist() == [7, 0, 7, 0]
    assert windows.padded.shape[1:] == windows_in(data).padded.shape[1:]


# Calendars


def test_weekdays_with_holidays_are_a_calendar() -> None:
    days = pd.bdate_range("2024-01-01", periods=80)
    days = days.delete([20, 45])  # Holidays, of all series alike.
    table = pd.DataFrame({"day": days, "price": np.random.default_rng(0).normal(size=78)})
    data = as_dataset(table, labels="price", time="day", horizon=5)
    assert meta_in(data).calendar == "weekdays"
    assert meta_in(data).season == 5
    assert windows_in(data).stops[0] == 78
    last = windows_in(data).stamps()[data.ids.index("price")]
    wanted = pd.bdate_range(days[-1] + pd.Timedelta(days=1), periods=5)
    assert last == [str(day.date()) for day in wanted]


def test_a_missing_day_is_refused_filled_in_or_no_step() -> None:
    table = sales(shops=1).drop(index=[10, 11])
    with pytest.raises(
        DataError, match=r"'shop 0' has no row for 2024-01-11 \(every day; 2 rows missing"
    ):
        as_dataset(table, **OPTIONS)
    filled = as_dataset(table, **OPTIONS, missing="impute")
    windows = windows_in(filled)
    assert int(windows.stops[0]) == 60
    # What was filled in is never an answer.
    assert windows.course.seen[:60, 0].sum() == 58
    # A line to the next value would tell a window that ends in the gap what comes.
    steps = windows.course.steps[9:13, 0]
    assert steps[0] == steps[1] == steps[2] != steps[3]
    rows = as_dataset(table, **OPTIONS, calendar="rows")
    assert int(windows_in(rows).stops[0]) == 58
    assert "row after row" in str(describe(rows))


def test_what_is_filled_in_knows_nothing_of_what_comes_after() -> None:
    table = sales(shops=1)
    table.loc[[0, 1, 20, 21, 22], ["sales", "visitors"]] = np.nan
    changed = table.copy()
    changed.loc[23:, ["sales", "visitors"]] += 1000
    one, other = (
        windows_in(as_dataset(each, **OPTIONS, missing="impute")) for each in (table, changed)
    )
    before = one.ends <= 23
    assert torch.equal(one.padded[before], other.padded[before])


def test_a_day_that_one_series_lacks_is_a_gap_and_one_that_all_lack_is_none() -> None:
    table = sales()
    closed = table[table["day"] != "2024-01-20"]
    assert int(windows_in(as_dataset(closed, **OPTIONS)).stops[0]) == 59
    one = table[(table["day"] != "2024-01-20") | (table["shop"] == "shop 0")]
    with pytest.raises(DataError, match="'shop 1' has no row for 2024-01-20"):
        as_dataset(one, **OPTIONS)


@pytest.mark.parametrize(
    ("freq", "season", "words"),
    [
        ("h", 24, "every hour"), ("D", 7, "every day"), ("W", 52, "every week"), ("MS", 12, "every month"),
        ("ME", 12, "every month, on its last day"), ("QS", 4, "every 3 months"), ("YS", 1, "every 12 months"),
        ("15min", 96, "every 15 minutes"), ("B", 5, "every weekday"),
    ],
)  # fmt: skip
def test_calendars_are_told_from_dates_and_go_on(freq: str, season: int, words: str) -> None:
    dates = pd.date_range("2023-01-02", periods=30, freq=freq)
    times = dates.as_unit("s").astype("int64").to_numpy().astype(float)
    found = Calendar.of(times[:25], dated=True, source="x")
    assert (found.season, found.words) == (season, words)
    assert found.after(times[24:25], 5)[0].tolist() == times[25:].tolist()
    assert found.places(times).tolist() == list(range(30))


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["2023-11", "2023-12", "2024-01"], "every month"),
        (["2023 Q3", "2023 Q4", "2024 Q1"], "every 3 months"),
        (["2023Q3", "2023Q4", "2024Q1"], "every 3 months"),
        (["2023-11", "2023-12-01", "2024-01"], "every month"),
    ],
)
def test_months_and_quarters_are_dates(texts: list[str], words: str) -> None:
    table = pd.DataFrame({"when": texts, "y": [1.0, 2, 4]})
    data = as_dataset(table, labels="y", time="when", horizon=1)
    assert words in str(describe(data))


def test_times_without_a_calendar_are_refused_with_the_place() -> None:
    table = sales(shops=1)
    table.loc[30, "day"] += pd.Timedelta(hours=5)
    with pytest.raises(DataError, match="2024-01-31 05:00:00 comes 29 hours after"):
        as_dataset(table, **OPTIONS)


# What is wrong


@pytest.mark.parametrize(
    ("change", "options", "error", "said"),
    [
        ({}, {"horizon": 0}, ConfigError, "horizon=0"),
        ({}, {"horizon": 70}, DataError, "70 steps ahead need a series of 72 or more"),
        ({}, {"context": 57}, ConfigError, "context=57 and horizon=7, but the longest series has 60"),
        ({}, {"season": 0}, ConfigError, "season=0"),
        ({}, {"labels": "sale"}, ConfigError, "Did you mean 'sales'"),
        ({}, {"known_ahead": "promo"}, ConfigError, "known_ahead='promo' is not a column"),
        ({}, {"known_ahead": "sales"}, ConfigError, "both name the column 'sales'"),
        ({}, {"group": "shop"}, ConfigError, "group='shop'"),
        ({}, {"task": "regression"}, ConfigError, "the task regression forecasts nothing"),
        ({"sales": np.nan}, {}, DataError, "has no value of 'sales'"),
        ({"sales": np.inf}, {}, DataError, "infinite"),
        ({"day": pd.Timestamp("2024-01-05")}, {}, DataError, "is there twice"),
        ({"shop": None}, {}, DataError, "has no 'shop'"),
    ],
)  # fmt: skip
def test_what_cannot_be_forecast_is_refused(
    change: dict[str, Any], options: dict[str, Any], error: type[Exception], said: str
) -> None:
    table = sales()
    for column, value in change.items():
        table.loc[20, column] = value
    with pytest.raises(error, match=said):
        as_dataset(table, **{**OPTIONS, **options})


def test_options_of_forecasts_need_a_horizon_and_the_task_needs_one_too() -> None:
    with pytest.raises(ConfigError, match="without a horizon"):
        as_dataset(sales(), labels="sales", series_id="shop", time="day", season=7)
    for samples in (np.zeros((3, 9, 1)), sales()):
        with pytest.raises(ConfigError, match="task='forecast' needs a horizon"):
            as_dataset(samples, task="forecast")
    with pytest.raises(ConfigError, match="how far it is to look"):
        as_dataset(as_dataset(np.zeros((3, 9, 1))), task="forecast")
    with pytest.raises(ConfigError, match="horizon=3, but"):
        as_dataset(np.zeros((3, 1, 8, 8), np.uint8), [0, 1, 0], horizon=3)


def test_a_model_refuses_other_channels_by_name() -> None:
    data = as_dataset(sales(), **OPTIONS)
    with pytest.raises(DataError, match="no column 'visitors'"):
        list(read_like(sales().drop(columns="visitors"), data.schema))
    turned = sales()[["visitors", "sales", "promotion", "size", "shop", "day"]]
    (found,) = read_like(turned, data.schema)
    (same,) = read_like(sales(), data.schema)
    assert torch.equal(found.x, same.x)


def test_arrays_and_files_of_series_are_forecast_whole(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(3, 30, 2))
    data = as_dataset(x, horizon=4)
    assert data.task.names == ("0", "1")  # type: ignore[attr-defined]
    np.savez(tmp_path / "x.npz", x=x)
    again = load(tmp_path / "x.npz", horizon=4)
    assert torch.equal(again.x, data.x)
    with pytest.raises(ConfigError, match="of a table with a row a time step"):
        as_dataset(x, horizon=4, missing="impute")
    ragged = as_dataset([x[0], x[1, :20]], horizon=4)
    assert windows_in(ragged).stops.unique().tolist() == [30, 54]  # type: ignore[no-untyped-call]
    short = as_dataset([x[0], x[1, :4]], horizon=4)
    assert "1 series too short for the horizon, which is not learnt from" in str(describe(short))


def test_a_table_without_an_id_is_one_series_and_says_so(tmp_path: Path) -> None:
    table = sales(shops=1)[["day", "sales"]]
    table.to_csv(tmp_path / "sales.csv", index=False)
    data = load(tmp_path / "sales.csv", time="day", horizon=7)
    assert "1 series of 60 steps" in str(describe(data))
    assert data.ids[-1] == "series"


def test_very_many_windows_are_drawn_with_all_that_are_scored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tacita.modalities.series.cut.MOST", 50)
    few = windows_in(as_dataset(sales(), **OPTIONS))
    monkeypatch.undo()
    many = windows_in(as_dataset(sales(), **OPTIONS))
    assert len(few) == 52
    assert int(few.aligned.sum()) == int(many.aligned.sum())
