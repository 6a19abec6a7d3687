"""Writing files so that nothing is ever lost or half written, and reading them within bounds."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tacita.errors import TacitaError


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
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        temporary = Path(name)
        os.close(handle)
        yield temporary
        _flush(temporary)
        temporary.chmod(0o644)
        temporary.replace(path)
        # The new name is an entry of the folder, which must reach the disk as well.
        _flush(path.parent)
    except WriteError:
        raise
    except OSError as error:
        raise WriteError(
            f"{path}: could not be written ({error.strerror or error}); nothing was changed.",
            remedy="Free some disk space or choose another place with --out.",
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def remove_leftovers(path: Path) -> None:
    """Remove the temporary files that killed processes left beside `path`.

    Only for whoever is alone in writing to it: another's temporary file would go as well.
    """
    # The rest of the name is what `mkstemp` draws.
    leftover = re.compile(re.escape(f".{path.name}.") + r"[a-z0-9_]{8}")
    if path.parent.is_dir():
        for other in path.parent.iterdir():
            if leftover.fullmatch(other.name):
                other.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Replace a text file, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
