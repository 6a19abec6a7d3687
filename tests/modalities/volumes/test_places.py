"""Labels of voxels that were rescaled, and labels that lie elsewhere than their scans."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tacita.errors import DataError
from tacita.modalities.load import load
from tacita.modalities.volumes.nifti import read_grid

nibabel = pytest.importorskip("nibabel")

CODES = (np.arange(60) % 8).reshape(3, 4, 5)


def save(path: Path, values: np.ndarray, affine: np.ndarray, **codes: int) -> Any:
    image = nibabel.Nifti1Image(values, affine)
    for name, code in codes.items():
        getattr(image, f"set_{name}")(affine if code else None, code)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.to_filename(path)
    return image


def placed(spacing: float = 2.0, origin: float = 10.0) -> np.ndarray:
    affine = np.diag([spacing, spacing, spacing, 1.0])
    affine[:3, 3] = origin
    return affine


def pair(folder: Path, labels: np.ndarray, affine: np.ndarray, **codes: int) -> Path:
    save(folder / "0.nii.gz", np.random.default_rng(0).normal(size=(3, 4, 5)), placed())
    save(folder / "labels" / "0.nii.gz", labels, affine, **codes)
    return folder


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_labels_within_rounding_of_whole_numbers_pass(tmp_path, dtype):
    # Written as floats into integers, nibabel scales them to the full range of the type.
    image = nibabel.Nifti1Image(CODES.astype(np.float64), placed())
    image.set_data_dtype(dtype)
    (tmp_path / "labels").mkdir()
    image.to_filename(tmp_path / "labels" / "0.nii.gz")
    save(tmp_path / "0.nii.gz", np.random.default_rng(0).normal(size=(3, 4, 5)), placed())
    data = load(tmp_path)
    assert np.array_equal(data.y[0].numpy(), CODES.transpose(2, 1, 0))


def test_labels_between_whole_numbers_are_refused(tmp_path):
    with pytest.raises(DataError, match="not whole numbers"):
        load(pair(tmp_path, CODES * 0.3, placed()))


@pytest.mark.parametrize("away", [0.01, 0.5])
def test_rounded_origins_pass(tmp_path, away):
    assert int(load(pair(tmp_path, CODES.astype(np.int16), placed(origin=10 + away))).y.max()) == 7


@pytest.mark.parametrize(
    "affine", [placed(origin=60.0), placed() @ np.diag([-1, 1, 1, 1]), np.diag([2.0, 2, 2, 1])]
)
def test_labels_elsewhere_are_refused(tmp_path, affine):
    with pytest.raises(DataError, match=r"mm away from its volume 0\.nii\.gz"):
        load(pair(tmp_path, CODES.astype(np.int16), affine))


def test_labels_in_another_orientation_in_the_same_place_pass(tmp_path):
    image = nibabel.Nifti1Image(CODES.astype(np.int16), placed())
    wanted = nibabel.orientations.axcodes2ornt(("P", "I", "R"))
    turned = image.as_reoriented(
        nibabel.orientations.ornt_transform(nibabel.io_orientation(placed()), wanted)
    )
    data = load(pair(tmp_path, np.asarray(turned.dataobj), turned.affine))
    assert np.array_equal(data.y[0].numpy(), CODES.transpose(2, 1, 0))


@pytest.mark.parametrize(("sform", "qform"), [(1, 1), (0, 1), (2, 0)])
def test_the_sform_goes_before_the_qform(tmp_path, sform, qform):
    image = nibabel.Nifti1Image(CODES.astype(np.int16), placed())
    image.set_sform(placed(3.0, 1.0), sform)
    image.set_qform(placed(2.0, 2.0), qform)
    image.to_filename(tmp_path / "a.nii")
    grid, own = read_grid(tmp_path / "a.nii"), nibabel.load(tmp_path / "a.nii").affine
    assert np.allclose(grid.affine, own)
    assert grid.affine[0, 3] == (1 if sform else 2)
    # The size of a voxel is that of the same matrix, whatever the header has beside it.
    assert grid.spacing == ((3.0, 3.0, 3.0) if sform else (2.0, 2.0, 2.0))
