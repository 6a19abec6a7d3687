"""Long tables and irregular times: the same series in whatever order the rows come."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tacita
from tacita import errors
from tacita.modalities.load import load, read_like
from tacita.modalities.memory import as_dataset
from tacita.modalities.series.sampling import on_grid
from tacita.report.describe import describe

LONG = {"series_id": "machine", "time": "t"}
CSV = "machine,t,u,state,v,note\np,0,1,ok,10,x\nq,5,4,,40,x\np,2,3,ok,30,x\np,1,2,,20,x\nq,6,5,bad,50,x\n"


@pytest.fixture
def path(tmp_path):
    (tmp_path / "long.csv").write_text(CSV)
    return tmp_path / "long.csv"


def test_rows_become_series_sorted_by_time(path):
    data = load(path, labels="state", **LONG)
    assert data.x.tolist() == [[[1, 10], [2, 20], [3, 30]], [[4, 40], [5, 50], [0, 0]]]
    assert data.lengths.tolist() == [3, 2]
    assert (data.ids, data.meta.columns) == (("p", "q"), ("u", "v"))
    assert list(data.task.decode(data.y)) == ["ok", "bad"]
    assert (data.schema.meta.series_id, data.schema.meta.time, data.schema.meta.step) == (
        "machine",
        "t",
        1.0,
    )
    assert "time      from 't', a step of 1" in describe(data).lines()


@settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    lengths=st.lists(st.integers(1, 6), min_size=1, max_size=6),
    seed=st.integers(0, 99),
    chunk=st.integers(1, 4),
    kind=st.sampled_from(["csv", "parquet", "frame"]),
    mixed=st.booleans(),
)
def test_the_order_of_rows_and_the_chunk_change_nothing(
    tmp_path, lengths, seed, chunk, kind, mixed
):
    rng = np.random.default_rng(seed)
    items = [rng.normal(size=(n, 2)).astype(np.float32) for n in lengths]
    frame = pd.concat(
        pd.DataFrame(
            {
                "machine": f"m{i}",
                "t": np.arange(len(x)) * 0.5,
                "a": x[:, 0],
                "b": x[:, 1],
                "y": "uv"[i % 2],
            }
        )
        for i, x in enumerate(items)
    )
    if mixed:
        frame = frame.sample(frac=1, random_state=seed)
    source = frame
    if kind != "frame":
        source = tmp_path / f"l.{kind}"
        frame.to_csv(source, index=False) if kind == "csv" else frame.to_parquet(source)
        data = load(source, labels="y", **LONG)
    else:
        data = as_dataset(frame, labels="y", **LONG)
    lengths_found = (
        data.lengths if data.lengths is not None else torch.full((len(data),), data.x.shape[1])
    )
    for name, x, n in zip(data.ids, data.x, lengths_found, strict=True):
        # A CSV has the shortest digits of 32 bits, which are read as 64.
        found = x[: int(n)].numpy().astype(np.float32)
        np.testing.assert_array_equal(found, items[int(name[1:])])
    parts = list(read_like(source, data.schema, chunk=chunk))
    assert all(len(part) <= chunk for part in parts)
    assert sum((part.ids for part in parts), ()) == data.ids
    assert torch.equal(torch.cat([part.x for part in parts]), data.x)
    assert torch.equal(torch.cat([part.y for part in parts]), data.y)


def test_a_series_may_span_many_pieces_of_the_file(path, monkeypatch):
    monkeypatch.setattr("tacita.modalities.series.sources._ROWS", 2)
    path.write_text(
        "machine,t,u\n" + "".join(f"m{i},{t},{i + t}\n" for i in range(4) for t in range(5 - i))
    )
    data = load(path, **LONG)
    parts = list(read_like(path, data.schema, chunk=3))
    assert all(len(part) <= 3 for part in parts)
    assert torch.equal(torch.cat([part.x for part in parts]), data.x)


def test_labels_and_groups_may_come_from_a_file_by_id(path, tmp_path):
    (tmp_path / "l.csv").write_text("machine,label\nq,worn\n")
    assert load(path, labels=tmp_path / "l.csv", **LONG).y.tolist() == [-1, 0]
    path.write_text("machine,t,u,who\np,0,1,a\nq,0,1,b\nr,0,1,a\nr,1,2,a\n")
    assert load(path, group="who", **LONG).groups.tolist() == [0, 1, 0]


def test_targets_of_a_regression_may_be_minus_one(path):
    path.write_text("machine,t,u,y\np,0,1,-1\np,1,1,-1\nq,0,2,2.5\n")
    assert load(path, labels="y", task="regression", **LONG).y.tolist() == [-1, 2.5]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("machine,t,u\np,0,1\nq,0,1\np,0,2\n", "the time 0 at row 4 is there twice"),
        ("machine,t,u\np,0,1\np,,1\n", "the time at row 3 is missing"),
        ("machine,t,u\np,0,1\n,1,1\n", "row 3 has no 'machine'"),
        ("machine,t,u\np,0,1\np,1,\n", "1 missing value .*row 3, column 'u'"),
        ("machine,t,u\np,soon,1\n", "time column 't' is neither"),
        ("machine,t,u\np,0,a\n", "no column is numeric"),
    ],
)
def test_rows_that_fit_no_series_are_named(path, text, said):
    path.write_text(text)
    with pytest.raises(errors.DataError, match=said):
        load(path, **LONG)


def test_a_label_that_varies_within_a_series_is_refused(path):
    path.write_text("machine,t,u,y\np,0,1,a\nq,0,1,b\nq,1,1,a\n")
    with pytest.raises(errors.DataError, match="varies within the series 'q': 'b' and 'a'"):
        load(path, labels="y", **LONG)


def test_names_that_are_no_columns_are_refused(path, tmp_path):
    with pytest.raises(errors.ConfigError, match="Did you mean 'machine'"):
        load(path, series_id="machin")
    with pytest.raises(errors.ConfigError, match="both name the column 't'"):
        load(path, series_id="machine", time="t", labels="t")
    with pytest.raises(errors.ConfigError, match="without series_id"):
        load(path, time="t")
    with pytest.raises(errors.ConfigError, match="is no table"):
        load("digits", series_id="machine")
    with pytest.raises(errors.ConfigError, match="holds tables"):
        load(path, series_id="machine", modality="tables")
    data = load(path, labels="state", **LONG)
    path.write_text("machine,t,u,w\np,0,1,2\n")
    with pytest.raises(errors.DataError, match="no channel 'v'"):
        list(read_like(path, data.schema))


@pytest.mark.parametrize("stamp", ["2024-05-31 14:00:{:02d}", "2024-05-31T14:00:{:02d}Z"])
def test_dates_are_times_in_seconds(path, stamp):
    path.write_text("machine,t,u\n" + "".join(f"p,{stamp.format(2 * i)},{i}\n" for i in range(5)))
    data = load(path, **LONG)
    assert (data.meta.step, data.meta.resampled) == (2.0, 0)


@settings(deadline=None, max_examples=60)
@given(data=st.data(), seed=st.integers(0, 999))
def test_irregular_series_are_interpolated_as_numpy_does(data, seed):
    rng = np.random.default_rng(seed)
    lengths = np.array(data.draw(st.lists(st.integers(1, 7), min_size=1, max_size=5)))
    steps = [rng.choice([0.5, 1, 1, 1, 2.3, 7], n) for n in lengths]
    times = np.concatenate([rng.normal() + np.cumsum(s) for s in steps])
    values = rng.normal(size=(len(times), 2)).astype(np.float32)
    found = on_grid(values, lengths, times, step=1.0, source="test", place=str)
    starts, new_starts = np.cumsum(lengths) - lengths, np.cumsum(found.lengths) - found.lengths
    for n, m, at, to in zip(lengths, found.lengths, starts, new_starts, strict=True):
        t = times[at : at + n]
        assert m == np.floor(t[-1] - t[0] + 1e-6) + 1
        for channel in (0, 1):
            expected = np.interp(t[0] + np.arange(m), t, values[at : at + n, channel])
            np.testing.assert_allclose(found.values[to : to + m, channel], expected, atol=2e-5)


def test_regular_series_stay_bit_for_bit_beside_irregular_ones():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(9, 1)).astype(np.float32)
    times = np.concatenate([1e9 + 0.1 * np.arange(5), [0, 0.1, 0.25, 0.3]])
    found = on_grid(values, np.array([5, 4]), times, source="test", place=str)
    assert found.step == pytest.approx(0.1, rel=1e-5)
    assert found.resampled == 1
    assert np.array_equal(found.values[:5].view(np.uint32), values[:5].view(np.uint32))
    assert found.lengths.tolist() == [5, 4]


def test_long_gaps_are_counted_and_the_step_is_kept_for_later_series(path):
    path.write_text("machine,t,u\n" + "".join(f"p,{t},{t}\n" for t in [0, 1, 2, 3, 20, 21, 21.5]))
    data = load(path, **LONG)
    assert (data.meta.step, data.meta.resampled, data.meta.gaps) == (1.0, 1, 1)
    assert data.x[0, :, 0].tolist() == list(range(22))
    text = "\n".join(describe(data).lines())
    assert "a step of 1; 1 irregular series interpolated" in text
    assert "1 gap of more than 10 steps" in text
    path.write_text("machine,t,u\nq,0,0\nq,4,4\n")
    (part,) = read_like(path, data.schema)
    assert part.x[0, :5, 0].tolist() == [0, 1, 2, 3, 4]
    assert part.lengths.tolist() == [5]


def test_gaps_in_values_are_filled_by_time_and_not_by_position(path):
    path.write_text("machine,t,u,v\np,0,0,5\np,1,,5\np,4,4,5\np,5,5,\n")
    data = load(path, missing="impute", **LONG)
    assert data.x[0].tolist() == [[0, 5], [1, 5], [2, 5], [3, 5], [4, 5], [5, 5]]


def test_a_gap_without_bound_is_refused_before_memory_is_taken(path):
    path.write_text("machine,t,u\np,0,0\np,1,1\np,2,1\np,1e15,1\n")
    with pytest.raises(errors.DataError, match="1e\\+15 steps"):
        load(path, **LONG)


@pytest.mark.parametrize("form", ["padded", "end to end"])
def test_arrays_may_come_with_their_times(tmp_path, form):
    x = np.arange(8, dtype=np.float32).reshape(2, 4, 1)
    time = np.array([[0, 1, 2, 3], [0, 1, 3, 0]], float)
    lengths = np.array([4, 3])
    valid = np.arange(4) < lengths[:, None]
    saved = (
        {"x": x, "time": time} if form == "padded" else {"values": x[valid], "time": time[valid]}
    )
    np.savez(tmp_path / "s.npz", lengths=lengths, **saved)
    data = load(tmp_path / "s.npz")
    assert data.x[:, :, 0].tolist() == [[0, 1, 2, 3], [4, 5, 5.5, 6]]
    assert (data.meta.step, data.meta.resampled, data.lengths) == (1.0, 1, None)
    parts = list(read_like(tmp_path / "s.npz", data.schema, chunk=1))
    assert torch.equal(torch.cat([part.x for part in parts]), data.x)
    with pytest.raises(errors.ConfigError, match="Did you mean 'time'"):
        load(tmp_path / "s.npz", time="tim")
    np.savez(
        tmp_path / "s.npz",
        lengths=lengths,
        **{**saved, "time": -time if form == "padded" else -time[valid]},
    )
    with pytest.raises(errors.DataError, match="at sample 0, position 1 is before"):
        load(tmp_path / "s.npz")


@pytest.mark.filterwarnings("ignore::tacita.data.notes.LearntWarning")
def test_a_saved_model_reads_the_same_layout_again(tmp_path):
    path = tmp_path / "long.csv"
    rows = [
        f"m{m},{t},{(m % 2) + 0.01 * t},{'ab'[m % 2]}\n" for m in range(12) for t in (0, 1, 2, 3.5)
    ]
    path.write_text("machine,t,u,y\n" + "".join(rows))
    tacita.adapt("logistic-regression", path, labels="y", out=tmp_path / "run", quiet=True, **LONG)
    model = tacita.Model.load(tmp_path / "run")
    assert (model.schema.meta.series_id, model.schema.meta.time, model.schema.meta.step) == (
        "machine",
        "t",
        1.0,
    )
    assert model.evaluate_file(path, "y")["accuracy"] == 1
    assert model.predict_file(path, tmp_path / "p.csv", False) == 12
    assert (tmp_path / "p.csv").read_text().splitlines()[1:3] == ["m0,a", "m1,b"]
