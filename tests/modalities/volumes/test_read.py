"""What goes wrong with volumes in arrays: an axis is taken for another, a label moves to another
voxel or class, and what is unknown passes for background."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tacita.data.check import check_trainable
from tacita.data.splits import cross_validation, hold_out
from tacita.errors import ConfigError, DataError
from tacita.modalities.load import load, read_like
from tacita.modalities.memory import as_dataset
from tacita.report.describe import describe
from tacita.tasks import Segmentation


def volumes(count: int = 3) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, 1, 4, 5, 6)).astype(np.float32)


def voxels(count: int = 3) -> np.ndarray:
    y = np.random.default_rng(1).choice([0, 2, 7], (count, 4, 5, 6))
    y[1:] = -1
    return y


def test_five_axes_are_volumes_and_four_are_if_so_told():
    x = volumes()
    assert as_dataset(x).modality == "volumes"
    assert torch.equal(as_dataset(x[:, 0], modality="volumes").x, torch.from_numpy(x))
    assert as_dataset(x > 0).x.dtype == torch.uint8
    assert as_dataset((x > 0).astype(np.uint8)).spec.shape == (1, 4, 5, 6)


def test_labels_of_voxels_are_codes_of_the_numbers_found():
    data = as_dataset(volumes(), voxels())
    assert data.task == Segmentation(("0", "2", "7"))
    assert data.labelled.tolist() == [True, False, False]
    expected = np.searchsorted([0, 2, 7], voxels()[0])
    assert np.array_equal(data.y[0].numpy(), expected)
    assert bool((data.y[1:] == -1).all())
    assert np.array_equal(np.stack(data.task.decode(data.y)), voxels())


def test_the_background_is_a_class_even_where_no_voxel_is_of_it():
    data = as_dataset(volumes(1), np.ones((1, 4, 5, 6)))
    assert data.task.classes == ("0", "1")


def test_nan_and_none_are_unknown():
    y = voxels(2).astype(float)
    y[0, 0] = np.nan
    assert bool((as_dataset(volumes(2), y).y[0, 0] == -1).all())
    listed = as_dataset(volumes(2), [None, voxels()[0]])
    assert listed.labelled.tolist() == [False, True]


def test_one_label_a_volume_is_a_class_of_the_whole():
    data = as_dataset(volumes(), ["a", "b", None])
    assert data.task.name == "classification"
    assert data.y.tolist() == [0, 1, -1]


def test_arrays_in_a_file_are_read_and_streamed_alike(tmp_path):
    np.savez(tmp_path / "v.npz", x=volumes(), y=voxels())
    data = load(tmp_path / "v.npz")
    assert data.task.classes == ("0", "2", "7")
    parts = list(read_like(tmp_path / "v.npz", data.schema, chunk=2))
    assert torch.equal(torch.cat([part.y for part in parts]), data.y)
    assert torch.equal(torch.cat([part.x for part in parts]), data.x)


def test_hiding_labels_leaves_unlabelled_voxels():
    data = as_dataset(volumes(), np.abs(voxels()))
    hidden = data.hide_labels(torch.tensor([2]))
    assert hidden.labelled.tolist() == [False, False, True]
    assert hidden.y.dtype == torch.int64


def test_labels_of_fewer_classes_are_recoded_by_their_numbers():
    data = as_dataset(volumes(), voxels())
    other = as_dataset(volumes(1), np.full((1, 4, 5, 6), 7)).recoded(data.task)
    assert bool((other.y == 2).all())


def test_splits_share_out_volumes():
    data = as_dataset(volumes(6), np.abs(voxels(6)))
    kept, held = hold_out(data, 0.3, seed=0)
    assert sorted([*kept.tolist(), *held.tolist()]) == list(range(6))
    assert len(cross_validation(data, seed=0)) == 3


def test_the_description_counts_voxels_and_says_what_is_absent():
    data = as_dataset(volumes(), voxels())
    text = "\n".join(describe(data).lines())
    assert "3 volumes, 4 slices of 5 x 6, 1 channel" in text
    assert f"7 {int((voxels()[0] == 7).sum())}" in text
    absent = as_dataset(volumes(), np.where(voxels() == 7, 0, voxels())).with_labels(
        torch.zeros(3, 4, 5, 6, dtype=torch.int64), data.task
    )
    assert describe(absent).warnings == ["no voxel is of 2 classes: '2', '7'"]


def test_duplicates_are_found_with_their_labels():
    x, y = volumes(), np.abs(voxels())
    x[2] = x[0]
    warnings = describe(as_dataset(x, y)).warnings
    assert any("1 exact duplicate" in text for text in warnings)
    assert any("1 duplicate with other labels" in text for text in warnings)


@pytest.mark.parametrize(
    "y, message",
    [
        (np.zeros((3, 4, 5, 5)), "labels of shape"),
        (np.zeros((2, 4, 5, 6)), "labels of shape"),
        (np.full((3, 4, 5, 6), 0.5), "not whole"),
        (np.full((3, 4, 5, 6), -3), "from -3"),
        (np.arange(360).reshape(3, 4, 5, 6), "360 numbers"),
        ([None, np.zeros((4, 5, 5)), None], "labels of shape"),
    ],
)
def test_labels_that_fit_no_voxel_are_refused(y, message):
    with pytest.raises(DataError, match=message):
        as_dataset(volumes(), y)


def test_volumes_that_are_none_are_refused():
    with pytest.raises(DataError, match=r"volumes of shape \(3, 4\)"):
        as_dataset(np.zeros((3, 4)), modality="volumes")
    x = volumes()
    x[1, 0, 2, 3, 4] = np.inf
    with pytest.raises(DataError, match=r"volume 1, channel 0, voxel \(2, 3, 4\)"):
        as_dataset(x)


def test_segmentation_of_anything_else_is_refused():
    with pytest.raises(ConfigError, match="a label a voxel"):
        as_dataset(volumes(), task="segmentation")
    with pytest.raises(ConfigError, match="a label a voxel"):
        as_dataset(np.zeros((3, 2)), [0, 1, 1], task="segmentation")


def test_one_class_alone_is_not_trained_on():
    with pytest.raises(DataError, match="labels are all 0"):
        check_trainable(as_dataset(volumes(1), np.zeros((1, 4, 5, 6))))
