from __future__ import annotations

import gzip
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tacita.claim import data as claim_data
from tacita.errors import DataError


def test_a_cached_file_that_is_not_the_pinned_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = tmp_path / "tacita" / ("0" * 16)
    folder.mkdir(parents=True)
    with zipfile.ZipFile(folder / "other.whl", "w") as archive:
        archive.writestr("a", "b")
    with pytest.raises(DataError, match=r"other\.whl: its SHA-256 is"):
        claim_data.wheel("other==1", "0" * 64)


def test_idx_files_become_grey_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claim_data, "FASHION_MNIST", tmp_path)
    pixels = np.arange(2 * 784, dtype=np.uint32).astype(np.uint8)
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(
        gzip.compress(bytes(16) + pixels.tobytes())
    )
    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(bytes(8) + bytes([3, 9])))
    data = claim_data.fashion_mnist()
    assert data.y.tolist() == [3, 9]
    assert data.x[1, 0].flatten().tolist() == pixels[784:].tolist()
    assert claim_data.fashion_mnist(14).x[0, 0, 0, 0] == round(np.mean([0, 1, 28, 29]))


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claim_data, "FASHION_MNIST", tmp_path / "none")
    with pytest.raises(DataError, match="dataset-fashion-mnist"):
        claim_data.fashion_mnist()
