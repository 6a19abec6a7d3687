"""Labels that lie elsewhere than their scans, resampled when asked: each voxel gets what lies there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tacita.data.notes import ReadingWarning
from tacita.data.reading import Reading
from tacita.errors import ConfigError, DataError
from tacita.modalities.load import load, read_like
from tacita.verbs.common import replay_command

nibabel = pytest.importorskip("nibabel")

SCAN = (6, 5, 7)
LABELS = (8, 9, 6)
"""Voxels along X, Y and Z."""


def affine(spacing, origin, degrees=0.0):
    """Voxels to millimetres, turned about the axis from foot to head."""
    turn = np.radians(degrees)
    rotation = np.eye(3)
    rotation[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    whole = np.eye(4)
    whole[:3, :3] = rotation @ np.diag(spacing)
    whole[:3, 3] = origin
    return whole


SCANNED = affine((1.0, 1.5, 2.0), (3.0, -2.0, 5.0))
PLACES = {
    "shifted": affine((1.0, 1.5, 2.0), (4.1, -0.4, 3.0)),
    "of other voxels": affine((0.7, 0.9, 3.1), (2.5, -2.2, 4.4)),
    "turned": affine((1.0, 1.5, 2.0), (2.0, -3.0, 4.0), 20.0),
    "turned and of other voxels": affine((0.7, 1.1, 2.7), (3.4, -3.0, 4.1), -35.0),
    "mirrored": affine((-1.1, 1.5, 2.0), (8.0, -2.0, 5.0)),
}


def write(path: Path, values: np.ndarray, place: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.Nifti1Image(values, place).to_filename(path)


def pair(folder: Path, codes: np.ndarray, place: np.ndarray, name: str = "a") -> Path:
    scan = np.random.default_rng(0).normal(size=SCAN).astype(np.float32)
    write(folder / f"{name}.nii.gz", scan, SCANNED)
    write(folder / "labels" / f"{name}.nii.gz", codes, place)
    return folder


def codes(seed: int = 0, shape: tuple[int, ...] = LABELS) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 4, shape).astype(np.int16)


def by_hand(values: np.ndarray, place: np.ndarray) -> np.ndarray:
    """`(Z, Y, X)`: for every voxel of the scan the label whose voxel it lies in, 0 where there is none."""
    found = np.zeros(SCAN, np.int64)
    back = np.linalg.inv(place)
    for voxel in np.ndindex(*SCAN):
        there = (back @ SCANNED @ [*voxel, 1.0])[:3]
        nearest = np.floor(there + 0.5).astype(int)
        if (nearest >= 0).all() and (nearest < values.shape).all():
            found[voxel] = values[tuple(nearest)]
    return found.transpose(2, 1, 0)


@pytest.mark.parametrize("where", PLACES)
def test_each_voxel_has_the_label_that_lies_there(tmp_path, where):
    values, place = codes(), PLACES[where]
    pair(tmp_path, values, place)
    with pytest.raises(DataError, match="--resample-labels"):
        load(tmp_path)
    data = load(tmp_path, resample_labels=True)
    wanted = by_hand(values, place)
    assert 0 < (wanted > 0).sum() < wanted.size
    assert np.array_equal(data.task.decode(data.y)[0], wanted)


def test_labels_in_their_place_are_not_touched(tmp_path):
    values = codes(shape=SCAN)
    pair(tmp_path, values, SCANNED)
    asked, plain = load(tmp_path, resample_labels=True), load(tmp_path)
    assert torch.equal(asked.y, plain.y)
    assert asked.notes == plain.notes == ()


def test_a_note_counts_them_and_says_how_far_they_lay_apart(tmp_path):
    near, far = SCANNED.copy(), SCANNED.copy()
    near[0, 3] += 3
    far[2, 3] -= 8
    pair(tmp_path, codes(shape=SCAN), near, "a")
    pair(tmp_path, codes(shape=SCAN), SCANNED, "b")
    pair(tmp_path, codes(shape=SCAN), far, "c")
    (note,) = load(tmp_path, resample_labels=True).notes
    assert str(note) == (
        "2 label volumes lay elsewhere and were resampled onto their volumes, the first:"
        " a.nii.gz, 3 mm away, at most 8 mm"
    )


def test_labels_that_lie_nowhere_in_the_scan_are_refused(tmp_path):
    pair(tmp_path, codes(), affine((1.0, 1.0, 1.0), (500.0, 0.0, 0.0)))
    with pytest.raises(DataError, match=r"a\.nii\.gz: by its header no part of it lies where"):
        load(tmp_path, resample_labels=True)


def test_labels_of_several_channels_are_still_refused(tmp_path):
    pair(tmp_path, np.stack([codes()] * 2, -1), SCANNED)
    with pytest.raises(DataError, match="2 channels"):
        load(tmp_path, resample_labels=True)


def test_a_model_reads_further_labels_as_it_learnt_to(tmp_path):
    pair(tmp_path, codes(), PLACES["turned"])
    data = load(tmp_path, resample_labels=True)
    with pytest.warns(ReadingWarning, match="1 label volume lay elsewhere"):
        (again,) = read_like(tmp_path, data.schema, labels=tmp_path / "labels")
    assert torch.equal(again.y, data.y)


def test_it_is_an_option_of_volumes_alone_and_part_of_the_line_that_repeats_a_run():
    with pytest.raises(ConfigError, match="resample_labels"):
        load("digits", resample_labels=True)
    load("digits", resample_labels=False)
    line = replay_command("scans", Path("r"), Reading(resample_labels=True))
    assert line == "tacita fit scans --resample-labels --recipe r --out AGAIN"
