"""Text files that may be packed: `.gz`, `.zst`, and `.zip` whose members are parts of one table."""

from __future__ import annotations

import io
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import IO, Any

import pyarrow as pa

from tacita.errors import DataError
from tacita.modalities.readers.values import check_unpacked

TEXT_TABLES = frozenset({".csv", ".tsv", ".txt", ".jsonl"})
"""Tables that may be packed."""
_PACKED = {".gz": "gzip", ".zst": "zstd", ".zip": ""}
_MEMBERS = 1000


@dataclass(frozen=True)
class Part:
    """One text: a file, what is packed in it, or a member of an archive.

    name: what to call it in messages.
    """

    name: str
    path: Path
    member: str | None = None

    @contextmanager
    def opened(self, *, whole: bool = False) -> Iterator[IO[bytes]]:
        """Its bytes; where all of them are to be held, as many as can have come from such a file."""
        packing = packing_of(self.path)
        with ExitStack() as stack:
            if not packing:
                yield stack.enter_context(self.path.open("rb"))
                return
            inner: Any
            if self.member is not None:
                archive = stack.enter_context(zipfile.ZipFile(self.path))
                inner = stack.enter_context(archive.open(self.member))
            else:
                file = stack.enter_context(self.path.open("rb"))
                inner = stack.enter_context(
                    pa.CompressedInputStream(pa.PythonFile(file, "r"), _PACKED[packing])
                )
            counted = _Counted(inner, self.name, self.path.stat().st_size if whole else None)
            yield stack.enter_context(io.BufferedReader(counted, 2**20))

    @contextmanager
    def for_arrow(self, *, whole: bool = False) -> Iterator[Any]:
        """What Arrow's readers take. Theirs are threads that read ahead, so it is no file of Python's."""
        packing = packing_of(self.path)
        if not packing:
            yield str(self.path)
            return
        if whole and self.member is None:
            with self.opened(whole=True) as file:
                while file.read(2**20):
                    pass
        if self.member is None:
            # It closes itself with the last of the threads that read from it.
            yield pa.CompressedInputStream(pa.OSFile(str(self.path)), _PACKED[packing])
            return
        with TemporaryDirectory(prefix="tacita-") as folder:
            copy = Path(folder) / "member"
            with self.opened(whole=True) as file, copy.open("wb") as out:
                shutil.copyfileobj(file, out)
            yield str(copy)


class _Counted(io.RawIOBase):
    """Bytes of an unpacking stream, until they are more than can be meant."""

    def __init__(self, inner: Any, source: str, packed: int | None) -> None:
        self._inner = inner
        self._source = source
        self._packed = packed
        self._size = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._inner.read(len(buffer))
        self._size += len(data)
        if self._packed is not None:
            check_unpacked(self._source, self._size, self._packed)
        buffer[: len(data)] = data
        return len(data)


def packing_of(path: Path) -> str:
    """How a file is packed by its name; empty where it is not."""
    ending = path.suffix.lower()
    return ending if ending in _PACKED else ""


def format_of(path: Path) -> str:
    """The ending that says what is in a file, below that of its packing.

    Of an archive whose name does not say it, that of the one table in it; else it is empty.

    >>> format_of(Path("a.CSV")), format_of(Path("b.csv.gz")), format_of(Path("c.zip"))
    ('.csv', '.csv', '')
    """
    ending = (path.with_suffix("") if packing_of(path) else path).suffix.lower()
    if packing_of(path) != ".zip" or ending in TEXT_TABLES:
        return ending
    names = members_of(path)
    inside = PurePosixPath(names[0]).suffix.lower() if len(names) == 1 else ""
    return inside if inside in TEXT_TABLES else ""


def members_of(path: Path) -> list[str]:
    """The names of the files in an archive; none where it cannot be opened."""
    try:
        with zipfile.ZipFile(path) as archive:
            return [member.filename for member in _members(archive)]
    except Exception:
        return []  # Whoever reads it says what is wrong; here it only is no table.


def parts_of(path: Path) -> list[Part]:
    """The texts of a file in their order.

    Raises `DataError` naming a member of an archive that is of another type, or encrypted.
    """
    if packing_of(path) != ".zip":
        return [Part(str(path), path)]
    with zipfile.ZipFile(path) as archive:
        members = _members(archive)
    if not members or len(members) > _MEMBERS:
        raise DataError(
            f"{path}: {len(members)} files in the archive; from 1 to {_MEMBERS} are read as one table.",
            remedy="Pack the parts of one table.",
        )
    for member in members:
        if member.flag_bits & 1:
            raise DataError(f"{path}: is encrypted.", remedy="Unpack it first.")
        if PurePosixPath(member.filename).suffix.lower() != format_of(path):
            raise DataError(
                f"{path}: its member {member.filename!r} is no {format_of(path)} file.",
                remedy="Pack the parts of one table alone.",
            )
    names = sorted(member.filename for member in members)
    return [Part(f"{path}: {name}", path, name) for name in names]


def _members(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    return [m for m in archive.infolist() if not m.is_dir() and not _hidden(m.filename)]


def _hidden(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return parts[0] == "__MACOSX" or parts[-1].startswith(".")
