"""One process at a time in a run's folder: a lock that the system lets go of when its process ends."""

from __future__ import annotations

import json
import os
import shlex
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout
from pydantic import BaseModel, ValidationError

from tacita.errors import ConfigError
from tacita.files import WriteError, write_text
from tacita.words import printable

LOCK = ".lock"
HOLDER = ".lock.json"
"""Who holds the lock; in a file of its own, for on some systems a locked file cannot be read."""
LARGEST_HOLDER = 100_000


class LockedError(ConfigError):
    """Another process is at work in the run's folder: names its number, host, start and command."""


class Holder(BaseModel):
    """The process that works in a folder, or that did and ended without saying so."""

    pid: int
    host: str
    command: str
    started: str

    @classmethod
    def here(cls) -> Holder:
        """This process."""
        return cls(
            pid=os.getpid(),
            host=socket.gethostname(),
            command=shlex.join([Path(sys.argv[0]).name or "python", *sys.argv[1:]]),
            started=datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
        )

    def __str__(self) -> str:
        told = f"process {self.pid} on {self.host} since {self.started}: {self.command}"
        return printable(told)


@contextmanager
def locked(folder: Path) -> Iterator[Holder | None]:
    """Hold a folder that exists; gives who held it last and ended without letting go, if anyone did.

    Raises `LockedError` where another process, or this one, holds it.
    """
    lock = _acquired(folder)
    try:
        left = _holder(folder)
        write_text(folder / HOLDER, Holder.here().model_dump_json() + "\n")
        yield left
    finally:
        # While it is held, so that nobody's else is removed; where that cannot be done, it stays.
        for name in (HOLDER, LOCK):
            with suppress(OSError):
                (folder / name).unlink()
        lock.release()


def check_unlocked(folder: Path) -> None:
    """Raise `LockedError` where a process is at work in the folder; nothing is written."""
    if (folder / LOCK).is_file():
        # What an earlier holder left stays, for whoever takes the folder.
        _acquired(folder).release()


def _acquired(folder: Path) -> BaseFileLock:
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(blocking=False)
    except Timeout as error:
        raise LockedError(
            f"{folder}: another run is at work there ({_holder(folder) or 'it says not which'}).",
            remedy="Wait until it has ended, or choose another --out.",
        ) from error
    except OSError as error:
        raise WriteError(
            f"{folder}: could not be locked ({error.strerror or error}).",
            remedy="Choose another --out, where files can be written and locked.",
        ) from error
    return lock


def _holder(folder: Path) -> Holder | None:
    try:
        with (folder / HOLDER).open("rb") as file:
            return Holder.model_validate(json.loads(file.read(LARGEST_HOLDER)))
    except (OSError, ValueError, ValidationError, RecursionError):
        return None
