"""Data in memory: every container gives the same data set, and none is changed."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

from tacita import errors
from tacita.data.dataset import Dataset, check_alike
from tacita.errors import DataError
from tacita.modalities.memory import as_dataset

X = np.arange(12, dtype=np.float32).reshape(4, 3)
Y = ["a", None, "b", "a"]


@pytest.mark.parametrize(
    "x",
    [
        X,
        X.astype(">f8"),
        X[::-1][::-1],
        X.tolist(),
        torch.from_numpy(X),
        torch.from_numpy(X).bfloat16(),
        torch.from_numpy(X).requires_grad_(),
        list(torch.from_numpy(X)),
        pd.DataFrame(X),
        pa.table({str(i): X[:, i] for i in range(3)}),
    ],
    ids=lambda x: type(x).__name__,
)
def test_every_container_gives_the_same_table(x):
    data = as_dataset(x, Y)
    assert data.modality == "tables"
    wide = str(getattr(x, "dtype", "")) == ">f8" or (isinstance(x, list) and isinstance(x[0], list))
    assert data.x.dtype == (torch.float64 if wide else torch.float32)
    assert data.x.tolist() == X.tolist()
    assert data.y.tolist() == [0, -1, 1, 0]
    assert not data.x.requires_grad


@pytest.mark.parametrize(
    "y",
    [
        [0, -1, 1, 0],
        np.array([0, np.nan, 1, 0]),
        torch.tensor([0, -1, 1, 0]),
        pd.Series([0, None, 1, 0]),
        pd.DataFrame({"y": ["0", None, "1", "0"]}),
        pd.Categorical(["0", None, "1", "0"]),
        np.array(["0", "", "1", "0"]),
        np.array([[0], [-1], [1], [0]]),
    ],
    ids=lambda y: type(y).__name__,
)
def test_every_container_of_labels_means_the_same(y):
    data = as_dataset(X, y)
    assert data.y.tolist() == [0, -1, 1, 0]
    assert data.task.classes == ("0", "1")


def test_a_torch_data_set_of_pairs_goes_in():
    pairs = torch.utils.data.TensorDataset(torch.rand(4, 5, 2), torch.tensor([1, 0, -1, 1]))
    data = as_dataset(pairs)
    assert (data.modality, data.y.tolist()) == ("series", [1, 0, -1, 1])
    assert torch.equal(data.x, pairs.tensors[0])
    assert as_dataset(torch.utils.data.TensorDataset(torch.rand(4, 2))).y.tolist() == [-1] * 4


def test_a_torch_data_set_of_unequal_series_goes_in():
    class Walks(torch.utils.data.Dataset):
        def __len__(self):
            return 3

        def __getitem__(self, i):
            return torch.ones(i + 1, 2), "ab"[i % 2]

    data = as_dataset(Walks())
    assert data.lengths.tolist() == [1, 2, 3]
    assert data.task.classes == ("a", "b")


@pytest.mark.parametrize("missing", ["refuse", "impute"])
def test_the_users_arrays_are_never_written_to(missing):
    x = np.zeros((2, 4, 2), np.float32)
    x[0, 3] = 7
    if missing == "impute":
        x[1, 1, 0] = np.nan
    before = x.copy()
    y = np.array([1, -1])
    data = as_dataset(x, y, lengths=[3, 4], missing=missing)
    assert data.x[0, 3].abs().sum() == 0
    np.testing.assert_array_equal(x, before)
    assert y.tolist() == [1, -1]
    x.flags.writeable = False
    as_dataset(np.ascontiguousarray(x[:1]), lengths=[3]).x.add_(1)
    np.testing.assert_array_equal(x, before)


def test_a_data_set_may_get_other_labels_groups_or_task():
    data = as_dataset(X, Y)
    assert as_dataset(data) is data
    assert as_dataset(data, [1, 2, 3, -1]).task.classes == ("1", "2", "3")
    assert as_dataset(data, groups=["s", "t", "s", "t"]).groups.tolist() == [0, 1, 0, 1]
    ranked = as_dataset(data, order="b,a")
    assert (ranked.y.tolist(), ranked.task.name) == ([1, -1, 0, 1], "ordinal")
    assert as_dataset(ranked, task="classification").task.classes == ("b", "a")


def test_groups_may_be_a_column_of_the_frame():
    frame = pd.DataFrame({"who": ["u", "v", "u"], "a": [1, 2, 3], "y": ["p", "q", None]})
    data = as_dataset(frame, labels="y", group="who")
    assert (data.meta.columns, data.groups.tolist(), data.y.tolist()) == (
        ("a",),
        [0, 1, 0],
        [0, 1, -1],
    )


def test_a_label_file_serves_arrays_too(tmp_path):
    (tmp_path / "l.csv").write_text("row,label\n1,b\n3,a\n")
    assert as_dataset(X, labels=str(tmp_path / "l.csv")).y.tolist() == [-1, 1, -1, 0]
    with pytest.raises(errors.ConfigError, match="is no file"):
        as_dataset(X, labels="label")


@pytest.mark.parametrize(
    "x",
    [
        [],
        [[]],
        np.zeros(3),
        np.zeros((2, 0)),
        np.zeros((2, 2, 2, 2, 2, 2)),
        np.array([["a", 1]], dtype=object),
        np.array([[1j]]),
        {"a": [1]},
        "a path",
        3,
        None,
        [1, [2, 3]],
        [np.zeros((2, 1)), np.zeros((3, 2))],
        [np.zeros((2, 1)), np.zeros((0, 1))],
        [["a", "b"], ["c"]],
        torch.eye(2).to_sparse(),
        torch.zeros(2, 2, dtype=torch.complex64),
        pd.DataFrame(),
        pd.DataFrame([[1, 2]], columns=["a", "a"]),
    ],
    ids=repr,
)
def test_what_is_no_data_is_refused(x):
    with pytest.raises(errors.TacitaError):
        as_dataset(x)


def test_tables_whose_categories_differ_are_not_alike() -> None:
    def table(width: int, categories: tuple[tuple[str, ...], ...]) -> Dataset:
        return Dataset.of("tables", torch.zeros(2, width), torch.zeros(2), categories=categories)

    first = table(1, (("a", "b"),))
    check_alike(first, first.subset(torch.tensor([0])))
    with pytest.raises(DataError, match="other categories"):
        check_alike(first, table(1, (("b", "c"),)))
    with pytest.raises(DataError, match="has tables of shape"):
        check_alike(first, table(2, (("a", "b"), ())))
