"""The folder of a run: a new one, one to go on with, or one to replace; never someone's other files."""

from __future__ import annotations

import shutil
from pathlib import Path

from tacita.errors import ConfigError

PLAN = "plan.yaml"
WORK = "work"
"""Checkpoints and results of a run in progress; removed when the model is saved."""


def default_folder(source: object) -> Path:
    """`runs/NAME`, numbered where it exists: `runs/NAME-2`.

    >>> default_folder("no/such/sensors.csv").as_posix()
    'runs/sensors'
    """
    stem = Path(str(source)).stem or "run"
    folder = Path("runs") / stem
    number = 2
    while folder.exists():
        folder = Path("runs") / f"{stem}-{number}"
        number += 1
    return folder


def prepare_folder(folder: Path, *, resume: bool, overwrite: bool) -> None:
    """Make the run's folder ready; raises `ConfigError` rather than touch what is not a run's."""
    if resume:
        if not (folder / PLAN).is_file():
            raise ConfigError(
                f"{folder}: there is no run to resume (no {PLAN}).",
                remedy="Start it without --resume, or give the run's folder with --out.",
            )
        return
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        ours = folder.is_dir() and ((folder / PLAN).exists() or (folder / "recipe.yaml").exists())
        if not overwrite:
            raise ConfigError(
                f"{folder} exists.",
                remedy="Choose another --out, or --overwrite to replace the run"
                + (", or --resume to go on with it." if ours else "."),
            )
        if not ours:
            raise ConfigError(
                f"{folder} is not the folder of a run, so it is not overwritten.",
                remedy="Choose another --out.",
            )
        shutil.rmtree(folder)
    (folder / WORK).mkdir(parents=True, exist_ok=True)
