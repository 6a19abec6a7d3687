"""Values that a columnar file says once and repeats: what they would take is known before it is taken."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tacita.errors import DataError
from tacita.modalities.load import load, read_like
from tacita.modalities.readers import values
from tacita.modalities.readers.types import written_out

ROWS = 20


def write(table, path):
    if path.suffix == ".parquet":
        pq.write_table(table, path, compression="zstd")
        return path
    compression = "zstd" if path.suffix == ".feather" else None
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.ipc.new_file(str(path), table.schema, options=options) as writer:
        writer.write_table(table)
    return path


def repeating(kind):
    """A column of lists or records in whose first row one number is repeated."""
    count = 2_000_000
    numbers = pa.array(np.full(count, 1.5))
    offsets = pa.array([0, *[count] * ROWS], pa.int32())
    lists = pa.ListArray.from_arrays(offsets, numbers)
    return lists if kind == "list" else pa.StructArray.from_arrays([lists], ["inner"])


@pytest.mark.parametrize("kind", ["list", "record"])
def test_values_of_lists_and_records_are_never_read(tmp_path, kind):
    columns = {"b": np.arange(ROWS), "a": repeating(kind), "y": ["u", "v"] * (ROWS // 2)}
    path = write(pa.table(columns), tmp_path / "x.parquet")
    before = pa.default_memory_pool().bytes_allocated()
    held = []
    with pytest.raises(DataError, match="column 'a' of lists or records"):
        load(path, labels="y")
    data = load(path, labels="y", ignore="a")
    assert data.x[:, 0].tolist() == list(range(ROWS))
    for piece in read_like(path, data.schema, chunk=7):
        held.append(pa.default_memory_pool().bytes_allocated() - before)
        assert len(piece) <= 7
    assert len(held) == 3
    assert max(held) < 2**20
    with pytest.raises(DataError, match=r"column 'a' \(labels\) holds lists or records"):
        load(path, labels="a")
    with pytest.raises(DataError, match=r"column 'a' \(group\) holds lists or records"):
        load(path, labels="y", group="a")
    with pytest.raises(DataError, match="column 'a' is of lists or records, not text"):
        load(path, text="a")


def test_a_file_of_lists_alone_has_its_rows(tmp_path):
    path = write(pa.table({"a": repeating("list")}), tmp_path / "x.parquet")
    with pytest.raises(DataError, match="column 'a' of lists or records"):
        load(path)


def test_a_name_that_leads_into_a_record_is_refused(tmp_path):
    record = pa.StructArray.from_arrays([pa.array(range(ROWS))], ["b"])
    path = write(pa.table({"a": record, "a.b": range(ROWS)}), tmp_path / "x.parquet")
    with pytest.raises(DataError, match=r"'a\.b' is called as a field of the records"):
        load(path)


@pytest.mark.parametrize("name", ["x.parquet", "x.feather", "x.arrow"])
def test_one_long_category_is_not_written_out_for_every_row(tmp_path, monkeypatch, name):
    words = pa.DictionaryArray.from_arrays(
        pa.array(np.zeros(2000, np.int32)), pa.array(["a" * 20_000])
    )
    table = pa.table({"a": words, "b": np.arange(2000.0), "y": ["u", "v"] * 1000})
    path = write(table, tmp_path / name)
    assert path.stat().st_size < 100_000
    other = write(table.drop_columns("a"), tmp_path / f"other{path.suffix}")
    schema = load(other, labels="y").schema
    monkeypatch.setattr(values, "_BOMB", 2**23)
    with pytest.raises(DataError, match="would unpack"):
        load(path, labels="y")
    with pytest.raises(DataError, match="would unpack"):
        list(read_like(path, schema))


def test_one_long_text_behind_many_views_is_counted_for_each():
    long = pa.array(["a" * 500], pa.string_view())
    views = np.frombuffer(long.buffers()[1], np.uint8, 16)
    every = pa.py_buffer(np.tile(views, 100).tobytes())
    column = pa.Array.from_buffers(pa.string_view(), 100, [None, every, long.buffers()[2]])
    column.validate(full=True)
    assert written_out(pa.record_batch({"a": column})) == 500 * 100
    assert written_out(pa.record_batch({"a": column[90:]})) == 500 * 10


def test_columns_of_nothing_are_counted_by_their_rows(tmp_path, monkeypatch):
    columns = {f"c{i}": pa.nulls(100_000) for i in range(20)}
    path = write(pa.table({**columns, "b": np.zeros(100_000, np.uint8)}), tmp_path / "x.arrow")
    monkeypatch.setattr(values, "_BOMB", 2**20)
    monkeypatch.setattr(values, "_RATIO", 20)
    with pytest.raises(DataError, match="would unpack"):
        load(path)


@pytest.mark.parametrize("name", ["x.parquet", "x.feather", "x.arrow"])
def test_categories_and_missing_ones_stay_what_they_are(tmp_path, name):
    cells = ["u", None, "vv", "u"] * 5
    table = pa.table({"a": pa.array(cells).dictionary_encode(), "b": range(ROWS)})
    data = load(write(table, tmp_path / name), missing="impute")
    assert "a" in str(data.meta)
    assert len(data) == ROWS
