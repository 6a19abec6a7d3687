"""The folder of a run: a new one, one to go on with, or one to replace; never someone's other files."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from tacita.errors import ConfigError

PLAN = "plan.json"
WORK = "work"
"""Checkpoints and results of a run in progress; removed when the model is saved."""
STATE = "constant.safetensors"
"""What a run without an end keeps to be gone on from: first in `work`, then beside its model."""
PROGRESS = "progress.jsonl"
"""In it: every training's rows, as they come. The finished run has them in `history.jsonl`."""


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


def check_folder(folder: Path | None, *, resume: bool, overwrite: bool) -> None:
    """Raise `ConfigError` where the run's folder is in the way, or is not there to be resumed."""
    if folder is None:
        return
    if resume:
        if not (folder / PLAN).is_file():
            raise ConfigError(
                f"{folder}: there is no run to resume (no {PLAN}).",
                remedy="Start it without --resume, or give the run's folder with --out.",
            )
        return
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    ours = (folder / PLAN).exists() or (folder / "recipe.yaml").exists()
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


def work_folder(folder: Path | None, *, resume: bool, stack: ExitStack) -> Path:
    """Where a checked run keeps what it needs to be resumed; a run that it replaces is removed.

    Without a folder it is a temporary one, which goes when the `stack` is left.
    """
    if folder is None:
        return Path(stack.enter_context(TemporaryDirectory(prefix="tacita-")))
    if folder.exists() and not resume:
        shutil.rmtree(folder)
    (folder / WORK).mkdir(parents=True, exist_ok=True)
    return folder / WORK
