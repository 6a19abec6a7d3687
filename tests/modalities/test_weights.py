"""A column or array of weights: found in every form of data, never learnt from, and not asked for again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tacita.data.dataset import Dataset
from tacita.errors import ConfigError, DataError
from tacita.modalities.load import load, read_like
from tacita.modalities.memory import as_dataset
from tacita.report.describe import describe

TABLE = "id,a,b,w,y\np,1,5,1,u\nq,2,6,2.5,v\nr,3,7,,\ns,4,8,4,u\n"
LONG = "machine,t,u,w,y\np,0,1,1,u\np,1,2,1,u\nq,0,1,2.5,v\nq,1,5,2.5,v\n"


def weights_of(data: Dataset) -> list[float]:
    assert data.weights is not None
    return data.weights.tolist()


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@pytest.mark.parametrize("form", ["csv", "parquet", "frame"])
def test_a_column_of_a_table_weighs_its_rows(tmp_path: Path, form: str) -> None:
    path = written(tmp_path / "t.csv", TABLE)
    source: Any = path
    if form == "parquet":
        source = path.with_suffix(".parquet")
        pd.read_csv(path).to_parquet(source)
    if form == "frame":
        data = as_dataset(pd.read_csv(path), labels="y", weight="w")
    else:
        data = load(source, labels="y", weight="w")
    # The third has no label, so that nothing is missing where its weight is.
    assert weights_of(data) == [1, 2.5, 1, 4]
    assert (data.meta.columns, data.meta.weight) == (("a", "b"), "w")  # type: ignore[attr-defined]
    assert "times the mean of 'w'" in str(describe(data))
    (again,) = read_like(path, data.schema)
    assert again.weights is None
    (without,) = read_like(written(tmp_path / "n.csv", "b,a\n1,2\n"), data.schema)
    assert without.x.tolist() == [[2, 1]]


def test_rows_of_weight_zero_are_left_out_and_said_to_be(tmp_path: Path) -> None:
    path = written(tmp_path / "t.csv", TABLE.replace(",2.5,", ",0,"))
    data = load(path, labels="y", weight="w")
    assert (data.ids, data.index.tolist()) == (("p", "r", "s"), [0, 2, 3])
    assert [str(note) for note in data.notes] == ["1 sample of weight 0 left out"]


def test_series_of_a_row_or_a_step_a_row_are_weighed(tmp_path: Path) -> None:
    wide = load(written(tmp_path / "w.csv", TABLE), labels="y", weight="w", modality="series")
    assert (weights_of(wide), wide.x.shape) == ([1, 2.5, 1, 4], (4, 2, 1))
    path = written(tmp_path / "l.csv", LONG)
    how = {"labels": "y", "series_id": "machine", "time": "t"}
    long = load(path, weight="w", **how)  # type: ignore[arg-type]
    assert (weights_of(long), long.meta.columns) == ([1, 2.5], ("u",))  # type: ignore[attr-defined]
    assert [part.weights for part in read_like(path, long.schema, chunk=1)] == [None, None]
    path.write_text(LONG.replace("q,1,5,2.5", "q,1,5,2"))
    with pytest.raises(DataError, match="weight"):
        load(path, weight="w", **how)  # type: ignore[arg-type]


def test_texts_are_weighed(tmp_path: Path) -> None:
    path = written(tmp_path / "t.csv", "said,w,y\ngood,1,u\nbad,3,v\nfine,2,u\n")
    assert weights_of(load(path, text="said", labels="y", weight="w")) == [1, 3, 2]
    with pytest.raises(ConfigError, match="cannot be both"):
        load(path, text="said", labels="y", weight="said")


def test_an_array_is_taken_by_its_name_alone(tmp_path: Path) -> None:
    arrays = {"x": np.zeros((3, 4, 1)), "y": [0, 1, 0], "weights": [1.0, 2.0, 3.0]}
    np.savez(tmp_path / "s.npz", **arrays)  # type: ignore[arg-type]
    assert load(tmp_path / "s.npz").weights is None
    assert weights_of(load(tmp_path / "s.npz", weight="weights")) == [1, 2, 3]
    with pytest.raises(ConfigError, match=r"weight='weight' is neither[\s\S]*'weights'"):
        load(tmp_path / "s.npz", weight="weight")


def test_a_label_file_may_have_the_weights(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in "pqr":
        Image.new("L", (8, 8)).save(folder / f"{name}.png")
    labels = written(tmp_path / "l.csv", "file,label,sure\np,0,0.5\nq,1,2\n")
    data = load(folder, labels=labels, weight="sure")
    assert (weights_of(data), data.y.tolist()) == ([0.5, 2, 1], [0, 1, -1])
    with pytest.raises(ConfigError, match=r"weight='shure' is not a column of .*l\.csv"):
        load(folder, labels=labels, weight="shure")
    labels.write_text("file,label,sure\np,0,0.5\nq,1,\n")
    with pytest.raises(DataError, match="weight of sample 1, which has a label, is missing"):
        load(folder, labels=labels, weight="sure")
    table = written(tmp_path / "t.csv", "id,a\np,1\nq,2\nr,3\n")
    labels.write_text("id,label,sure\np,0,0.5\nq,1,4\n")
    assert weights_of(load(table, labels=labels, weight="sure")) == [0.5, 4, 1]


def test_arrays_have_weights_beside_them() -> None:
    x, y = np.zeros((3, 2)), ["u", "v", None]
    data = as_dataset(x, y, weights=[1, 2, None])
    assert weights_of(data) == [1, 2, 1]
    assert weights_of(as_dataset(data, weights=[3, 4, 5])) == [3, 4, 5]
    with pytest.raises(ConfigError, match=r"weight='w'[\s\S]*weights, one a sample"):
        as_dataset(data, weight="w")
    with pytest.raises(ConfigError, match="no weights"):
        load("wine", weight="w")


@pytest.mark.parametrize("name", ["a column that is not there", "y"])
def test_a_column_that_cannot_be_weights_is_refused(tmp_path: Path, name: str) -> None:
    path = written(tmp_path / "t.csv", TABLE.replace("3,7,,", "3,7,9,"))
    with pytest.raises(ConfigError, match="weight="):
        load(path, labels="y", weight=name)
    with pytest.raises(DataError, match="'p', not a number"):
        load(path, labels="y", weight="id")
