"""Writing files so that nothing is ever lost or half written, and reading them within bounds."""

from __future__ import annotations

import csv
import errno
import json
import math
import os
import re
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

from pydantic import BaseModel, ValidationError

from tacita.errors import CheckpointError, TacitaError

ModelT = TypeVar("ModelT", bound=BaseModel)
LARGEST_JSON = 64 * 2**20
DAMAGED = "The file is damaged or not ours; use it as it was saved."

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


def check_plain(path: Path, remedy: str = DAMAGED) -> None:
    """Raise `CheckpointError` for what is no plain file: a link, a folder, a pipe, a device, or nothing.

    A folder from someone else can hold a link to a file of the reader's, or a pipe that never ends.
    """
    try:
        mode = path.lstat().st_mode
    except OSError as error:
        raise _unreadable(path, error, remedy) from error
    if not stat.S_ISREG(mode):
        raise CheckpointError(f"{path}: is {_kind(mode)}, not a plain file.", remedy=remedy)


def read_plain(path: Path, largest: int, remedy: str = DAMAGED) -> bytes:
    """The bytes of a plain file of at most `largest` of them; no link is followed.

    Raises `CheckpointError` for what is no plain file, too large, or cannot be read.
    """
    check_plain(path, remedy)
    try:
        # What stands there may have changed since: neither a link nor a pipe is waited for.
        flags = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        binary = getattr(os, "O_BINARY", 0)
        with open(os.open(path, os.O_RDONLY | flags | binary), "rb") as file:
            raw = file.read(largest + 1)
    except OSError as error:
        raise _unreadable(path, error, remedy) from error
    if len(raw) > largest:
        raise CheckpointError(f"{path}: larger than {largest} bytes.", remedy=remedy)
    return raw


def read_json(
    kind: type[ModelT], path: Path, largest: int = LARGEST_JSON, remedy: str = DAMAGED
) -> ModelT:
    """A plain JSON file as a checked model; raises `CheckpointError` naming the file and the field.

    >>> import tempfile
    >>> class Size(BaseModel):
    ...     width: int
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = (Path(folder) / "a.json").write_text('{"width": 3}')
    ...     read_json(Size, Path(folder) / "a.json").width
    3
    """
    try:
        return kind.model_validate_json(read_plain(path, largest, remedy))
    except ValidationError as error:
        raise wrong_field(path, error, remedy) from error


def wrong_field(path: Path, error: ValidationError, remedy: str = DAMAGED) -> CheckpointError:
    """The error for a file whose content does not fit: which field, and why."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part)[:80] for part in first["loc"]) or "file"
    return CheckpointError(f"{path}: {where}: {first['msg']}.", remedy=remedy)


def _unreadable(path: Path, error: OSError, remedy: str) -> CheckpointError:
    return CheckpointError(f"{path}: cannot be read ({error.strerror}).", remedy=remedy)


def _kind(mode: int) -> str:
    kinds = {stat.S_ISLNK: "a link", stat.S_ISDIR: "a folder", stat.S_ISFIFO: "a pipe"}
    return next((name for is_kind, name in kinds.items() if is_kind(mode)), "a device or a socket")


_FORMULA = re.compile(r"[=+\-@\t\r]")
_FIGURE = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")


def no_formula(cell: Any) -> Any:
    """What is written in a table's cell, such that no spreadsheet runs it: a `'` goes before the text.

    Only text that begins with `=`, `+`, `-`, `@`, a tab or a carriage return is changed; figures are not.

    >>> [no_formula(cell) for cell in ("=1+1", "-b", "-1.5", -1.5, "plain")]
    ["'=1+1", "'-b", '-1.5', -1.5, 'plain']
    """
    if not isinstance(cell, str) or not _FORMULA.match(cell) or _FIGURE.fullmatch(cell):
        return cell
    return f"'{cell}"


class Output(Protocol):
    """What text is written to."""

    def write(self, text: str, /) -> int: ...


class CsvLines:
    """Lines of CSV, written one after another.

    escape_formulas: whether text that a spreadsheet would run as a formula is written with a `'` before
        it; as it is, by default, for whoever reads the file back by its names.

    >>> import sys
    >>> CsvLines(sys.stdout, escape_formulas=True, ending="\\n").write(["=2", -2, "a, b"])
    '=2,-2,"a, b"
    """

    def __init__(
        self, file: Output, *, escape_formulas: bool = False, ending: str = "\r\n"
    ) -> None:
        self._writer = csv.writer(file, lineterminator=ending)
        self._cell = no_formula if escape_formulas else None

    def write(self, line: Iterable[Any]) -> None:
        """One line."""
        self._writer.writerow(line if self._cell is None else map(self._cell, line))


def json_text(value: Any) -> str:
    """A value as one line of JSON, with null for what is no number, which JSON does not have.

    >>> json_text({"precision": float("nan"), "labels": [1]})
    '{"precision": null, "labels": [1]}'
    """
    return json.dumps(_finite(value), ensure_ascii=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
