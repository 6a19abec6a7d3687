"""A table is the same in whatever file it comes, whole and in pieces, and says how it was understood."""

import gzip
import io
import zipfile

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from PIL import Image

import tacita
from tacita.data.dataset import joined
from tacita.errors import DataError
from tacita.modalities.load import load, read_like
from tacita.modalities.memory import as_dataset
from tacita.modalities.readers import excel, values
from tacita.report.describe import describe

FRAME = pd.DataFrame(
    {
        "a": np.arange(40) / 4,
        "b": ["u", "v"] * 20,
        "state": ["ok", "worn", "ok", "worn", "worn"] * 8,
    }
)
CSV = FRAME.to_csv(index=False).encode()
LINES = FRAME.to_json(orient="records", lines=True).encode()
CUT = LINES.index(b"\n", 900) + 1


def zipped(**members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("_", "."), content)
        if len(members) > 1:  # As macOS packs folders.
            archive.writestr("__MACOSX/._one.csv", "junk")
    return buffer.getvalue()


def halves():
    return {"one_csv": FRAME[:16].to_csv(index=False), "two_csv": FRAME[16:].to_csv(index=False)}


def arrow(stream, **options):
    buffer = io.BytesIO()
    table = pa.Table.from_pandas(FRAME, preserve_index=False)
    make = pa.ipc.new_stream if stream else pa.ipc.new_file
    with make(buffer, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table, max_chunksize=7)
    return buffer.getvalue()


def workbook(frame=FRAME, sheets=("first",)):
    buffer = io.BytesIO()
    with pd.ExcelWriter(buffer) as writer:
        for sheet in sheets:
            frame.to_excel(writer, sheet_name=sheet, index=False)
    return buffer.getvalue()


FILES = {
    "t.csv.gz": gzip.compress(CSV),
    "t.CSV.GZ": gzip.compress(CSV),
    "t.csv.zst": pa.compress(CSV, "zstd", asbytes=True),
    "t.csv.zip": zipped(**halves()),
    "t.tsv.gz": gzip.compress(FRAME.to_csv(index=False, sep="\t").encode()),
    "t.jsonl.gz": gzip.compress(LINES),
    "t.jsonl.zip": zipped(a_jsonl=LINES[:CUT], b_jsonl=LINES[CUT:]),
    "t.txt": FRAME.to_csv(index=False, sep="|").encode(),
    "tabs.csv": FRAME.to_csv(index=False, sep="\t").encode(),
    "t.feather": arrow(False, compression="lz4"),
    "t.arrow": arrow(True),
    "z.arrow": arrow(False, compression="zstd"),
    "t.xlsx": workbook(),
    "bom.csv": b"\xef\xbb\xbf" + CSV,
    "bom.jsonl": b"\xef\xbb\xbf" + LINES,
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_every_file_holds_the_same_table(tmp_path, name):
    (tmp_path / name).write_bytes(FILES[name])
    data = load(tmp_path / name, labels="state")
    same = as_dataset(FRAME, labels="state")
    assert data.x.tolist() == same.x.tolist()
    assert data.y.tolist() == same.y.tolist()
    assert data.meta.columns == ("a", "b")
    again = joined(list(read_like(tmp_path / name, data.schema, chunk=3)))
    assert again.x.tolist() == data.x.tolist()
    assert again.y.tolist() == data.y.tolist()


@pytest.mark.parametrize(("name", "said"), [("t.txt", "'|'"), ("tabs.csv", "a tab")])
def test_a_delimiter_that_was_found_is_said(tmp_path, name, said):
    (tmp_path / name).write_bytes(FILES[name])
    data = load(tmp_path / name)
    assert f"note      cells are parted by {said}" in describe(data).lines()
    (tmp_path / "t.csv").write_bytes(CSV)
    assert load(tmp_path / "t.csv").notes == ()


def test_the_other_sheets_are_named(tmp_path):
    (tmp_path / "t.xlsx").write_bytes(workbook(sheets=("mine", "yours")))
    notes = [str(note) for note in load(tmp_path / "t.xlsx").notes]
    assert notes == ["only the first of 2 sheets is read: 'mine'"]


def test_cells_of_a_sheet_are_what_they_are(tmp_path):
    frame = pd.DataFrame(
        {
            "n": [1, 2.5, None],
            "mixed": [1, "x", 2],
            "on": [True, False, True],
            "day": pd.to_datetime(["2024-01-01", "2024-01-02", "2024-01-03"]),
        }
    )
    (tmp_path / "t.xlsx").write_bytes(workbook(frame))
    table = excel.read_excel(tmp_path / "t.xlsx")
    assert [str(field.type) for field in table.schema] == [
        "double", "string", "bool", "timestamp[us]",
    ]  # fmt: skip
    assert table["mixed"].to_pylist() == ["1", "x", "2"]


def far_off(path):
    book = zipfile.ZipFile(io.BytesIO(workbook()))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member in book.infolist():
            content = book.read(member)
            if member.filename.endswith("sheet1.xml"):
                cell = b'<row r="1048576"><c r="XFD1048576"><v>1</v></c></row></sheetData>'
                content = content.replace(b"</sheetData>", cell)
            archive.writestr(member, content)
    return path


@pytest.mark.slow
def test_one_cell_far_off_does_not_fill_a_sheet(tmp_path):
    with pytest.raises(DataError, match="would unpack"):
        load(far_off(tmp_path / "t.xlsx"))


@pytest.mark.parametrize("name", ["t.csv.gz", "t.csv.zst", "t.csv.zip", "t.arrow", "t.xlsx"])
def test_what_is_packed_beyond_measure_is_refused(tmp_path, monkeypatch, name):
    monkeypatch.setattr(values, "_BOMB", 2**12)
    monkeypatch.setattr(excel, "_BOMB", 2**12)
    monkeypatch.setattr(values, "_RATIO", 5)
    monkeypatch.setattr(excel, "_RATIO", 5)
    csv = b"a,b\n" + b"0,0\n" * 20_000
    frame = pd.read_csv(io.BytesIO(csv))
    buffer = io.BytesIO()
    frame.to_feather(buffer, compression="zstd")
    content = {
        "t.csv.gz": gzip.compress(csv),
        "t.csv.zst": pa.compress(csv, "zstd", asbytes=True),
        "t.csv.zip": zipped(a_csv=csv),
        "t.arrow": buffer.getvalue(),
        "t.xlsx": workbook(frame[:500]),
    }
    (tmp_path / name).write_bytes(content[name])
    with pytest.raises(DataError, match="unpack"):
        load(tmp_path / name)


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"a_csv": "x,y\n1,2\n", "b_csv": "x,z\n1,2\n"}, "not those of the archive's first"),
        ({"a_csv": "x,y\n1,2\n", "read_me": "hello"}, "'read.me' is no .csv file"),
        ({}, "0 files"),
    ],
)
def test_an_archive_is_one_table_or_named(tmp_path, members, said):
    (tmp_path / "t.csv.zip").write_bytes(zipped(**members))
    with pytest.raises(DataError, match=said):
        load(tmp_path / "t.csv.zip")


