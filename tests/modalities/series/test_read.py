"""Series: every format gives the same samples; padding is zero and never counts."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tacita import errors
from tacita.modalities.load import load, read_like
from tacita.modalities.memory import as_dataset
from tacita.modalities.series.read import interpolate
from tacita.report.describe import describe

RAGGED = [np.arange(6, dtype=float).reshape(3, 2), np.ones((1, 2)), np.full((2, 2), 7.0)]


def save_as(kind, folder):
    lengths = np.array([len(item) for item in RAGGED])
    if kind == "padded":
        x = np.full((3, 3, 2), 99.0)
        for row, item in zip(x, RAGGED, strict=True):
            row[: len(item)] = item
        np.savez(folder / "s.npz", x=x, lengths=lengths, y=["a", "", "b"])
    elif kind == "end to end":
        np.savez_compressed(
            folder / "s.npz", values=np.concatenate(RAGGED), lengths=lengths, y=["a", "", "b"]
        )
    else:
        folder = folder / "s"
        folder.mkdir()
        for name, item in zip("pqr", RAGGED, strict=True):
            np.savetxt(folder / f"{name}.csv", item, delimiter=",", header="u,v", comments="")
        (folder / "labels.csv").write_text("file,label\np,a\nr.csv,b\n")
        return folder
    return folder / "s.npz"


@pytest.mark.parametrize("kind", ["padded", "end to end", "folder"])
def test_every_format_gives_the_same_series(tmp_path, kind):
    data = load(save_as(kind, tmp_path))
    expected = as_dataset(RAGGED, ["a", None, "b"])
    assert data.modality == "series"
    assert torch.equal(data.x, expected.x)
    assert data.lengths.tolist() == expected.lengths.tolist() == [3, 1, 2]
    assert torch.equal(data.y, expected.y)
    assert data.x[1, 1:].abs().sum() == 0


def test_a_folder_names_its_samples_and_channels(tmp_path):
    data = load(save_as("folder", tmp_path))
    assert data.ids == ("p.csv", "q.csv", "r.csv")
    assert data.meta.columns == ("u", "v")


def test_equal_lengths_need_no_lengths():
    data = as_dataset(np.zeros((2, 5, 1)), lengths=[5, 5])
    assert data.lengths is None


def test_rows_of_a_wide_table_are_series_that_end_at_their_last_value(tmp_path):
    path = tmp_path / "wide.csv"
    path.write_text("id,t0,t1,t2,label\nann,1,2,3,u\nbob,4,5,,v\n")
    data = load(path, modality="series", labels="label")
    assert data.x[:, :, 0].tolist() == [[1, 2, 3], [4, 5, 0]]
    assert data.lengths.tolist() == [3, 2]
    assert data.ids == ("ann", "bob")
    path.write_text("t0,t1,t2\n1,,3\n4,5,6\n")
    with pytest.raises(errors.DataError, match="row 2, column 't1'"):
        load(path, modality="series")
    assert load(path, modality="series", missing="impute").x[0, :, 0].tolist() == [1, 2, 3]


def test_groups_come_from_an_array_or_a_column_of_the_label_file(tmp_path):
    np.savez(tmp_path / "s.npz", x=np.zeros((3, 4, 1)), groups=["b", "a", "b"])
    assert load(tmp_path / "s.npz").groups.tolist() == [1, 0, 1]
    folder = save_as("folder", tmp_path)
    (folder / "labels.csv").write_text("file,label,subject\np,a,s1\nr,b,s1\n")
    assert load(folder, group="subject").groups.tolist() == [0, 2, 0]


def test_the_first_missing_value_is_named_and_imputed_on_request():
    x = np.zeros((2, 4, 2))
    x[1, 2, 1] = x[1, 3, 1] = np.nan
    with pytest.raises(errors.DataError) as caught:
        as_dataset(x)
    assert "2 missing values" in caught.value.message
    assert "sample 1, position 2, channel 1" in caught.value.message
    assert as_dataset(x, missing="impute").x.isfinite().all()
    assert np.isnan(x).sum() == 2


@settings(deadline=None, max_examples=40)
@given(data=st.data(), length=st.integers(1, 12))
def test_interpolation_is_numpys_within_the_length(data, length):
    valid = data.draw(st.integers(1, length))
    row = np.array(
        data.draw(st.lists(st.floats(-9, 9, width=32), min_size=length, max_size=length))
    )
    holes = data.draw(st.lists(st.integers(0, valid - 1), max_size=valid - 1))
    row[holes] = np.nan
    row[valid:] = 0
    x = np.stack([row, row], 1)[None].astype(np.float32)
    known = np.flatnonzero(~np.isnan(row[:valid]))
    expected = np.interp(np.arange(valid), known, row[known])
    found = interpolate(x, np.array([valid]), "test")
    np.testing.assert_allclose(found[0, :valid, 1], expected, rtol=1e-5, atol=1e-5)
    assert (found[0, valid:] == 0).all()


def test_a_channel_without_any_value_cannot_be_imputed():
    x = np.zeros((2, 3, 1))
    x[1] = np.nan
    with pytest.raises(errors.DataError, match="channel 0 of sample 1 has no value"):
        as_dataset(x, missing="impute")


@pytest.mark.parametrize("lengths", [[1, 2, 3], [0, 4], [5, 4], [1.0, 2.0], [[1], [2]]])
def test_lengths_that_disagree_are_refused(lengths):
    with pytest.raises(errors.DataError):
        as_dataset(np.zeros((2, 4, 1)), lengths=lengths)


def test_lengths_must_sum_to_the_values(tmp_path):
    np.savez(tmp_path / "s.npz", values=np.zeros((5, 1)), lengths=[2, 2])
    with pytest.raises(errors.DataError, match="sum to 4, but there are 5"):
        load(tmp_path / "s.npz")
    np.savez(tmp_path / "s.npz", values=np.zeros((5, 1)))
    with pytest.raises(errors.DataError, match="without 'lengths'"):
        load(tmp_path / "s.npz")


def test_padding_that_no_memory_holds_is_refused(tmp_path):
    lengths = np.ones(400_000, int)
    lengths[0] = 400_000
    np.savez_compressed(
        tmp_path / "s.npz", values=np.zeros(lengths.sum(), np.uint8), lengths=lengths
    )
    data = load(tmp_path / "s.npz")
    assert len(data) == 400_000
    with pytest.raises(errors.DataError, match=r"s\.npz.*GiB"):
        describe(data)
    with pytest.raises(errors.DataError, match="GiB"):
        data.normalised()


def test_files_of_differing_channels_are_refused_by_name(tmp_path):
    folder = save_as("folder", tmp_path)
    (folder / "q.csv").write_text("u,w\n1,2\n")
    with pytest.raises(errors.DataError, match=r"q\.csv"):
        load(folder)


@pytest.mark.parametrize("kind", ["tsv", "parquet", "npy"])
def test_a_folder_may_hold_one_file_of_any_of_these_a_series(tmp_path, kind):
    folder = tmp_path / "s"
    folder.mkdir()
    for name, item in zip("pqr", RAGGED, strict=True):
        frame = pd.DataFrame(item, columns=["u", "v"])
        path = folder / f"{name}.{kind}"
        if kind == "npy":
            np.save(path, item)
        elif kind == "tsv":
            frame.to_csv(path, sep="\t", index=False)
        else:
            frame.to_parquet(path)
    (folder / "labels.csv").write_text("file,label\np,a\nr,b\n")
    data = load(folder)
    expected = as_dataset(RAGGED, ["a", None, "b"])
    assert torch.equal(data.x, expected.x)
    assert torch.equal(data.y, expected.y)
    assert data.meta.columns == (() if kind == "npy" else ("u", "v"))
    parts = list(read_like(folder, data.schema, chunk=2))
    assert torch.equal(torch.cat([part.x for part in parts]), data.x)
    if kind == "npy":
        np.save(folder / "r.npy", np.zeros((2, 3)))
        with pytest.raises(errors.DataError, match=r"r\.npy: 3 channels, p\.npy has 2"):
            load(folder)
