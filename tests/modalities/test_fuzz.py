"""Whatever the bytes of a file are, a reader gives a data set or says what is wrong; nothing else.

This holds of the first reading and of any later one; and what was read at first is read again, in pieces,
bit for bit the same.
"""

import io
from contextlib import contextmanager, suppress

import nibabel
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from tacita.data.check import check_trainable
from tacita.data.dataset import Dataset, joined
from tacita.errors import TacitaError
from tacita.modalities.load import load, read_like
from tacita.modalities.memory import as_dataset
from tacita.report.describe import describe
from tests.helpers import same_values, with_examples

pytestmark = pytest.mark.filterwarnings("ignore::tacita.data.notes.ReadingWarning")

FRAME = pd.DataFrame(
    {"a": [1.5, -2.0, 3e5], "b": ["u", "v", "u"], "c": [True, False, True], "y": ["p", "", "q"]}
)
SERIES = np.arange(24, dtype=np.float32).reshape(3, 4, 2)

# Damage makes odd cells and unseen values, which are told of.
pytestmark = pytest.mark.filterwarnings("ignore::tacita.data.notes.ReadingWarning")


def written(write):
    buffer = io.BytesIO()
    write(buffer)
    return buffer.getvalue()


def image(kind, **options):
    pixels = np.arange(108, dtype=np.uint8).reshape(6, 6, 3)
    return written(lambda file: Image.fromarray(pixels).save(file, kind, **options))


VALID = {
    "t.csv": FRAME.to_csv(index=False).encode(),
    "t.tsv": FRAME.to_csv(index=False, sep="\t").encode(),
    "t.jsonl": FRAME.to_json(orient="records", lines=True).encode(),
    "set/t.txt": "gr\u00fc\u00dfe und mehr\n".encode(),
    "t.parquet": written(lambda file: FRAME.to_parquet(file)),
    "x.npy": written(lambda file: np.save(file, SERIES)),
    "x.npz": written(lambda file: np.savez(file, x=SERIES, y=["a", "", "b"], lengths=[4, 1, 2])),
    "v.npz": written(
        lambda file: np.savez_compressed(file, values=SERIES[0], lengths=[1, 3], y=[0, 1])
    ),
    "set/i.png": image("PNG"),
    "set/i.jpg": image("JPEG"),
    "set/i.bmp": image("BMP"),
    "set/i.webp": image("WEBP", lossless=True),
    "set/i.tiff": image("TIFF", compression="tiff_deflate"),
    "set/i.gif": image("GIF"),
    "set/i.ppm": image("PPM"),
    "set/s.csv": b"u,v\n1,2\n3,4\n",
    "set/s.npy": written(lambda file: np.save(file, SERIES[0])),
    "set/s.parquet": written(lambda file: FRAME[["a"]].to_parquet(file)),
    "set/n.nii": nibabel.Nifti1Image(
        np.arange(24, dtype=np.int16).reshape(4, 3, 2), np.eye(4)
    ).to_bytes(),
    "s.ts": b"@classLabel true a b\n@data\n1,2:3,4:a\n5,6:7,8:b\n",
    "z.npz": written(lambda file: np.savez(file, x=SERIES, time=np.arange(12.0).reshape(3, 4))),
}
if "text" in with_examples():
    VALID["set/t.txt"] = b"a few words, and then some more of them"
