"""What a file claims is bounded by what it holds, before memory is taken for it."""

import gzip
import io
import struct
import zipfile

import nibabel
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tacita.errors import DataError
from tacita.modalities.load import load, read_like
from tacita.modalities.memory import as_dataset
from tacita.modalities.readers import values
from tacita.modalities.series import sampling


def npy(path, shape, dtype="<f4", data=b""):
    """An array file whose header says anything."""
    head = str({"descr": dtype, "fortran_order": False, "shape": shape}).encode().ljust(117) + b"\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + data)
    return path


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [((99_999_999_999_999,), "|S0"), ((True,), "<f4"), ((10**14, 2), "<f4"), ((-1, 2), "<f4")],
)
def test_arrays_that_claim_what_is_not_there(tmp_path, shape, dtype):
    path = npy(tmp_path / "x.npy", shape, dtype, bytes(8))
    with pytest.raises(DataError, match="array 'x'"):
        load(path)
    with pytest.raises(DataError, match="array 'x'"):
        list(read_like(path, as_dataset(np.zeros((2, 2))).schema))


def test_text_of_an_array_that_is_beyond_unicode(tmp_path):
    words = np.array(["aa", "bb"])
    words.view(np.uint32)[:] = 0x7FFFFFFF
    np.savez(tmp_path / "x.npz", x=np.zeros((2, 3)), y=words)
    with pytest.raises(DataError, match="array 'y'"):
        load(tmp_path / "x.npz")


def repeated(path, rows, length, **options):
    """A parquet file that says one long text once and repeats it."""
    words = pa.DictionaryArray.from_arrays(
        pa.array(np.zeros(rows, np.int32)), pa.array(["a" * length])
    )
    table = pa.table({"a": words.cast(pa.string()), "b": np.zeros(rows)})
    pq.write_table(table, path, compression="zstd", **options)
    return path


@pytest.mark.parametrize("encoding", [None, "DELTA_BYTE_ARRAY"])
def test_a_text_that_is_said_once_and_repeated(tmp_path, monkeypatch, encoding):
    how = {} if encoding is None else {"use_dictionary": False, "column_encoding": {"a": encoding}}
    path = repeated(tmp_path / "x.parquet", 2000, 10_000, **how)
    assert path.stat().st_size < 50_000
    monkeypatch.setattr(values, "_BOMB", 2**23)
    with pytest.raises(DataError, match="would unpack"):
        load(path)


def test_numbers_that_are_said_once_and_repeated(tmp_path, monkeypatch):
    pq.write_table(pa.table({"b": np.zeros(2_000_000)}), tmp_path / "x.parquet")
    monkeypatch.setattr(values, "_BOMB", 2**23)
    with pytest.raises(DataError, match="would unpack"):
        load(tmp_path / "x.parquet")


def test_pieces_of_a_parquet_file_are_small_even_where_texts_are_long(tmp_path, monkeypatch):
    path = repeated(tmp_path / "x.parquet", 300, 10_000)
    monkeypatch.setattr("tacita.modalities.readers.parquet._PIECE", 2**20)
    schema = as_dataset(pd.DataFrame({"b": [0.0, 1.0]})).schema
    assert max(len(part) for part in read_like(path, schema)) < 110


def test_lines_of_keys_of_their_own(tmp_path, monkeypatch):
    lines = "".join(f'{{"k{i}": 1}}\n' for i in range(2000))
    (tmp_path / "x.jsonl").write_text(lines)
    monkeypatch.setattr(values, "_BOMB", 2**20)
    with pytest.raises(DataError, match="would unpack"):
        load(tmp_path / "x.jsonl")


def test_one_clock_that_failed_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(sampling, "_SMALL", 100)
    times = np.arange(1_700_000_000, 1_700_000_100)
    times[40] = 0
    pd.DataFrame({"m": "a", "t": times, "u": times % 7}).to_csv(tmp_path / "x.csv", index=False)
    with pytest.raises(DataError, match=r"at row 2 is 1\.7e\+09 steps of 1 behind"):
        load(tmp_path / "x.csv", series_id="m", time="t")


def test_nanoseconds_are_times(tmp_path):
    times = 1_700_000_000_000_000_000 + 10_000_000 * np.arange(8)
    frame = pd.DataFrame({"m": np.repeat(["a", "b"], 4), "t": times, "u": np.arange(8.0)})
    frame.to_csv(tmp_path / "x.csv", index=False)
    data = load(tmp_path / "x.csv", series_id="m", time="t")
    assert data.meta.step == 1e7
    assert data.meta.resampled == 0


def test_one_long_series_among_short_ones_is_not_padded(tmp_path):
    lengths = np.full(3000, 5)
    lengths[7] = 400_000
    np.savez(tmp_path / "x.npz", values=np.zeros(lengths.sum(), np.float32), lengths=lengths)
    data = load(tmp_path / "x.npz")
    assert data.samples.flat.shape == (lengths.sum(), 1)
    with pytest.raises(DataError, match=r"x\.npz.*padded to 4\.5 GiB"):
        data.x  # noqa: B018


def test_a_zip_of_recordings_that_unpacks_beyond_measure(tmp_path):
    lines = b"0\n64\n" + b"0\n" * (2**26)
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("BVP.csv", lines)
        archive.writestr("EDA.csv", b"0\n4\n0\n")
    with pytest.raises(DataError, match="decompression bomb"):
        load(tmp_path / "x.zip")


@pytest.mark.parametrize("name", ["x.nii", "x.nii.gz"])
@pytest.mark.parametrize(("place", "size"), [(2e9, 32), (0, 32), (4e6, 2**30), (4e6, -8)])
def test_extensions_of_a_header_that_claim_gigabytes(tmp_path, name, place, size):
    content = bytearray(nibabel.Nifti1Image(np.zeros((4, 3, 2), np.int16), np.eye(4)).to_bytes())
    content[108:112] = struct.pack("<f", place)
    content[348] = 1
    content[352:356] = struct.pack("<i", size)
    packed = gzip.compress(content) if name.endswith("gz") else bytes(content)
    (tmp_path / name).write_bytes(packed)
    with pytest.raises(DataError, match="header makes no sense"):
        load(tmp_path / name)


def test_a_mark_at_the_beginning_of_a_sensors_file_is_no_number(tmp_path):
    for name in ("EDA.csv", "TEMP.csv"):
        rows = "\n".join(["33.0"] * (4 * 600))
        (tmp_path / name).write_text(f"\ufeff100.0\n4.0\n{rows}\n", encoding="utf-8")
    assert len(load(tmp_path))
    inside = io.BytesIO()
    with zipfile.ZipFile(inside, "w") as archive:
        for name in ("EDA.csv", "TEMP.csv"):
            archive.write(tmp_path / name, name)
    (tmp_path / "s.zip").write_bytes(inside.getvalue())
    assert len(load(tmp_path / "s.zip"))
