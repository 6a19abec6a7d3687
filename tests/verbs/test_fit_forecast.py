"""The main job on series to be forecast: airline passengers, and sales with what is known ahead."""

from __future__ import annotations

import csv
from pathlib import Path

import aeon.datasets
import numpy as np
import pandas as pd
import pytest

import tacita
from tacita.errors import ConfigError, DataError
from tacita.model.model import Model

DATA = Path(aeon.datasets.__file__).parent / "data"


def airline() -> pd.DataFrame:
    """Monthly passengers, 1949 to 1960."""
    table = pd.read_csv(DATA / "Airline" / "Airline.csv")
    table.columns = ["month", "passengers"]
    return table


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, Path]:
    folder = tmp_path_factory.mktemp("airline")
    airline().to_csv(folder / "airline.csv", index=False)
    model = tacita.fit(
        folder / "airline.csv", labels="passengers", time="month", horizon=12, out=folder / "run",
        recipe=["lag-ridge", "auto-ets", "seasonal-naive"], quiet=True,
    )  # fmt: skip
    return model, folder


def test_the_winner_beats_a_season_ago_on_years_kept_aside(fitted: tuple[Model, Path]) -> None:
    model, _ = fitted
    assert model.metrics.held_out is not None
    assert model.metrics.held_out["skill"] > 0.3
    rows = {row.name: row for row in model.metrics.leaderboard}
    assert rows["seasonal-naive"].mean == 0
    assert rows["seasonal-naive"].folds == [0.0] * len(rows["seasonal-naive"].folds)
    page = (model.folder / "report.html").read_text(encoding="utf-8")  # type: ignore[operator]
    assert "Error by step ahead" in page
    assert "what came" in page


def test_the_series_goes_on_from_its_last_row(fitted: tuple[Model, Path], tmp_path: Path) -> None:
    _, folder = fitted
    model = Model.load(folder / "run")
    rows = model.predict_file(folder / "airline.csv", tmp_path / "next.csv")
    assert rows == 12
    with (tmp_path / "next.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [line["time"] for line in lines] == [f"1961-{month:02d}-01" for month in range(1, 13)]
    assert [line["step"] for line in lines] == [str(step) for step in range(1, 13)]
    values = np.array([float(line["predicted"]) for line in lines])
    # More than the year before, and the summer is above the winter.
    assert values.mean() > airline()["passengers"][-12:].mean()
    assert values[6] > values[0]
    for line in lines:
        assert float(line["q2.5"]) <= float(line["predicted"]) <= float(line["q97.5"])
    np.testing.assert_allclose(model.predict(folder / "airline.csv")[0], values, rtol=1e-6)
    scores = model.evaluate_file(folder / "airline.csv")
    assert scores["mase"] < 3


def test_the_rows_to_come_are_written_to_be_filled_in(
    fitted: tuple[Model, Path], tmp_path: Path
) -> None:
    model, folder = fitted
    assert model.future_file(folder / "airline.csv", tmp_path / "future.csv") == 12
    lines = (tmp_path / "future.csv").read_text().splitlines()
    assert lines[:2] == ["month,passengers", "1961-01-01,"]
    with (tmp_path / "both.csv").open("w") as file:
        file.write((folder / "airline.csv").read_text())
        file.write("".join(f"{line}\n" for line in lines[1:]))
    np.testing.assert_array_equal(
        model.predict(tmp_path / "both.csv"), model.predict(folder / "airline.csv")
    )


def test_a_forecast_follows_what_is_known_ahead_and_does_not_lag_behind_it() -> None:
    """Covariates that are shifted by the horizon give a forecast of the wrong day."""
    rng = np.random.default_rng(0)
    promotion = rng.integers(0, 2, 200).astype(float)
    sales = 20 + 10 * promotion + 0.1 * rng.normal(size=200)
    days = pd.date_range("2024-01-01", periods=214)
    ahead = rng.integers(0, 2, 14).astype(float)
    table = pd.DataFrame(
        {
            "day": days,
            "promotion": np.concatenate([promotion, ahead]),
            "sales": np.concatenate([sales, np.full(14, np.nan)]),
        }
    )
    options = {"labels": "sales", "time": "day", "horizon": 14, "quiet": True}
    knowing = tacita.fit(table, known_ahead="promotion", recipe="lag-ridge", **options)  # type: ignore[arg-type]
    blind = tacita.fit(table, recipe="lag-ridge", **options)  # type: ignore[arg-type]
    assert knowing.metrics.held_out is not None
    assert blind.metrics.held_out is not None
    assert knowing.metrics.held_out["skill"] > 0.9
    assert blind.metrics.held_out["skill"] < 0.5
    found = knowing.predict(table)[0]
    np.testing.assert_allclose(found, 20 + 10 * ahead, atol=1.5)
    with pytest.raises(DataError, match="no series has the rows to come"):
        knowing.predict(table[:200])


def test_what_a_forecast_cannot_do_says_so(fitted: tuple[Model, Path]) -> None:
    model, folder = fitted
    with pytest.raises(ConfigError, match="no probabilities"):
        model.predict_file(folder / "airline.csv", None, proba=True)
    with pytest.raises(ConfigError, match="random-forest does not do forecast"):
        tacita.fit(
            folder / "airline.csv", labels="passengers", time="month", horizon=12,
            recipe="random-forest", quiet=True,
        )  # fmt: skip
    wine = tacita.fit("wine", recipe="logistic-regression", quiet=True)
    with pytest.raises(ConfigError, match="forecasts nothing"):
        wine.future_file(folder / "airline.csv", None)


def test_a_network_is_saved_and_forecasts_the_same(tmp_path: Path) -> None:
    table = airline()[:60]
    model = tacita.adapt(
        "direct-forecast", table, labels="passengers", time="month", horizon=12, steps=3,
        encoder="residual-conv", quiet=True, out=tmp_path / "run", **{"encoder.width": 4, "encoder.depth": 1},
    )  # fmt: skip
    again = Model.load(tmp_path / "run")
    np.testing.assert_array_equal(model.predict(table), again.predict(table))
    with pytest.raises(ConfigError, match="cannot be exported"):
        again.export(tmp_path / "m.onnx")
