"""`.npy` and `.npz` files, without pickle: headers are checked before a byte of data is read.

An archive's declared sizes are only claims, so they are bounded, and an array with Python objects
in it is refused: unpickling runs whatever code the file's author chose.
"""

from __future__ import annotations

import math
import os
import struct
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from tacita.errors import DataError
from tacita.modalities.readers.values import check_unpacked, damaged

_PLAIN = "biufUS"
_MEMBERS = 1000
_LAST_CHARACTER = 0x10FFFF
_MAPPED = 2**24
"""Smaller arrays are read, so that their checksum is looked at."""


@dataclass(frozen=True)
class Header:
    """What an array says of itself, and at which byte of its file the data start."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool
    offset: int

    @property
    def size(self) -> int:
        """Bytes of data."""
        return math.prod(self.shape) * self.dtype.itemsize


class ArrayFile:
    """The arrays of a `.npz`, or the one of a `.npy` under the name `x`, read whole or in chunks.

    Raises `DataError` for damaged files, object arrays, and sizes beyond any sensible memory.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.headers: dict[str, Header] = {}
        self._members: dict[str, zipfile.ZipInfo] = {}
        with damaged(path, "NumPy arrays"):
            if path.suffix.lower() == ".npz":
                self._read_directory()
            else:
                with path.open("rb") as file:
                    self.headers["x"] = self._header("x", file, os.stat(path).st_size)

    def __contains__(self, name: str) -> bool:
        return name in self.headers

    def read(self, name: str) -> NDArray[Any]:
        """A whole array; a `.npy`, and a large array that lies uncompressed in a `.npz`, are
        memory-mapped (copy on write), so they may exceed the memory.
        """
        header = self.headers[name]
        with damaged(self.path, "NumPy arrays"):
            if self.path.suffix.lower() == ".npy" and header.size:
                mapped = np.load(self.path, mmap_mode="c", allow_pickle=False)
                native = mapped.view(np.ndarray).astype(header.dtype.newbyteorder("="), copy=False)
                return self._text(name, native)
            at = self._stored_at(name) if header.size >= _MAPPED else None
            if at is not None:
                order: Literal["F", "C"] = "F" if header.fortran else "C"
                place = at + header.offset
                inside = np.memmap(self.path, header.dtype, "c", place, header.shape, order)
                native = inside.view(np.ndarray).astype(header.dtype.newbyteorder("="), copy=False)
                return self._text(name, native)
            count = header.shape[0] if header.shape else 1
            return next(iter(self.chunks(name, [count])))

    def chunks(self, name: str, counts: Iterable[int]) -> Iterator[NDArray[Any]]:
        """The array's rows in order, so many at a time; only these are ever in memory."""
        header = self.headers[name]
        native = header.dtype.newbyteorder("=")
        with damaged(self.path, "NumPy arrays"), closing(self._open(name)) as file:
            file.read(header.offset)
            if header.fortran and len(header.shape) > 1:
                # Columns lie together, so rows cannot be streamed.
                flat = np.frombuffer(_exactly(file, header.size), header.dtype)
                whole = self._text(name, flat.reshape(header.shape, order="F").astype(native))
                start = 0
                for count in counts:
                    yield whole[start : start + count]
                    start += count
                return
            row = header.shape[1:]
            for count in counts:
                data = _exactly(file, count * math.prod(row) * header.dtype.itemsize)
                shape = (count, *row) if header.shape else ()
                part = np.frombuffer(data, header.dtype).reshape(shape).astype(native, copy=False)
                yield self._text(name, part)

    def _text(self, name: str, values: NDArray[Any]) -> NDArray[Any]:
        """The values, if all of their characters are such; Python itself fails on others later."""
        if values.dtype.kind == "U" and values.size:
            codes = np.ascontiguousarray(values).reshape(-1).view(np.uint32)
            if bool(((codes > _LAST_CHARACTER) | (codes // 2048 == 27)).any()):
                raise DataError(
                    f"{self.path}: array {name!r} holds numbers that stand for no character.",
                    remedy="The file is damaged: write it again.",
                )
        return values

    def _stored_at(self, name: str) -> int | None:
        """At which byte of the archive an uncompressed array's file begins; None for a compressed one."""
        member = self._members[name]
        encrypted = member.flag_bits & 1
        if member.compress_type != zipfile.ZIP_STORED or encrypted:
            return None
        with self.path.open("rb") as file:
            file.seek(member.header_offset)
            local = file.read(30)
        begin = member.header_offset + 30 + sum(struct.unpack("<HH", local[26:30]))
        whole = begin + member.file_size <= os.stat(self.path).st_size
        if local[:4] != b"PK\x03\x04" or not whole:
            raise EOFError("the archive is cut short")
        return int(begin)

    @property
    def main(self) -> str:
        """The name of the array that holds the samples."""
        for name in ("x", "X"):
            if name in self:
                return name
        found = ", ".join(list(self.headers)[:5]) or "none"
        raise DataError(
            f"{self.path}: there is no array 'x' (found: {found}).",
            remedy="Save x (N, ...), and optionally y, lengths and groups; or values and lengths.",
        )

    def numbers(self, name: str) -> NDArray[Any]:
        """A whole array of samples, which must be numbers and not empty."""
        header = self.headers[name]
        if header.dtype.kind not in "biuf" or not header.size:
            raise DataError(
                f"{self.path}: array {name!r} is of type {header.dtype} and shape {header.shape}.",
                remedy="Samples are numbers, at least one of them.",
            )
        return self.read(name)

    def per_sample(self, name: str) -> NDArray[Any]:
        """A whole array of one entry a sample."""
        values = self.read(name)
        if values.ndim != 1:
            raise DataError(
                f"{self.path}: array {name!r} has shape {values.shape};"
                " one entry a sample is needed.",
                remedy="Save it as (N,).",
            )
        return values

    def _open(self, name: str) -> IO[bytes]:
        if self.path.suffix.lower() == ".npy":
            return self.path.open("rb")
        archive = zipfile.ZipFile(self.path)
        # The member keeps the archive's file open for as long as it needs it.
        with archive:
            return archive.open(f"{name}.npy")

    def _read_directory(self) -> None:
        with zipfile.ZipFile(self.path) as archive:
            members = archive.infolist()
            if len(members) > _MEMBERS:
                raise DataError(
                    f"{self.path}: {len(members)} arrays; at most {_MEMBERS} are read.",
                    remedy="Put the samples into one array x (N, ...).",
                )
            # A stored member is as large as its bytes, so only the others can be bombs.
            pressed = [m for m in members if m.compress_type != zipfile.ZIP_STORED]
            total = sum(member.file_size for member in pressed)
            packed = sum(member.compress_size for member in pressed)
            check_unpacked(str(self.path), total, packed)
            for member in members:
                name = member.filename.removesuffix(".npy")
                if name == member.filename or name in self.headers:
                    raise DataError(
                        f"{self.path}: {member.filename!r} is not an array, or is there twice.",
                        remedy="Write the file with numpy.savez.",
                    )
                self._members[name] = member
                with archive.open(member) as file:
                    self.headers[name] = self._header(name, file, member.file_size)

    def _header(self, name: str, file: IO[bytes], available: int) -> Header:
        version = npy.read_magic(file)  # type: ignore[no-untyped-call]
        if version == (1, 0):
            shape, fortran, dtype = npy.read_array_header_1_0(file)  # type: ignore[no-untyped-call]
        elif version == (2, 0):
            shape, fortran, dtype = npy.read_array_header_2_0(file)  # type: ignore[no-untyped-call]
        else:
            raise DataError(
                f"{self.path}: array {name!r} is written in format {version}, which is not read.",
                remedy="Save plain numbers or text with numpy.save or numpy.savez.",
            )
        if dtype.hasobject:
            raise DataError(
                f"{self.path}: array {name!r} holds Python objects; reading them could run code.",
                remedy="Save plain numbers or text. Series of unequal lengths: one array 'values'"
                " (sum of lengths, channels) and one 'lengths'.",
            )
        if dtype.kind not in _PLAIN:
            raise DataError(
                f"{self.path}: array {name!r} is of type {dtype}, which is neither number nor text.",
                remedy="Save integers, floats, booleans or text.",
            )
        if not all(type(width) is int and width >= 0 for width in shape) or not dtype.itemsize:
            # Of entries without a size, any number would fit into the file.
            raise DataError(
                f"{self.path}: array {name!r} claims the shape {tuple(shape)} and the type {dtype},"
                " which makes no sense.",
                remedy="Write the file again with numpy.",
            )
        header = Header(tuple(shape), dtype, fortran, file.tell())
        if header.size > available - header.offset:
            raise DataError(
                f"{self.path}: array {name!r} of shape {tuple(shape)} is cut short.",
                remedy="Write the file again.",
            )
        return header


def _exactly(file: IO[bytes], count: int) -> bytearray:
    data = bytearray(count)
    view = memoryview(data)
    done = 0
    while done < count:
        # Whole archives of several GiB come in pieces.
        got = file.readinto(view[done : done + 2**28])  # type: ignore[attr-defined]
        if not got:
            raise EOFError("the data end before the array does")
        done += got
    return data