SCHEMAS = {
    "tables": as_dataset(FRAME, labels="y").schema,
    "series": as_dataset(SERIES).schema,
    "images": as_dataset(np.zeros((2, 3, 6, 6), np.uint8)).schema,
    "volumes": as_dataset(np.zeros((2, 1, 2, 3, 4), np.float32)).schema,
}
LONG = as_dataset(
    pd.DataFrame({"m": ["p", "p", "q"], "t": [0.0, 1, 0], "u": [1.0, 2, 3]}),
    series_id="m",
    time="t",
).schema
LABELLED = as_dataset(SERIES, ["a", "b", "a"]).schema
fuzz = settings(
    deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def survives(folder, name, content):
    """Reads the content in every way there is; only our own errors may come out, and they say where."""
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    source = path.parent if path.parent != folder else path
    labels = "y" if name.startswith("t") else None
    for options in ({}, {"missing": "impute", "labels": labels}, {"modality": "series"}):
        check_read(source, first_reading(source, **options))
    for schema in SCHEMAS.values():
        with refused(source):
            assert sum(len(part) for part in read_like(source, schema, chunk=2))


def first_reading(source, **options):
    with refused(source):
        return load(source, **options)
    return None


def check_read(source, data):
    if data is None:
        return
    assert isinstance(data, Dataset)
    assert not data.x.isinf().any()
    assert len(describe(data).lines()) >= 1
    reads_again(source, data)
    with suppress(TacitaError):
        check_trainable(data)


@contextmanager
def refused(source):
    """Whatever is refused is refused by an error that names the source."""
    said = str(source)
    try:
        yield
    except TacitaError as error:
        said = str(error)
    assert str(source) in said


def reads_again(source, data, chunk=2):
    """The model of a data set takes the very source, in pieces, for the same samples and labels."""
    again = joined(list(read_like(source, data.schema, chunk=chunk)))
    same_values(again.samples, data.samples)
    assert again.ids == data.ids
    if again.labelled.any():
        same_values(again.targets, data.targets)


@pytest.mark.parametrize("name", VALID)
def test_the_files_that_are_broken_below_are_whole_to_begin_with(tmp_path, name):
    (tmp_path / "set").mkdir()
    (tmp_path / name).write_bytes(VALID[name])
    source = tmp_path / "set" if name.startswith("set") else tmp_path / name
    assert len(load(source, labels="y" if name.startswith("t") else None))


@pytest.mark.parametrize("name", VALID)
@fuzz
@given(content=st.binary(max_size=300))
def test_random_bytes(tmp_path, name, content):
    survives(tmp_path, name, content)


@pytest.mark.parametrize("name", VALID)
@fuzz
@given(share=st.floats(0, 1))
def test_files_cut_short(tmp_path, name, share):
    survives(tmp_path, name, VALID[name][: int(share * len(VALID[name]))])


@pytest.mark.parametrize("name", VALID)
@fuzz
@given(data=st.data())
def test_flipped_bits(tmp_path, name, data):
    content = bytearray(VALID[name])
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at] ^= 1 << data.draw(st.integers(0, 7))
    survives(tmp_path, name, bytes(content))


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "set/s.csv"])
@fuzz
@given(content=st.text(alphabet="ab1.,-;\t\n\r\"\0e é'nai", max_size=80))
def test_text_that_is_almost_a_table(tmp_path, name, content):
    survives(tmp_path, name, content.encode())


CELLS = {
    "numbers": st.sampled_from(["1", "2.5", "-3e2", "7", "0"]),
    "gaps": st.sampled_from(["1", "2", "", "nan", "NA"]),
    "words": st.sampled_from(["u", "v", "w"]),
    "blanks": st.sampled_from(["u", "v", "", " "]),
    "either": st.sampled_from(["1", "u", "", "2"]),
    "truths": st.sampled_from(["true", "false", "True"]),
}


@st.composite
def tables(draw):
    """Rows of columns of every kind, their names among those that may mean something."""
    names = draw(
        st.lists(st.sampled_from(["id", "a", "b", "c", "y", "1"]), min_size=1, unique=True)
    )
    rows = draw(st.integers(1, 6))
    columns = [
        draw(st.lists(CELLS[draw(st.sampled_from(list(CELLS)))], min_size=rows, max_size=rows))
        for _ in names
    ]
    return pd.DataFrame(dict(zip(names, columns, strict=True)))


