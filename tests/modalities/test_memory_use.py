"""Larger than memory: what is mapped stays mapped, and statistics are taken in blocks."""

import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch

from tacita import errors
from tacita.data.batch import InputSpec
from tacita.data.modality import find
from tacita.modalities.load import load
from tacita.modalities.readers import arrays
from tacita.values import length_mask
from tests.helpers import samples_of

MEASURE = """
import sys, tracemalloc
import torch
from tacita.modalities.load import load

def anonymous():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("RssAnon")) / 1024

load(sys.argv[2]).take(torch.arange(2))
before = anonymous()
tracemalloc.start()
data = load(sys.argv[1])
peak = tracemalloc.get_traced_memory()[1] / 2**20
batch = data.take(torch.tensor([0, len(data) - 1]))
print(peak, anonymous() - before, float(batch.x.sum()))
"""


def sparse(path, dtype, shape):
    """An array of zeros that takes no room on the disk."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape}
        )
        file.truncate(file.tell() + size)


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    ("dtype", "shape"), [("uint8", (50_000, 64, 64)), ("float32", (12_800, 2048, 2))]
)
@pytest.mark.parametrize("packed", [False, True])
def test_a_file_of_200_mb_takes_less_than_50(tmp_path, dtype, shape, packed):
    big, small = tmp_path / "big.npy", tmp_path / "small.npy"
    sparse(big, dtype, shape)
    np.save(small, np.zeros((4, *shape[1:]), dtype))
    if packed:
        with zipfile.ZipFile(tmp_path / "big.npz", "w") as archive:
            archive.write(big, "x.npy")
        big = tmp_path / "big.npz"
    found = subprocess.run(
        [sys.executable, "-c", MEASURE, str(big), str(small)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    peak, growth, total = map(float, found.stdout.split())
    assert peak < 50
    assert growth < 50
    assert total == 0


def test_a_mapped_member_is_what_a_read_one_is(tmp_path, monkeypatch):
    x = np.random.default_rng(0).normal(size=(5, 7, 2)).astype(np.float32)
    for order in "CF":
        np.savez(tmp_path / "x.npz", y=np.arange(5) % 2, x=np.asarray(x, order=order))
        read = load(tmp_path / "x.npz")
        monkeypatch.setattr(arrays, "_MAPPED", 1)
        mapped = load(tmp_path / "x.npz")
        monkeypatch.undo()
        assert torch.equal(mapped.x, read.x)
        assert torch.equal(mapped.x, torch.from_numpy(x))


def test_mapped_members_that_lie_about_their_place_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(arrays, "_MAPPED", 1)
    np.savez(tmp_path / "x.npz", x=np.ones((5, 7, 2), np.float32))
    whole = (tmp_path / "x.npz").read_bytes()
    # The local header claims a name so long that the data would end beyond the file.
    (tmp_path / "x.npz").write_bytes(whole[:28] + b"\xff\xff" + whole[30:])
    with pytest.raises(errors.DataError):
        load(tmp_path / "x.npz")


@pytest.mark.parametrize("block", [1, 50, 2**20])
@pytest.mark.parametrize("modality", ["images", "series", "tables"])
def test_statistics_in_blocks_are_those_of_the_whole(modality, block, monkeypatch):
    monkeypatch.setattr("tacita.data.normalise._BLOCK", block)
    generator = torch.Generator().manual_seed(0)
    shape = {"images": (3, 4, 5), "series": (6, 3), "tables": (3,)}[modality]
    cardinalities = (0, 4, 0) if modality == "tables" else ()
    x = torch.randn(40, *shape, generator=generator) * 3 + 1e4
    lengths = torch.randint(1, 7, (40,), generator=generator) if modality == "series" else None
    if modality == "tables":
        x[::7, 0] = torch.nan
    found = (
        find(modality)
        .normaliser(InputSpec(modality, shape, cardinalities))
        .fit(samples_of(x, lengths))
    )
    flat = x.movedim(2 if modality == "series" else 1, 0).double()
    for channel, values in enumerate(flat):
        if cardinalities and cardinalities[channel]:
            assert (found.mean[channel], found.std[channel]) == (0, 1)
            continue
        values = values if lengths is None else values[length_mask(lengths, 6)]
        values = values[~values.isnan()]
        assert found.mean[channel].item() == pytest.approx(values.mean().item(), rel=1e-6)
        assert found.std[channel].item() == pytest.approx(values.std(correction=0).item(), rel=1e-6)


def test_bytes_are_scaled_and_constants_left_alone():
    x = torch.full((5, 1, 2, 2), 255, dtype=torch.uint8)
    found = find("images").normaliser(InputSpec("images", (1, 2, 2))).fit(x)
    assert (found.mean.item(), found.std.item()) == (1, 1)
