"""`.ts` files: as aeon reads them where they are right, refused by line where they are not."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tacita import errors
from tacita.modalities.load import load, read_like
from tacita.modalities.memory import as_dataset

HEAD = "# a comment\n@problemName p\n@timeStamps false\n@classLabel true a b\n\n@data\n"


def write(tmp_path, text):
    (tmp_path / "x.ts").write_text(text)
    return tmp_path / "x.ts"


@pytest.mark.parametrize("name", ["GunPoint", "JapaneseVowels", "BasicMotions"])
def test_archives_are_read_as_aeon_reads_them(name):
    datasets = pytest.importorskip("aeon.datasets")
    path = Path(datasets.__file__).parent / "data" / name / f"{name}_TRAIN.ts"
    x, y = datasets.load_from_ts_file(str(path))
    expected = as_dataset([np.asarray(series).T for series in x], [str(v).lower() for v in y])
    data = load(path)
    assert torch.equal(data.x, expected.x)
    assert data.lengths is expected.lengths or torch.equal(data.lengths, expected.lengths)
    assert [c.lower() for c in data.task.classes] == list(expected.task.classes)
    assert torch.equal(data.y, expected.y)


@settings(
    deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    lengths=st.lists(st.integers(1, 5), min_size=1, max_size=6),
    channels=st.integers(1, 3),
    chunk=st.integers(1, 7),
)
def test_what_is_written_comes_back_whole_and_in_chunks(tmp_path, lengths, channels, chunk):
    rng = np.random.default_rng(sum(lengths))
    items = [rng.normal(size=(n, channels)).astype(np.float32) for n in lengths]
    labels = [["a", "b", "?"][n % 3] for n in lengths]
    lines = [
        ":".join([*(",".join(map(repr, c.tolist())) for c in item.T), label])
        for item, label in zip(items, labels, strict=True)
    ]
    path = write(tmp_path, HEAD + "\n".join(lines))
    data = load(path)
    expected = as_dataset(items, [None if label == "?" else label for label in labels])
    assert torch.equal(data.x, expected.x if expected.x.ndim == 3 else expected.x[..., None])
    assert torch.equal(data.y, expected.y)
    parts = list(read_like(path, data.schema, chunk=chunk))
    assert all(len(part) <= chunk for part in parts)
    assert torch.equal(torch.cat([part.x for part in parts]), data.x)
    assert torch.equal(torch.cat([part.y for part in parts]), data.y)


def test_missing_values_are_refused_by_line_and_imputed_on_request(tmp_path):
    path = write(tmp_path, HEAD + "1,2,3:a\n1,?,3:b\n")
    with pytest.raises(errors.DataError, match="line 8: 1 missing value"):
        load(path)
    assert load(path, missing="impute").x[1, :, 0].tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HEAD + "1,2:a\n1,x:b\n", "line 8: 'x' is not a number"),
        (HEAD + "1,2_0:a\n", "line 7: '2_0' is not a number"),
        (HEAD + "1,2:a\n1,1e199:b\n", "line 8: an infinite value"),
        (HEAD + "1,2:3,4:a\n1,2:a\n", "line 8: 1 channels, where there should be 2"),
        (HEAD + "1,2:3:a\n", "line 7: channels of 1 and of 2 values"),
        (HEAD + "1,2:c\n", "line 7: the label 'c' is not in the header"),
        (HEAD + "1,2\n", "line 7: 0 channels"),
        (
            "@equalLength true\n@data\n1,2\n1,2,3\n",
            "line 4: 3 values, where @equalLength promises 2",
        ),
        ("@univariate true\n@data\n1:2\n", "line 3: 2 channels"),
        ("@dimensions two\n@data\n1\n", "line 1: @dimensions is not a whole number"),
        ("@classLabel maybe\n@data\n1\n", "line 1: @classlabel is neither"),
        ("@timeStamps true\n@data\n(0,1):a\n", "line 1: the values carry timestamps"),
        ("1,2:a\n", "line 1: data before @data"),
        ("@univariate true\n", "there is no @data line"),
        (HEAD, "there are no series after @data"),
        ("", "there is no @data line"),
    ],
)
def test_what_breaks_the_format_is_named_by_its_line(tmp_path, text, said):
    with pytest.raises(errors.DataError, match=said):
        load(write(tmp_path, text))


def test_labels_may_come_from_a_file(tmp_path):
    path = write(tmp_path, "@data\n1,2\n3,4\n5,6\n")
    (tmp_path / "l.csv").write_text("row,label\n0,u\n2,v\n")
    assert load(path, labels=tmp_path / "l.csv").y.tolist() == [0, -1, 1]
    assert load(path).y.tolist() == [-1, -1, -1]
    with pytest.raises(errors.ConfigError, match="cannot be read as tables"):
        load(path, modality="tables")
