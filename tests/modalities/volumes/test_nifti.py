"""What goes wrong with scans from files: axes are turned wrongly, labels move against their scan,
spacing is ignored, padding passes for tissue, and absurd headers take the memory."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
import torch

from tacita.errors import ConfigError, DataError, MissingExtraError
from tacita.modalities.load import load, read_like
from tacita.modalities.readers.files import Entry
from tacita.modalities.volumes.nifti import bare_name, read_grid, read_scan, resample, write_labels

nibabel = pytest.importorskip("nibabel")

SHAPE = (5, 6, 7)
"""Of scans along X, Y and Z."""


def write(
    path: Path, values: np.ndarray, spacing: tuple[float, ...] = (1, 1, 1), axes: str = "RAS"
) -> None:
    """A scan that lies in RAS, saved with its axes in another order and direction."""
    affine = np.diag([*spacing, 1.0])
    image = nibabel.Nifti1Image(values, affine)
    if axes != "RAS":
        wanted = nibabel.orientations.axcodes2ornt(tuple(axes))
        image = image.as_reoriented(
            nibabel.orientations.ornt_transform(nibabel.io_orientation(affine), wanted)
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    image.to_filename(path)


def scan(seed: int = 0, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def labels(seed: int = 0, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return np.random.default_rng(seed).choice(np.array([0, 1, 4], np.uint8), shape)


@pytest.mark.parametrize("axes", ["RAS", "LPS", "PIR", "SLA"])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_scans_of_any_orientation_lie_alike(tmp_path, axes, ending):
    values = scan()
    write(tmp_path / f"a{ending}", values, (2, 3, 4), axes)
    data = load(tmp_path)
    assert data.modality == "volumes"
    assert data.ids == (f"a{ending}",)
    assert torch.equal(data.x[0, 0], torch.from_numpy(values.transpose(2, 1, 0).copy()))
    assert data.meta.spacing == (4, 3, 2)
    assert torch.equal(load(tmp_path / f"a{ending}").x, data.x)


@pytest.mark.parametrize("axes", ["RAS", "LPS", "PIR", "SLA"])
def test_labels_lie_on_their_scan_and_unlabelled_ones_have_none(tmp_path, axes):
    write(tmp_path / "a.nii.gz", scan(0))
    write(tmp_path / "b.nii.gz", scan(1))
    write(tmp_path / "labels" / "b.nii", labels(), axes=axes)
    data = load(tmp_path)
    assert data.ids == ("a.nii.gz", "b.nii.gz")
    assert data.task.name == "segmentation"
    assert data.task.classes == ("0", "1", "4")
    assert data.labelled.tolist() == [False, True]
    assert bool((data.y[0] == -1).all())
    assert np.array_equal(data.task.decode(data.y)[1], labels().transpose(2, 1, 0))


def test_the_folder_of_labels_is_found_by_path_and_by_its_name_inside(tmp_path):
    write(tmp_path / "scans" / "a.nii", scan())
    write(tmp_path / "scans" / "masks" / "a.nii", labels())
    write(tmp_path / "elsewhere" / "a.nii.gz", labels(1))
    inside = load(tmp_path / "scans", labels="masks")
    assert len(inside) == 1
    assert np.array_equal(inside.task.decode(inside.y)[0], labels().transpose(2, 1, 0))
    outside = load(tmp_path / "scans", labels=tmp_path / "elsewhere")
    assert outside.ids == ("a.nii", "masks/a.nii")
    assert np.array_equal(outside.task.decode(outside.y)[0], labels(1).transpose(2, 1, 0))


def test_scans_of_different_spacing_come_to_the_median(tmp_path):
    for name, spacing in (("a", (1, 1, 1)), ("b", (1, 1, 2)), ("c", (1, 1, 2))):
        write(tmp_path / f"{name}.nii", np.full((4, 4, 8), ord(name), np.int16), spacing)
    data = load(tmp_path)
    assert data.meta.spacing == (2, 1, 1)
    assert data.x.shape == (3, 1, 8, 4, 4)
    # Of half the spacing, so half as many slices, in the middle of what is padded.
    assert data.x[0].unique().tolist() == [ord("a")]


def test_interpolation_keeps_what_is_linear_and_coarser_voxels_are_means():
    x = torch.arange(8.0).view(1, 8, 1, 1).expand(1, 8, 2, 2)
    assert torch.equal(resample(x, (4, 2, 2))[0, :, 0, 0], torch.tensor([0.5, 2.5, 4.5, 6.5]))
    finer = resample(x, (16, 2, 2))[0, :, 0, 0]
    assert torch.allclose(finer[1:-1], torch.arange(1, 15) / 2 - 0.25)


def test_smaller_scans_are_padded_with_their_lowest_value_and_no_label(tmp_path):
    write(tmp_path / "a.nii", scan(0, (4, 4, 4)))
    write(tmp_path / "b.nii", scan(1, (4, 4, 8)))
    write(tmp_path / "labels" / "a.nii", np.ones((4, 4, 4), np.uint8))
    data = load(tmp_path)
    assert data.x.shape == (2, 1, 8, 4, 4)
    outside = torch.ones(8, dtype=torch.bool)
    outside[2:6] = False
    assert bool((data.x[0, 0, outside] == data.x[0, 0, 2:6].min()).all())
    assert bool((data.y[0, outside] == -1).all())
    assert bool((data.y[0, 2:6] == 1).all())


def test_four_axes_are_channels(tmp_path):
    values = scan(0, (*SHAPE, 2))
    write(tmp_path / "a.nii", values)
    data = load(tmp_path)
    assert torch.equal(data.x[0], torch.from_numpy(values.transpose(3, 2, 1, 0).copy()))


@pytest.mark.parametrize("axes", ["RAS", "LPS", "PIR"])
def test_labels_are_written_on_the_grid_of_their_scan(tmp_path, axes):
    write(tmp_path / "a.nii.gz", scan(), (2, 2, 3), axes)
    codes = labels().astype(np.int64).transpose(2, 1, 0)
    write_labels(codes, tmp_path / "a.nii.gz", tmp_path / "out" / "a.nii.gz")
    before, after = nibabel.load(tmp_path / "a.nii.gz"), nibabel.load(tmp_path / "out" / "a.nii.gz")
    assert after.shape == before.shape
    assert np.array_equal(after.affine, before.affine)
    assert np.array_equal(read_scan(tmp_path / "out" / "a.nii.gz")[0], codes)


def test_further_scans_come_to_the_spacing_of_the_model_each_of_its_own_size(tmp_path):
    write(tmp_path / "old" / "a.nii", scan(0, (4, 4, 4)), (2, 2, 2))
    write(tmp_path / "new" / "b.nii", scan(1, (4, 6, 8)), (2, 2, 2))
    write(tmp_path / "new" / "c.nii", scan(2, (4, 4, 8)), (2, 2, 1))
    shapes = [
        tuple(part.x.shape) for part in read_like(tmp_path / "new", load(tmp_path / "old").schema)
    ]
    assert shapes == [(1, 1, 8, 6, 4), (1, 1, 4, 4, 4)]


def test_a_label_file_names_classes_of_whole_scans(tmp_path):
    for name in "abc":
        write(tmp_path / f"{name}.nii.gz", scan(ord(name)))
    (tmp_path / "labels.csv").write_text("file,label\na.nii.gz,ill\nb.nii.gz,well\n")
    data = load(tmp_path)
    assert data.task.classes == ("ill", "well")
    assert data.y.tolist() == [0, 1, -1]


class TestRefused:
    def test_labels_of_another_grid(self, tmp_path):
        write(tmp_path / "a.nii", scan())
        write(tmp_path / "labels" / "a.nii", labels(0, (5, 6, 8)))
        with pytest.raises(DataError, match=r"labels/a.nii.*8x6x5.*7x6x5"):
            load(tmp_path)

    def test_labels_of_another_spacing(self, tmp_path):
        write(tmp_path / "a.nii", scan())
        write(tmp_path / "labels" / "a.nii", labels(), (1, 1, 2))
        with pytest.raises(DataError, match="labels of"):
            load(tmp_path)

    def test_labels_without_a_scan(self, tmp_path):
        write(tmp_path / "a.nii", scan())
        write(tmp_path / "labels" / "b.nii", labels())
        with pytest.raises(DataError, match=r"b.nii: there is no volume of that name"):
            load(tmp_path)

    def test_labels_that_are_not_whole(self, tmp_path):
        write(tmp_path / "a.nii", scan())
        write(tmp_path / "labels" / "a.nii", scan())
        with pytest.raises(DataError, match="not whole numbers"):
            load(tmp_path)

    def test_a_folder_of_labels_alone(self, tmp_path):
        write(tmp_path / "labels" / "a.nii", labels())
        with pytest.raises(DataError, match="all of its volumes are labels"):
            load(tmp_path)

    def test_values_that_are_not_finite(self, tmp_path):
        values = scan()
        values[1, 2, 3] = np.nan
        write(tmp_path / "a.nii", values)
        with pytest.raises(DataError, match=r"a.nii, voxel \(3, 2, 1\)"):
            load(tmp_path)

    def test_a_file_cut_short(self, tmp_path):
        write(tmp_path / "a.nii", scan())
        whole = (tmp_path / "a.nii").read_bytes()
        (tmp_path / "a.nii").write_bytes(whole[:-20])
        with pytest.raises(DataError, match=r"a.nii: cannot be read"):
            load(tmp_path)

    @pytest.mark.parametrize("content", [b"", b"no scan", bytes(400)])
    @pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
    def test_a_file_that_is_no_scan(self, tmp_path, content, ending):
        (tmp_path / f"a{ending}").write_bytes(content)
        with pytest.raises(DataError, match=rf"a{ending}: "):
            load(tmp_path)

    def test_a_header_that_promises_more_than_the_file_can_hold(self, tmp_path):
        header = nibabel.Nifti1Header()
        header.set_data_shape((8000, 8000, 8))
        header.set_data_dtype(np.float32)
        (tmp_path / "a.nii.gz").write_bytes(gzip.compress(header.binaryblock + bytes(1000)))
        with pytest.raises(DataError, match="claim to hold"):
            load(tmp_path)

    def test_time_series(self, tmp_path):
        write(tmp_path / "a.nii", scan(0, (3, 3, 3, 40)))
        with pytest.raises(DataError, match="up to 16 channels"):
            load(tmp_path)

    def test_complex_numbers_and_colours(self, tmp_path):
        write(tmp_path / "a.nii", scan().astype(np.complex64))
        with pytest.raises(DataError, match="complex64"):
            load(tmp_path)

    def test_scans_of_different_channels(self, tmp_path):
        write(tmp_path / "a.nii", scan())
        write(tmp_path / "b.nii", scan(0, (*SHAPE, 2)))
        with pytest.raises(DataError, match=r"b.nii: 2 channels"):
            load(tmp_path)

    def test_a_spacing_that_makes_no_sense(self, tmp_path):
        write(tmp_path / "a.nii", scan(), (1e6, 1, 1))
        with pytest.raises(DataError, match="spacing"):
            load(tmp_path)

    def test_a_folder_of_labels_for_images(self, tmp_path):
        (tmp_path / "masks").mkdir()
        (tmp_path / "a.csv").write_text("x\n1\n2\n")
        with pytest.raises(ConfigError, match="is a folder"):
            load(tmp_path, labels="masks")


def test_a_missing_nibabel_names_its_extra(tmp_path, monkeypatch):
    write(tmp_path / "a.nii", scan())
    monkeypatch.setitem(__import__("sys").modules, "nibabel", None)
    with pytest.raises(MissingExtraError, match="volumes"):
        read_grid(tmp_path / "a.nii")


def test_a_scan_and_its_labels_share_a_name_without_the_ending():
    entry = Entry(Path("x"), "sub.01/t1.nii.gz", None)
    assert bare_name(entry.name) == bare_name("sub.01/t1.NII") == "sub.01/t1"
    assert bare_name("t1.png") == "t1.png"
