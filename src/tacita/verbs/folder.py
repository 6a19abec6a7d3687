"""The folder of a run: a new one, one to go on with, or one to replace; never someone's other files.

It is checked and taken in one step, under a lock that is held until the run has ended.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from tacita.errors import ConfigError
from tacita.files import WriteError
from tacita.modalities.readers.standard_input import NAME as STANDARD_INPUT
from tacita.verbs.lock import HOLDER, LOCK, check_unlocked, locked

PLAN = "plan.json"
WORK = "work"
"""Checkpoints and results of a run in progress; removed when the model is saved."""
STATE = "constant.safetensors"
"""What a run without an end keeps to be gone on from: first in `work`, then beside its model."""
PROGRESS = "progress.jsonl"
"""In it: every training's rows, as they come. The finished run has them in `history.jsonl`."""
ENCODERS = "encoders"
"""Every candidate's encoder as a model of its own, where ways to pretrain were compared."""
OURS = (
    PLAN, STATE, LOCK, HOLDER, "recipe.yaml", "labels.json", "metrics.json", "history.jsonl",
    "report.html", "report.md", "model.safetensors", "baseline.safetensors", "margins.safetensors",
    "stream.json", "ledger.json",
)  # fmt: skip
"""Files that a run writes; what learners keep beside tensors is among them."""
UNFINISHED = re.compile(r"\..+\.[a-z0-9_]{8}")
"""What a killed process left of a file in the making."""
IN_WORK = re.compile(r".+\.(json|jsonl|safetensors)|\..+\.[a-z0-9_]{8}")
MODEL_IN_WORK = re.compile(r".+\.[0-9]+\.model")
"""A fold's learner, where a process fitted it for another."""
MEMBER = re.compile(r"member-[0-9]+")
"""What the members of an ensemble keep beside the tensors."""
LONGEST_NAME = 200
"""Bytes of a default folder's name: file systems take 255, and a number may follow."""


def default_folder(source: object) -> Path:
    """`runs/NAME`, numbered where it exists: `runs/NAME-2`; `runs/stdin` for standard input.

    >>> default_folder("no/such/sensors.csv").as_posix()
    'runs/sensors'
    """
    return next(folder for folder in _default_folders(source) if not os.path.lexists(folder))


@contextmanager
def taken_folder(folder: Path, *, resume: bool, overwrite: bool) -> Iterator[str]:
    """Check the folder of a run, make it and hold it; gives a line on who held it last, or "".

    Where the block fails before anything was kept in a new folder, the folder goes again. Raises
    `ConfigError` where it is in the way, is not there to be resumed, or is held by another process.
    """
    check_folder(folder, resume=resume, overwrite=overwrite)
    made = _make(folder)
    try:
        with locked(folder) as left:
            # Once more: until the lock was held, another process may have been quicker.
            check_folder(folder, resume=resume, overwrite=overwrite, held=True)
            yield "" if left is None else f"{folder} was left by {left}; that process has ended"
    finally:
        for each in made:
            with suppress(OSError):  # Something was kept there.
                each.rmdir()


@contextmanager
def taken_default_folder(source: object) -> Iterator[Path]:
    """The first free one of the default folders, made and held as by `taken_folder`."""
    for folder in _default_folders(source):
        if os.path.lexists(folder):
            continue
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            folder.mkdir()
        except FileExistsError:
            continue  # Another process was quicker.
        except OSError as error:
            raise _not_made(folder, error) from error
        try:
            with locked(folder):
                yield folder
        finally:
            with suppress(OSError):
                folder.rmdir()
        return


