"""Sessions of the device as it writes them, of any length, small enough to be made for every test."""

from __future__ import annotations

import zipfile
from functools import cache
from pathlib import Path

import numpy as np

START = 1_544_027_337.0


def files_of(
    seconds: int, *, seed: int = 0, eda: float = 2.0, still: bool = False
) -> dict[str, str]:
    """The text of each file: on the body, awake (the arm turns every 20 seconds) or, `still`, asleep."""
    return dict(_texts(seconds, seed, eda, still))


@cache
def _texts(seconds: int, seed: int, eda: float, still: bool) -> dict[str, str]:
    rng = np.random.default_rng(seed)
    turn = np.zeros(seconds) if still else 40 * (np.arange(seconds) // 20 % 2)
    angle = np.radians(np.repeat(turn, 32))
    acc = 64 * np.stack([np.cos(angle), np.zeros_like(angle), np.sin(angle)], 1)
    beats = np.sin(2 * np.pi * 1.2 * np.arange(seconds * 64) / 64)
    return {
        "ACC.csv": table(np.round(acc + rng.normal(0, 1, acc.shape)), 32),
        "BVP.csv": table(50 * beats + rng.normal(0, 1, len(beats)), 64),
        "EDA.csv": table(eda + 0.1 * rng.normal(size=seconds * 4), 4),
        "TEMP.csv": table(33 + 0.1 * rng.normal(size=seconds * 4), 4),
        "HR.csv": table(70 + rng.normal(size=max(seconds - 10, 1)), 1, START + 10),
        "IBI.csv": f"{START}, IBI\n1.5,0.8\n2.25,0.75\n",
        "tags.csv": f"{START + 5}\n",
    }


def table(values: np.ndarray, rate: int, start: float = START) -> str:
    columns = values.reshape(len(values), -1)
    head = [", ".join([f"{number:.2f}"] * columns.shape[1]) for number in (start, rate)]
    rows = [",".join(f"{value:.2f}" for value in row) for row in columns]
    return "\n".join([*head, *rows]) + "\n"


def write(folder: Path, files: dict[str, str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


def write_zip(path: Path, files: dict[str, str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return path