@settings(fuzz, max_examples=100)
@given(
    frame=tables(),
    missing=st.sampled_from(["refuse", "impute"]),
    modality=st.sampled_from(["tables", "series"]),
    labels=st.sampled_from([None, "y"]),
    group=st.sampled_from([None, "c"]),
    chunk=st.integers(1, 4),
)
def test_tables_of_every_kind_are_read_again_as_at_first(
    tmp_path, frame, missing, modality, labels, group, chunk
):
    path = tmp_path / "t.csv"
    frame.to_csv(path, index=False)
    options = {"missing": missing, "modality": modality, "labels": labels, "group": group}
    data = first_reading(
        path, **{k: v for k, v in options.items() if v in frame or k in ("missing", "modality")}
    )
    if data is not None:
        reads_again(path, data, chunk)
    frame.to_parquet(tmp_path / "t.parquet")
    data = first_reading(tmp_path / "t.parquet", missing=missing, modality=modality)
    if data is not None:
        reads_again(tmp_path / "t.parquet", data, chunk)


@settings(fuzz, max_examples=60)
@given(
    lengths=st.lists(st.integers(1, 5), min_size=1, max_size=5),
    labels=st.none() | st.lists(st.sampled_from(["a", "b", "", "1"]), min_size=5, max_size=5),
    gap=st.booleans(),
    end_to_end=st.booleans(),
    times=st.booleans(),
    chunk=st.integers(1, 4),
)
def test_arrays_of_every_kind_are_read_again_as_at_first(
    tmp_path, lengths, labels, gap, end_to_end, times, chunk
):
    count, longest = len(lengths), max(lengths)
    x = np.arange(count * longest * 2, dtype=np.float32).reshape(count, longest, 2)
    if gap:
        x[0, 0, 0] = np.nan
    valid = np.arange(longest) < np.array(lengths)[:, None]
    named = {"values": x[valid]} if end_to_end else {"x": x}
    named["lengths"] = np.array(lengths)
    if labels is not None:
        named["y"] = np.array(labels[:count])
    if times:
        at = np.cumsum(1 + np.arange(longest) % 2, dtype=float) * np.ones((count, 1))
        named["time"] = at[valid] if end_to_end else at
    np.savez(tmp_path / "x.npz", **named)
    data = first_reading(tmp_path / "x.npz", missing="impute")
    if data is not None:
        reads_again(tmp_path / "x.npz", data, chunk)


@fuzz
@given(content=st.text(alphabet='pq01.,-e2\n"', max_size=80))
def test_text_that_is_almost_a_long_table(tmp_path, content):
    path = tmp_path / "t.csv"
    path.write_text("m,t,u\n" + content)
    check_read(path, first_reading(path, series_id="m", time="t"))
    with refused(path):
        assert sum(len(part) for part in read_like(path, LONG, chunk=2))


@fuzz
@given(content=st.text(alphabet="ab1.,:?-e@#\n ", max_size=80))
def test_text_that_is_almost_ts(tmp_path, content):
    survives(tmp_path, "s.ts", b"@classLabel true a b\n@data\n" + content.encode())


@fuzz
@given(content=st.text(alphabet='ab01.,-;\n"/\\:', max_size=40))
def test_almost_label_files(tmp_path, content):
    np.save(tmp_path / "x.npy", SERIES)
    (tmp_path / "labels.csv").write_text("id,label\n" + content)
    with suppress(TacitaError):
        data = load(tmp_path / "x.npy", labels=tmp_path / "labels.csv")
        again = joined(
            list(
                read_like(tmp_path / "x.npy", data.schema, chunk=2, labels=tmp_path / "labels.csv")
            )
        )
        same_values(again.targets, data.targets)
    with suppress(TacitaError):
        list(read_like(tmp_path / "x.npy", LABELLED, chunk=2, labels=tmp_path / "labels.csv"))


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=12,
)


@fuzz
@given(
    x=anything, y=anything, lengths=st.none() | anything, task=st.sampled_from([None, "regression"])
)
def test_anything_in_memory(x, y, lengths, task):
    try:
        data = as_dataset(x, y, lengths=lengths, task=task)
    except TacitaError:
        return
    if lengths is None:
        reads_again(x, data)
