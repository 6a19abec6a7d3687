"""Tasks with few labels, over real data that packages ship: a pool with few labels, and a test part.

The test part is the published one, or other subjects, where the data have such; else it is held out
anew for each draw. The pool and the test part have 2,000 samples each at most, drawn by the draw.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks import few_label_sources as sources
from tacita.claim.data import fashion_mnist
from tacita.data.dataset import Dataset, joined
from tacita.data.splits import draw_labels, hold_out
from tacita.modalities.builtin import load_builtin
from tacita.modalities.memory import as_dataset

LABELS = (1, 2, 5, 10)
"""A class."""
DRAWS = range(5)
"""Those that are reported: nothing is chosen by them. From `DEVELOPMENT` on they are to be looked at."""
DEVELOPMENT = 100
MOST = 2000
ENOUGH = 100
"""Series that a published training part must have to be the pool; else both parts are halved anew."""
WINDOW = 200
"""Steps of a window of the watch: four seconds."""
PATCH = 32

Split = tuple[Tensor, Tensor]
Whole = Callable[[Path], Dataset]


@dataclass(frozen=True)
class FewLabelTask:
    """One task: how its data are read, and how positions are split for a draw.

    whole: reads all samples, with labels, from a folder of archives. split: `(pool, test)` positions.
    how: the split in words.
    """

    name: str
    modality: str
    whole: Whole
    split: Callable[[Dataset, int], Split]
    how: str

    def parts(self, folder: Path, draw: int) -> tuple[Dataset, Dataset]:
        """The pool and the test part, both with all of their labels.

        Raises `Absent` where the archive is not in the folder, `MissingExtraError` where aeon is not.
        """
        whole = _whole(self, folder)
        pool, test = self.split(whole, draw)
        whole = replace(
            whole, groups=None
        )  # Subjects are for the split alone: all tasks are alike.
        return whole.subset(at_most(pool, draw)), whole.subset(at_most(test, draw))

    def drawn(self, folder: Path, labels: int, draw: int) -> tuple[Dataset, Dataset]:
        """The pool with so many labels a class, and the test part; raises `DataError` if it has fewer."""
        pool, test = self.parts(folder, draw)
        return pool.hide_labels(draw_labels(pool, labels, draw)), test


@cache
def _whole(task: FewLabelTask, folder: Path) -> Dataset:
    return task.whole(folder)


def at_most(positions: Tensor, draw: int) -> Tensor:
    """`MOST` of the positions, in their order."""
    order = torch.randperm(len(positions), generator=torch.Generator().manual_seed(draw))
    return positions[order[:MOST].sort().values]


# How positions are split


def held_out(data: Dataset, draw: int, *, share: float) -> Split:
    """Stratified by class, anew for each draw."""
    return hold_out(data, share, draw)


def first(data: Dataset, draw: int, *, count: Callable[[Dataset], int]) -> Split:
    """The pool comes first in the data."""
    positions = torch.arange(len(data))
    return positions[: count(data)], positions[count(data) :]


# What the data are


def builtin(_: Path, name: str) -> Dataset:
    """One that tacita loads by name."""
    return load_builtin(name)[0]


def fashion(folder: Path) -> Dataset:
    """Training and test images, one after the other."""
    place = sources.fashion_folder(folder)
    parts = [fashion_mnist(28, part, place) for part in ("train", "test")]
    return _numbered(joined(parts))


def _numbered(data: Dataset) -> Dataset:
    """With an index of its own, as parts count from 0 each."""
    return Dataset.of(data.modality, data.samples, data.targets, data.task, source=data.source)


def images(folder: Path, read: Callable[[Path], tuple[Any, Any]]) -> Dataset:
    """uint8 images in memory."""
    return as_dataset(*read(folder), modality="images")


def optdigits(folder: Path) -> tuple[Any, Any]:
    """The 8 x 8 counts of 0 to 16 as grey."""
    x, y = sources.keel(folder, "optdigits")
    return np.rint(x.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8), y


def textures(folder: Path) -> Dataset:
    """Patches of one picture a class: those of the left part first, then those of the right."""
    left: list[Any] = []
    right: list[Any] = []
    names: tuple[list[str], list[str]] = ([], [])
    for name, image in sources.textures(folder):
        side = len(image) // PATCH
        patches = image.reshape(side, PATCH, side, PATCH).swapaxes(1, 2)
        # A column of patches between the parts is left out.
        for into, said, part in (
            (left, names[0], patches[:, : side // 2]),
            (right, names[1], patches[:, side // 2 + 1 :]),
        ):
            found = part.reshape(-1, PATCH, PATCH)
            into.append(found)
            said += [name] * len(found)
    return as_dataset(np.concatenate([*left, *right]), names[0] + names[1], modality="images")


def aeon_series(_: Path, name: str) -> Dataset:
    """A set that aeon ships and tacita has no name for: training series, then test series."""
    import aeon.datasets

    folder = Path(aeon.datasets.__file__).parent / "data" / name
    series: list[Any] = []
    labels: list[Any] = []
    for part in ("TRAIN", "TEST"):
        x, y = aeon.datasets.load_from_ts_file(str(folder / f"{name}_{part}.ts"))
        series += [np.ascontiguousarray(np.asarray(each).T) for each in x]
        labels += [f"class {label}" for label in y]
    return as_dataset(series, labels, modality="series")


def libras(folder: Path) -> Dataset:
    """Hand movements: 45 frames of two coordinates."""
    x, y = sources.keel(folder, "movement_libras")
    return as_dataset(x.reshape(-1, 45, 2).astype(np.float32), y, modality="series")


def watch(folder: Path) -> Dataset:
    """Windows of four seconds of a smartwatch, one after the other, with the subject of each."""
    recordings, exercises, subjects = sources.watch(folder)
    cut = [recording[: len(recording) // WINDOW * WINDOW] for recording in recordings]
    windows = [part.reshape(-1, WINDOW, part.shape[1]) for part in cut]
    counts = [len(part) for part in windows]
    labels = np.repeat(exercises, counts)
    return as_dataset(
        np.concatenate(windows), labels, groups=np.repeat(subjects, counts), modality="series"
    )


def table(folder: Path, name: str) -> Dataset:
    """Numbers of a KEEL table."""
    x, y = sources.keel(folder, name)
    return as_dataset(x, [f"class {label}" for label in y], modality="tables")


def vowel(folder: Path) -> Dataset:
    """Ten features of a vowel, sorted by the published part; part, speaker and sex are left out."""
    x, y = sources.keel(folder, "vowel")
    order = np.argsort(x[:, 0], kind="stable")
    labels = [f"class {label}" for label in y[order]]
    return as_dataset(x[order, 3:], labels, modality="tables")


HALVED = partial(held_out, share=0.5)
LESS = partial(held_out, share=0.3)


def _image(
    name: str, whole: Whole, split: Callable[[Dataset, int], Split], how: str
) -> FewLabelTask:
    return FewLabelTask(name, "images", whole, split, how)


IMAGES: Sequence[FewLabelTask] = (
    _image("digits", partial(builtin, name="digits"), LESS, "30% held out"),
    _image("optdigits", partial(images, read=optdigits), HALVED, "half held out"),
    _image("mnist", partial(images, read=sources.mnist_digits), HALVED, "half held out"),
    _image("fashion-mnist", fashion, partial(first, count=lambda _: 60_000), "published"),
    _image("emoji", partial(images, read=partial(sources.emoji, side=32)), HALVED, "half held out"),
    _image(
        "stamps", partial(images, read=partial(sources.stamps, side=32)), HALVED, "half held out"
    ),
    _image("faces", partial(images, read=sources.faces), HALVED, "half held out"),
    _image(
        "textures",
        textures,
        partial(first, count=lambda data: 3 * 8 * 16),
        "left and right part of each picture",
    ),
)


def published(count: int, task: str, whole: Whole) -> FewLabelTask:
    """A series set whose training part has `count` series: published where these are enough."""
    if count >= ENOUGH:
        return FewLabelTask(
            task, "series", whole, partial(first, count=lambda _: count), "published"
        )
    return FewLabelTask(task, "series", whole, HALVED, "both published parts, halved")


SERIES: Sequence[FewLabelTask] = (
    *(
        published(count, name, partial(builtin, name=name))
        for count, name in (
            (36, "arrow-head"),
            (40, "basic-motions"),
            (50, "gunpoint"),
            (67, "italy-power-demand"),
            (270, "japanese-vowels"),
            (200, "osu-leaf"),
        )
    ),
    published(100, "acsf1", partial(aeon_series, name="ACSF1")),
    published(50, "pickup-gesture", partial(aeon_series, name="PickupGestureWiimoteZ")),
    FewLabelTask("libras", "series", libras, HALVED, "half held out"),
    FewLabelTask(
        "watch", "series", watch, partial(held_out, share=0.4), "4 of 10 subjects held out"
    ),
)
TABLES: Sequence[FewLabelTask] = (
    FewLabelTask("wine", "tables", partial(builtin, name="wine"), HALVED, "half held out"),
    FewLabelTask(
        "breast-cancer", "tables", partial(builtin, name="breast-cancer"), HALVED, "half held out"
    ),
    FewLabelTask(
        "vowel", "tables", vowel, partial(first, count=lambda _: 528), "published: other speakers"
    ),
    *(
        FewLabelTask(name, "tables", partial(table, name=name), HALVED, "half held out")
        for name in ("penbased", "satimage", "segment", "texture", "vehicle")
    ),
)
TASKS = (*IMAGES, *SERIES, *TABLES)
