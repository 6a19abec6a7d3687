"""Packed tables are read as if they were not packed; what cannot be told is refused with what to do."""

import gzip
import re
import zipfile

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pytest

from tacita.data.dataset import joined
from tacita.errors import DataError
from tacita.modalities.load import load, read_like
from tacita.modalities.readers.packed import members_of

TABLE = b"a,b,y\n1,2,u\n3,4,v\n5,6,\n7,8,v\n"
SERIES = [f"u,v\n{i},2\n3,{i}.5\n0,1\n".encode() for i in range(3)]


def archive(path, **members):
    path.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        for name, content in members.items():
            out.writestr(re.sub(r"_(\w{3})$", r".\1", name), content)
    return path


@pytest.mark.parametrize("name", ["x.zip", "x.2024.zip", "X.ZIP"])
def test_an_archive_of_one_table_is_that_table(tmp_path, name):
    (tmp_path / "t.csv").write_bytes(TABLE)
    plain = load(tmp_path / "t.csv", labels="y")
    path = archive(tmp_path / name, t_csv=TABLE, **{".hidden": b"x", "__MACOSX/t.csv": b"x"})
    data = load(path, labels="y")
    assert data.x.tolist() == plain.x.tolist()
    assert data.y.tolist() == plain.y.tolist()
    assert joined(list(read_like(path, plain.schema, chunk=3))).x.tolist() == plain.x.tolist()


@pytest.mark.parametrize(
    ("members", "said"),
    [
        (
            {"a_csv": TABLE, "b_csv": TABLE},
            r"x\.zip: .* 2 files in it, such as 'a\.csv'.*\n.*call it x\.csv\.zip\. A file a series: unpack",
        ),
        ({"a_csv": TABLE, "b_txt": b"x"}, r"2 files in it.*\n.*Unpack it into a folder first"),
        ({"a_png": b"x"}, r"1 file in it.*\n.*Unpack it into a folder first"),
        ({}, r"Unpack it into a folder first"),
    ],
)
def test_an_archive_of_anything_else_says_what_to_do(tmp_path, members, said):
    with pytest.raises(DataError, match=said):
        load(archive(tmp_path / "x.zip", **members))


def test_parts_of_one_table_are_read_under_the_name_that_the_remedy_gives(tmp_path):
    path = archive(tmp_path / "x.zip", a_csv=TABLE, b_csv=TABLE)
    with pytest.raises(DataError) as refused:
        load(path, labels="y")
    name = re.search(r"call it (\S+)\. A file", str(refused.value))[1]
    assert len(load(path.rename(tmp_path / name), labels="y")) == 8


@pytest.mark.parametrize(
    "name", ["x.npy.gz", "x.parquet.gz", "x.tar", "x.csv.bz2", "x.csv.xz", "x.7z", "x.tgz"]
)
def test_what_is_packed_otherwise_is_to_be_unpacked(tmp_path, name):
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / name).write_bytes(gzip.compress(TABLE))
    for source in (tmp_path / "f" / name, tmp_path / "f"):
        with pytest.raises(DataError, match="Unpack it"):
            load(source)


def packed(folder, ending, content, stem):
    path = folder / f"{stem}{ending}"
    if ending.lower().endswith(".gz"):
        path.write_bytes(gzip.compress(content))
    elif ending.endswith(".zst"):
        path.write_bytes(pa.compress(content, "zstd", asbytes=True))
    elif ending.endswith(".zip"):
        archive(path, inside_csv=content)
    else:
        frame = pd.read_csv(pa.BufferReader(content))
        pa.feather.write_feather(frame, path, compression="zstd")


@pytest.mark.parametrize(
    "ending", [".csv.gz", ".csv.zst", ".csv.zip", ".CSV.GZ", ".feather", ".arrow"]
)
def test_a_folder_of_packed_tables_is_a_series_a_file(tmp_path, ending):
    plain, other = tmp_path / "plain", tmp_path / "packed"
    for folder in (plain, other):
        folder.mkdir()
    for i, content in enumerate(SERIES):
        (plain / f"s{i}.csv").write_bytes(content)
        packed(other, ending, content, f"s{i}")
    (tmp_path / "labels.csv").write_text("file,label\ns0,a\ns1,b\ns2,a\n")
    labels = str(tmp_path / "labels.csv")
    same, data = load(plain, labels=labels), load(other, labels=labels)
    assert data.modality == "series"
    assert np.array_equal(data.x, same.x)
    assert data.y.tolist() == same.y.tolist() == [0, 1, 0]
    assert data.ids == tuple(f"s{i}{ending}" for i in range(3))
    assert np.array_equal(joined(list(read_like(other, same.schema, chunk=2))).x, same.x)
    (one,) = read_like(other / f"s1{ending}", same.schema)
    assert np.array_equal(one.x, same.x[1:2])


def test_an_archive_that_is_none_has_no_members(tmp_path):
    (tmp_path / "x.zip").write_bytes(b"PK\x03\x04 and no more")
    assert members_of(tmp_path / "x.zip") == []
    assert members_of(tmp_path / "nowhere.zip") == []
