"""Labels a time step in files: they follow their rows through sorting, gaps, chunks and blocks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import tacita
from tacita.errors import ConfigError, DataError
from tacita.modalities.load import read_like

OF_STEPS = {"labels": "state", "task": "sequence-labels"}


@pytest.fixture
def frame() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    steps = np.concatenate([np.arange(40), np.arange(60)])
    state = np.where(steps // 10 % 2, "on", "off").astype(object)
    state[3] = ""
    return pd.DataFrame(
        {
            "who": ["a"] * 40 + ["b"] * 60,
            "t": steps * 0.5,
            "u": (state == "on") + 0.1 * rng.normal(size=100),
            "state": state,
            "speed": steps * 2.0,
        }
    )


def test_a_label_that_changes_within_a_series_needs_its_task_named(frame: pd.DataFrame) -> None:
    with pytest.raises(DataError, match="--task sequence-labels"):
        tacita.as_dataset(frame, labels="state", series_id="who", time="t")


def test_labels_follow_their_rows_in_any_order(frame: pd.DataFrame) -> None:
    plain = tacita.as_dataset(frame, series_id="who", time="t", **OF_STEPS)
    mixed = tacita.as_dataset(
        frame.sample(frac=1, random_state=0), series_id="who", time="t", **OF_STEPS
    )
    order = [mixed.ids.index(name) for name in plain.ids]
    assert torch.equal(mixed.y[order], plain.y)
    assert torch.equal(mixed.x[order], plain.x)
    assert plain.y[0, 3] == -1
    assert plain.y[0, 40:].tolist() == [-1] * 20
    on = plain.task.classes.index("on")
    assert ((plain.y == on) <= (plain.x[:, :, 0] > 0.5)).all()


def test_irregular_times_carry_their_labels_along(frame: pd.DataFrame) -> None:
    some = frame.drop(index=[17, 18, 70]).assign(speed=lambda f: f.t * 4)
    data = tacita.as_dataset(
        some, labels="speed", series_id="who", time="t", task="sequence-regression"
    )
    assert data.meta.resampled == 2  # type: ignore[attr-defined]
    expected = torch.arange(60, dtype=torch.float64) * 2
    assert torch.allclose(data.y[1, :, 0], expected)
    assert torch.allclose(data.y[0, :40, 0], expected[:40])
    words = tacita.as_dataset(some, series_id="who", time="t", **OF_STEPS)
    whole = tacita.as_dataset(frame, series_id="who", time="t", **OF_STEPS)
    known = whole.y >= 0
    assert (words.y == whole.y)[known].float().mean() > 0.98


def test_several_columns_are_several_targets(frame: pd.DataFrame) -> None:
    data = tacita.as_dataset(
        frame.assign(x=1.0),
        labels="speed, u",
        series_id="who",
        time="t",
        task="sequence-regression",
    )
    assert data.y.shape == (2, 60, 2)
    assert data.task.targets == ("speed", "u")  # type: ignore[attr-defined]
    assert data.meta.columns == ("x",)  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match="'sped' is not a column"):
        tacita.as_dataset(
            frame, labels="sped,u", series_id="who", time="t", task="sequence-regression"
        )


def test_one_recording_becomes_blocks_in_time(frame: pd.DataFrame, tmp_path: Path) -> None:
    one = pd.concat([frame[frame.who == "b"]] * 5).drop(columns="who")
    one["t"] = pd.date_range("2024-05-01", periods=len(one), freq="s")
    one.to_csv(tmp_path / "one.csv", index=False)
    data = tacita.load(tmp_path / "one.csv", time="t", **OF_STEPS)
    assert len(data) == 10
    assert data.lengths is not None
    assert data.lengths.tolist() == [29] * 9 + [30]
    x = torch.tensor(one[["u", "speed"]].to_numpy())
    assert torch.allclose(data.x[3, :29].double(), x[90:119], atol=1e-4)
    assert data.kind.times(data)[3][0] == "2024-05-01T00:01:30"  # type: ignore[index]
    (again,) = read_like(tmp_path / "one.csv", data.schema)
    assert again.x.shape == (1, 300, 2)
    assert again.kind.times(again)[0][299] == "2024-05-01T00:04:59"  # type: ignore[index]
    with pytest.raises(DataError, match="too few to learn"):
        tacita.as_dataset(one[:12], time="t", **OF_STEPS)


def test_the_only_labelled_recording_becomes_blocks_beside_those_without_labels(
    frame: pd.DataFrame,
) -> None:
    other = frame.assign(state=np.where(frame.who == "b", frame.state, ""))
    data = tacita.as_dataset(other, series_id="who", time="t", **OF_STEPS)
    assert data.ids[-1] == "a"
    assert data.labelled.tolist() == [True] * (len(data) - 1) + [False]
    assert data.index.tolist() == list(range(len(data)))
    assert data.lengths is not None
    assert data.lengths[-1] == 40
    assert len(data) == 8  # seven blocks of eight steps or more


def test_arrays_have_them_padded_or_end_to_end(tmp_path: Path) -> None:
    x = np.arange(12.0).reshape(2, 6, 1)
    y = np.array([[0, 0, 1, 1, -1, 1], [1, 1, 0, 0, 5, 5]])
    lengths = np.array([6, 4])
    np.savez(tmp_path / "padded.npz", x=x, y=y, lengths=lengths)
    flat = np.concatenate([y[0], y[1, :4]])
    np.savez(tmp_path / "flat.npz", values=np.arange(10.0)[:, None], y=flat, lengths=lengths)
    for name in ("padded", "flat"):
        data = tacita.load(tmp_path / f"{name}.npz", task="sequence-labels")
        assert data.y.tolist() == [[0, 0, 1, 1, -1, 1], [1, 1, 0, 0, -1, -1]]
        pieces = list(read_like(tmp_path / f"{name}.npz", data.schema, chunk=1))
        assert torch.equal(torch.cat([piece.y for piece in pieces]), data.y)
    with pytest.raises(DataError, match="one entry a sample"):
        tacita.load(tmp_path / "padded.npz")


def test_a_label_file_has_too_few_labels(frame: pd.DataFrame, tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("id,label\na,on\nb,off\n")
    with pytest.raises(ConfigError, match="every step needs its own"):
        tacita.as_dataset(
            frame, labels=tmp_path / "labels.csv", series_id="who", task="sequence-labels"
        )


def test_a_folder_of_tables_has_a_column_of_labels_in_each(
    frame: pd.DataFrame, tmp_path: Path
) -> None:
    folder = tmp_path / "people"
    folder.mkdir()
    for name, rows in frame.groupby("who"):
        rows.drop(columns="who").to_csv(folder / f"{name}.csv", index=False)
    data = tacita.load(folder, time="t", **OF_STEPS)
    whole = tacita.as_dataset(frame, series_id="who", time="t", **OF_STEPS)
    assert data.ids == ("a.csv", "b.csv")
    assert torch.equal(data.y, whole.y)
    assert torch.equal(data.x, whole.x)
    pieces = list(read_like(folder, data.schema, chunk=1))
    assert [piece.ids for piece in pieces] == [("a.csv",), ("b.csv",)]
    assert torch.equal(pieces[1].y, data.y[1:])
    (alone,) = read_like(folder / "b.csv", data.schema)
    assert torch.equal(alone.y, data.y[1:])
    frame.drop(columns=["who", "state"])[:40].to_csv(folder / "c.csv", index=False)
    (other,) = read_like(folder / "c.csv", data.schema)
    assert not other.labelled.any()
