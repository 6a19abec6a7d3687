"""Rows that are time steps are noticed and not split; rows that are samples, however sorted, are not."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, load_wine

import tacita
from tacita.data.splits import cross_validation, hold_out
from tacita.errors import DataError
from tacita.modalities.memory import as_dataset
from tacita.modalities.tables.steps import steps_in
from tacita.report.describe import describe

WINDOWS, STEPS = 12, 10


def waves(**columns):
    """Twelve noisy waves, a row a time step, of two kinds that come in turn."""
    rng = np.random.default_rng(0)
    window, t = np.divmod(np.arange(WINDOWS * STEPS), STEPS)
    x = (
        np.sin(t / 3 * (1 + window % 2))
        + rng.normal(0, 0.05, len(t))
        + rng.normal(0, 1, 12)[window]
    )
    state = np.where(window % 2, "fast", "slow")
    return pd.DataFrame({"window_id": window, "t": t, "x": x, "state": state} | columns)


def doubt(frame, labels="state", **options):
    return as_dataset(frame, labels=labels, **options).doubt


def test_a_long_table_is_doubted_with_its_columns_and_not_split(tmp_path):
    waves().to_csv(tmp_path / "long.csv", index=False)
    data = tacita.load(tmp_path / "long.csv", labels="state")
    said = "--series-id window_id --time t"
    assert any(said in line for line in describe(data).lines())
    for split in (lambda: hold_out(data, 0.2, 0), lambda: cross_validation(data, 0)):
        with pytest.raises(DataError, match=said):
            split()
    out = tmp_path / "run"
    with pytest.raises(DataError, match="--modality tables"):
        tacita.fit(tmp_path / "long.csv", labels="state", out=out, quiet=True)
    with pytest.raises(DataError, match=said):
        tacita.adapt("knn", tmp_path / "long.csv", labels="state", quiet=True)
    assert not out.exists()


@pytest.mark.parametrize(
    "options",
    [
        {"group": "window_id"},
        {"modality": "tables"},
        {"series_id": "window_id", "time": "t"},
    ],
)
def test_what_was_told_is_not_asked_again(options):
    data = as_dataset(waves(), labels="state", **options)
    assert data.doubt is None
    cross_validation(data, 0)


def test_labels_and_groups_given_apart_count_too():
    frame = waves()
    y = frame.pop("state")
    assert "--series-id window_id" in str(as_dataset(frame, y).doubt)
    assert as_dataset(frame, y, groups=frame["window_id"].to_numpy()).doubt is None


SERIES = {
    "shuffled rows": (waves().sample(frac=1, random_state=0), "--series-id window_id --time t"),
    "dates as text": (
        waves(t=pd.date_range("2024-01-01", periods=120, freq="s").astype(str)),
        "--series-id window_id --time t",
    ),
    "an id with a space": (
        waves().rename(columns={"window_id": "window id"}),
        "--series-id 'window id' --time t",
    ),
    "no time": (waves().drop(columns="t"), "--series-id window_id"),
    "some labels": (
        waves(state=np.where(np.arange(120) < 60, waves()["state"], "")),
        "--series-id window_id --time t",
    ),
    "labels within": (
        waves(state=np.where(np.arange(120) % 10 < 5, "rest", "move")),
        "--group window_id",
    ),
    "one recording": (
        waves(state=np.where(np.arange(120) // 20 % 2, "rest", "move"), t=np.arange(120.0)).drop(
            columns="window_id"
        ),
        "--group COLUMN",
    ),
    "a regression": (
        waves(state=np.random.default_rng(1).normal(size=12).round(3).repeat(10)),
        "--series-id window_id --time t",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SERIES)
def test_time_steps_of_every_kind_are_noticed(name):
    frame, said = SERIES[name]
    task = "regression" if name == "a regression" else None
    assert said in str(doubt(frame, task=task))


def test_smooth_rows_without_any_clock_are_noticed():
    t = np.arange(300)
    frame = pd.DataFrame({c: np.sin(t / (9 + i)) for i, c in enumerate("abc")})
    assert "--group COLUMN" in str(doubt(frame.assign(state=t // 50 % 2)))


def customers():
    rng = np.random.default_rng(0)
    age = rng.integers(18, 90, 200)
    return pd.DataFrame(
        {
            "id": np.arange(200),
            "age": age,
            "city": rng.choice(list("abcdef"), 200),
            "visits": rng.integers(0, 6, 200),
            "income": rng.lognormal(10, 1, 200).round(2),
            "joined": pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.permutation(200), unit="D"),
            "state": np.where(age + rng.normal(0, 9, 200) > 50, "old", "young"),
        }
    )


SAMPLES = {
    "iris": load_iris(as_frame=True).frame,
    "wine": load_wine(as_frame=True).frame,
    "breast cancer": load_breast_cancer(as_frame=True).frame,
    "diabetes": load_diabetes(as_frame=True).frame,
    "customers": customers(),
}


@pytest.mark.parametrize("name", SAMPLES)
def test_tables_of_samples_sorted_by_any_column_are_not_doubted(name):
    frame = SAMPLES[name]
    target = frame.columns[-1]
    for by in frame.columns:
        ordered = frame.sort_values([by, frame.columns[0]]).reset_index(names="row")
        table = pa.Table.from_pandas(ordered.drop(columns=target), preserve_index=False)
        assert steps_in(table, ordered[target].to_numpy()) is None, by