def test_utf_16_is_named_rightly(tmp_path):
    (tmp_path / "t.csv").write_bytes(CSV.decode().encode("utf-16"))
    with pytest.raises(DataError, match="iconv -f utf-16"):
        load(tmp_path / "t.csv")


def test_one_file_is_one_sample(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (2, 8, 8, 3), dtype=np.uint8)
    for i in range(2):
        Image.fromarray(pixels[i]).save(tmp_path / f"{i}.png")
    data = load(tmp_path)
    (one,) = read_like(tmp_path / "1.png", data.schema)
    assert one.ids == ("1.png",)
    assert one.x.tolist() == data.x[1:].tolist()
    assert len(tacita.load(tmp_path / "0.png")) == 1


def test_one_text_is_one_sample(tmp_path):
    texts = as_dataset(["some words here", "and others there"])
    (tmp_path / "new.txt").write_text("some words here")
    (one,) = read_like(tmp_path / "new.txt", texts.schema)
    assert torch.equal(one.samples.flat, texts.samples[torch.tensor([0])].padded[0, :3])


@pytest.mark.parametrize("name", ["r0.csv", "r0.npy"])
def test_one_series_is_one_sample(tmp_path, name):
    folder = tmp_path / "all"
    folder.mkdir()
    x = np.random.default_rng(0).normal(size=(3, 20, 2)).astype(np.float32)
    for i, rows in enumerate(x):
        if name.endswith("npy"):
            np.save(folder / f"r{i}.npy", rows)
        else:
            pd.DataFrame(rows, columns=["left", "right"]).to_csv(folder / f"r{i}.csv", index=False)
    data = load(folder)
    (one,) = read_like(folder / name, data.schema)
    assert len(one) == 1
    assert one.ids == (name,)
    assert np.allclose(one.x[0], x[0])


@pytest.mark.parametrize("content", [CSV, LINES])
def test_a_table_on_standard_input(monkeypatch, content):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
    data = load("-", labels="state")
    assert data.y.tolist() == as_dataset(FRAME, labels="state").y.tolist()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\n")))
    with pytest.raises(DataError, match="standard input is empty"):
        load("-")