def check_folder(folder: Path, *, resume: bool, overwrite: bool, held: bool = False) -> None:
    """Raise `ConfigError` where the run's folder is in the way, or is not there to be resumed.

    held: whether this process holds its lock already.
    """
    names = _names(folder)
    if os.path.islink(folder):
        raise ConfigError(
            f"{folder} is a link, which is neither followed nor replaced.",
            remedy=f"Give the folder itself with --out: {os.path.realpath(folder)}",
        )
    if os.path.lexists(folder) and not os.path.isdir(folder):
        raise ConfigError(f"{folder} is not a folder.", remedy="Choose another --out.")
    if not held:
        check_unlocked(folder)
    begun = any(name not in (LOCK, HOLDER, WORK) for name in names if not _is_leftover(name))
    ours = _is_run(folder)
    if resume:
        if not (folder / PLAN).is_file():
            left = bool(names) and not begun
            remedy = "Start it without --resume, or give the run's folder with --out."
            if left:
                remedy = "It ended before its plan was written: start it without --resume."
            raise ConfigError(f"{folder}: there is no run to resume (no {PLAN}).", remedy=remedy)
        return
    if not begun:
        return
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
    """Where a run that holds its folder keeps what it needs to be resumed.

    The files of a run that it replaces are removed, and none that a run did not write. Without a
    folder it is a temporary one, which goes when the `stack` is left.
    """
    if folder is None:
        return Path(stack.enter_context(TemporaryDirectory(prefix="tacita-")))
    if not resume:
        # The model first: without it nothing is taken for whole.
        _remove(folder, keep=(LOCK, HOLDER))
        for each in _folders(folder / ENCODERS):
            _remove_model(each)
        _remove_empty(folder / ENCODERS)
        remove_work(folder)
    (folder / WORK).mkdir(parents=True, exist_ok=True)
    return folder / WORK


def remove_work(folder: Path) -> None:
    """Remove what a run kept to be resumed; another's file there stays, and its folder with it."""
    work = folder / WORK
    if work.is_dir() and not work.is_symlink():
        for each in work.iterdir():
            if IN_WORK.fullmatch(each.name) and (each.is_file() or each.is_symlink()):
                each.unlink(missing_ok=True)
        for each in _folders(work):
            if MODEL_IN_WORK.fullmatch(each.name):
                _remove_model(each)
        _remove_empty(work)


def _remove_model(folder: Path) -> None:
    _remove(folder)
    _remove_empty(folder)


def _folders(folder: Path) -> list[Path]:
    """The folders in one, none of which is a link; none where it is a link itself or not there."""
    if folder.is_symlink() or not folder.is_dir():
        return []
    return [each for each in folder.iterdir() if each.is_dir() and not each.is_symlink()]


def _remove(folder: Path, keep: tuple[str, ...] = ()) -> None:
    """Remove the files of a model and a run, and those of an ensemble's members."""
    for member in _folders(folder):
        if MEMBER.fullmatch(member.name):
            _remove_model(member)
    for each in folder.iterdir():
        ours = each.name in OURS or UNFINISHED.fullmatch(each.name)
        if ours and each.name not in keep and (each.is_file() or each.is_symlink()):
            each.unlink(missing_ok=True)


def _remove_empty(folder: Path) -> None:
    with suppress(OSError):  # It holds something that is not ours.
        folder.rmdir()


def _is_run(folder: Path) -> bool:
    """Whether a run was planned or a model saved here; a plan of another program begins otherwise."""
    if (folder / "recipe.yaml").is_file() and (folder / "labels.json").is_file():
        return True
    try:
        with (folder / PLAN).open("rb") as file:
            return file.read(64).replace(b" ", b"").startswith(b'{"format":')
    except OSError:
        return False


def _is_leftover(name: str) -> bool:
    return name.startswith((f".{PLAN}.", f".{HOLDER}."))


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise _not_made(folder, error) from error


def _make(folder: Path) -> list[Path]:
    """Make a folder and those it lies in; gives the new ones, the innermost first."""
    new = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _not_made(folder, error) from error
    return new


def _not_made(folder: Path, error: OSError) -> WriteError:
    return WriteError(
        f"{folder}: the run's folder cannot be made or read ({error.strerror or error}).",
        remedy="Choose another --out.",
    )


def _default_folders(source: object) -> Iterator[Path]:
    stem = "stdin" if str(source) == STANDARD_INPUT else Path(str(source)).stem or "run"
    stem = stem.encode(errors="surrogateescape")[:LONGEST_NAME].decode(errors="ignore")
    yield Path("runs") / stem
    number = 2
    while True:
        yield Path("runs") / f"{stem}-{number}"
        number += 1
