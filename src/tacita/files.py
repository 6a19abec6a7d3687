"""Writing files so that nothing is ever lost or half written, and reading them within bounds."""

from __future__ import annotations

import errno
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tacita.errors import TacitaError

FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
LONGEST_PREFIX = 200
"""Bytes: file systems take names of 255."""


class WriteError(TacitaError, OSError):
    """A file could not be written; what stood there before is untouched."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place, whole, when the block ends well.

    The bytes reach the disk before the name changes, so a kill or a power cut at any instant
    leaves either the old file or the new one. Raises `WriteError` when the disk is full.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with replacing(Path(folder) / "a.txt") as temporary:
    ...         _ = temporary.write_text("whole")
    ...     (Path(folder) / "a.txt").read_text()
    'whole'
    """
    check_replaceable(path)
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=_prefix(path), dir=path.parent)
        temporary = Path(name)
        os.close(handle)
        yield temporary
        _flush(temporary)
        temporary.chmod(0o644)
        temporary.replace(path)
        _flush_folder(path.parent)
    except WriteError:
        raise
    except OSError as error:
        raise WriteError(
            f"{path}: could not be written ({error.strerror or error}); nothing was changed.",
            remedy=("Free some disk space or choose" if error.errno in FULL else "Choose")
            + " another place with --out.",
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def remove_leftovers(path: Path) -> None:
    """Remove the temporary files that killed processes left beside `path`.

    Only for whoever is alone in writing to it: another's temporary file would go as well.
    """
    # The rest of the name is what `mkstemp` draws.
    leftover = re.compile(re.escape(_prefix(path)) + r"[a-z0-9_]{8}")
    if path.parent.is_dir():
        for other in path.parent.iterdir():
            if leftover.fullmatch(other.name):
                other.unlink(missing_ok=True)


def check_replaceable(path: Path) -> None:
    """Raise `WriteError` where something stands at `path` that is not a file to be replaced.

    A link is not followed, since what it leads to may be anyone's; a device or a pipe would be gone.
    """
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return  # Nothing is there, or what is wrong is said where it is written.
    if stat.S_ISREG(mode):
        return
    kinds = {stat.S_IFLNK: "a link", stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe"}
    raise WriteError(
        f"{path}: could not be written: it is {kinds.get(stat.S_IFMT(mode), 'a device')}, not a file.",
        remedy="Choose another name with --out.",
    )


def _prefix(path: Path) -> str:
    """How the name of a temporary file beside `path` begins, within what file systems take."""
    name = path.name.encode(errors="surrogateescape")[:LONGEST_PREFIX]
    return f".{name.decode(errors='ignore')}."


def _flush_folder(path: Path) -> None:
    """A new name is an entry of its folder, which must reach the disk as well, where that is known."""
    if os.name == "nt":
        return  # Windows opens no folder.
    try:
        _flush(path, os.O_RDONLY)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise  # These two: a file system that flushes no folders.


def _flush(path: Path, how: int = os.O_RDWR) -> None:
    descriptor = os.open(path, how)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Replace a text file, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
