"""The files of an Empatica E4, from folders or zips: a file a sensor, its start time and rate on top.

A session is a folder or a zip with `ACC.csv` (x, y, z in 1/64 g), `BVP.csv`, `EDA.csv`, `TEMP.csv`, `HR.csv`
(begins ten seconds late), `IBI.csv` and `tags.csv`. Line 1 of a sensor's file is its start time (UTC), line 2
its rate, then a sample a line; an empty line is a missing sample. Nothing is ever unpacked to disk.
"""

from __future__ import annotations

import math
import os
import re
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import csv

from tacita.errors import DataError
from tacita.modalities.readers.files import scan
from tacita.modalities.readers.values import damaged
from tacita.modalities.series.recordings.recording import Recording, Signal

SENSORS: Mapping[str, tuple[str, ...]] = {
    "ACC.csv": ("acc_x", "acc_y", "acc_z"),
    "BVP.csv": ("bvp",),
    "EDA.csv": ("eda",),
    "TEMP.csv": ("temp",),
    "HR.csv": ("hr",),
}
EVENTS = ("IBI.csv", "tags.csv")
CHANNELS = ("acc_x", "acc_y", "acc_z", "bvp", "eda", "temp")
"""What is learnt from by default: the heart rate and the beats are derived from the pulse (bvp)."""

LARGEST = 2**30
"""Bytes of one file: weeks of recording; more is a mistake or an attack."""
_SMALL = 2**27
_RATIO = 100
"""What zip makes smaller than this many times is no recording of a sensor."""
_MEMBERS = 10_000
_BOM = b"\xef\xbb\xbf"
_FASTEST = 10_000
_G = 1 / 64
_SHOWN = 60


@dataclass(frozen=True)
class Session:
    """Where the files of one session are: paths, or members of the archive `inside`."""

    name: str
    files: Mapping[str, str]
    inside: Path | None = None
    subject: str = ""

    def read(self, file: str) -> bytes:
        """The bytes of one of its files. Raises `DataError` for one that is too large or damaged."""
        place = self.files[file]
        source = self.place(file)
        if self.inside is None:
            with damaged(source, "a recording"):
                _check_size(os.stat(place).st_size, source)
                return Path(place).read_bytes().removeprefix(_BOM)
        with damaged(source, "a recording"), zipfile.ZipFile(self.inside) as archive:
            member = archive.getinfo(place)
            _check_size(member.file_size, source)
            with archive.open(place) as opened:
                data = opened.read(member.file_size + 1)
        return data.removeprefix(_BOM)

    def place(self, file: str) -> str:
        """What to call a file in messages."""
        return f"{self.inside}: {self.files[file]}" if self.inside else self.files[file]


@dataclass
class _Files:
    """Files of the device found so far, by session."""

    by_session: dict[str, dict[str, str]] = field(default_factory=dict)

    def add(self, session: str, file: str, place: str, source: Path) -> None:
        files = self.by_session.setdefault(session, {})
        if file in files:
            raise DataError(
                f"{source}: the session {session!r} has {file} twice.",
                remedy="Keep one of the two.",
            )
        files[file] = place


def is_device(path: Path) -> bool:
    """Whether a folder, or a zip, holds sessions of the device: two of its sensors' files side by side.

    Archives that cannot be opened are no sign of one.
    """
    entries = [entry.path for entry in scan(path)] if path.is_dir() else [path]
    sensors = Counter(entry.parent for entry in entries if entry.name in SENSORS)
    archives = [entry for entry in entries if entry.suffix.lower() == ".zip"]
    return max(sensors.values(), default=0) > 1 or any(map(_holds_sensors, archives))


def _holds_sensors(archive: Path) -> bool:
    try:
        with zipfile.ZipFile(archive) as opened:
            names = [PurePosixPath(name) for name in opened.namelist()[:_MEMBERS]]
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile):
        return False
    return max(Counter(n.parent for n in names if n.name in SENSORS).values(), default=0) > 1


def sessions(path: Path) -> list[Session]:
    """The sessions in a folder or a zip, by name; those of one folder deeper belong to one subject."""
    if path.is_file():
        return _in_zip(path, path.stem, "")
    loose, found = _Files(), []
    for entry in scan(path):
        parent, _, file = entry.name.rpartition("/")
        if file in SENSORS or file in EVENTS:
            loose.add(parent or path.resolve().name, file, str(entry.path), path)
        elif file.lower().endswith(".zip"):
            found += _in_zip(entry.path, entry.name[: -len(".zip")], _top(parent))
    found += [
        Session(name, files, subject=_top(name.rpartition("/")[0]))
        for name, files in loose.by_session.items()
        if _sensors(files) > 1
    ]
    for name, times in Counter(session.name for session in found).items():
        if times > 1:
            raise DataError(
                f"{path}: two sessions are called {name!r} (a folder and a zip).",
                remedy="Keep one of the two.",
            )
    return sorted(found, key=lambda session: session.name)


def read_recordings(
    source: str | os.PathLike[str], channels: Sequence[str] = (*CHANNELS, "hr")
) -> list[Recording]:
    """Every session below a folder, or in a zip, as a recording.

    channels: those to read, of `acc_x acc_y acc_z bvp eda temp hr`; files that are not there are left
        out here, and `windows(recordings, channels=...)` says which it needs.

    Raises `DataError` naming file and row for what cannot be read, and where there is no session.
    """
    path = Path(source)
    found = sessions(path)
    if not found:
        raise DataError(
            f"{path}: there is no session of an E4.",
            remedy="Give a folder or a zip with ACC.csv, BVP.csv, EDA.csv, TEMP.csv in it.",
        )
    return [read_session(session, channels) for session in found]


def read_session(session: Session, channels: Sequence[str]) -> Recording:
    """One session's signals of these channels, and its tags and beats where it has them."""
    signals: dict[str, Signal] = {}
    for file, names in SENSORS.items():
        if file in session.files and set(names) & set(channels):
            read = signals_of(session.read(file), names, session.place(file))
            signals |= {name: signal for name, signal in read.items() if name in channels}
    kept = {name: signals[name] for name in channels if name in signals}
    return Recording(session.name, kept, session.subject or session.name, dict(_events(session)))


def signals_of(data: bytes, names: Sequence[str], source: str) -> dict[str, Signal]:
    """The signals of one sensor's file, acceleration in g.

    >>> signals_of(b"100.0\\n4.0\\n0.5\\n0.25\\n", ("eda",), "EDA.csv")["eda"].values.tolist()
    [0.5, 0.25]
    """
    lines = data.split(b"\n", 2)
    if len(lines) < 3 or not lines[2].strip():
        raise DataError(
            f"{source}: there are no samples in it.",
            remedy="Leave the session out, or delete the file and choose channels without it.",
        )
    start, rate = (_numbers(line, len(names), row, source) for row, line in enumerate(lines[:2], 1))
    if len(set(start)) > 1 or len(set(rate)) > 1:
        raise DataError(
            f"{source}, rows 1 and 2: the columns begin at different times or have different rates.",
            remedy="Write one start time and one rate for all columns.",
        )
    if not math.isfinite(start[0]):
        raise DataError(
            f"{source}, row 1: a start time of {start[0]}.",
            remedy="Write the time of the first sample in seconds (UTC).",
        )
    if not (1 <= rate[0] <= _FASTEST and rate[0] == int(rate[0])):
        raise DataError(
            f"{source}, row 2: a rate of {rate[0]:g} samples a second.",
            remedy=f"A whole number from 1 to {_FASTEST} is needed.",
        )
    table = _table(lines[2], len(names), source, 2)
    scale = _G if names[0].startswith("acc") else 1.0
    return {
        name: Signal((column * scale).astype(np.float32), int(rate[0]), start[0])
        for name, column in zip(names, table.T, strict=True)
    }


def _table(data: bytes, width: int, source: str, above: int) -> NDArray[np.float64]:
    """Rows of numbers; empty lines are rows without any. `above`: lines of the file before them."""
    names = [str(i) for i in range(width)]
    if width > 1:  # an empty line would count as one empty cell
        data = re.sub(rb"(?m)^\r?$", b"," * (width - 1), data.removesuffix(b"\n"))
    try:
        table = csv.read_csv(
            pa.BufferReader(data),
            csv.ReadOptions(column_names=names),
            csv.ParseOptions(ignore_empty_lines=False),
            csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.float64()), null_values=["", "nan", "NaN"]
            ),
        )
        columns = np.stack([table[name].to_numpy() for name in names], 1).astype(np.float64)
    except pa.ArrowInvalid as error:
        _refuse_first_bad_row(data, width, source, above)
        raise DataError(f"{source}: cannot be read ({error}).") from error
    infinite = (np.abs(columns) > np.finfo(np.float32).max).any(1)
    if infinite.any():
        raise DataError(
            f"{source}, row {int(infinite.argmax()) + above + 1}: an infinite number, or one too large.",
            remedy="Leave the line empty where a sample is missing.",
        )
    return columns


def _refuse_first_bad_row(data: bytes, width: int, source: str, above: int) -> None:
    for row, line in enumerate(data.split(b"\n"), above + 1):
        if line.strip().strip(b","):
            _numbers(line, width, row, source)


def _numbers(line: bytes, width: int, row: int, source: str) -> list[float]:
    cells = line.decode("utf-8", "replace").strip().split(",")
    try:
        if len(cells) == width:
            return [float(cell) for cell in cells]
    except ValueError:
        pass
    text = line.decode("utf-8", "replace").strip()[:_SHOWN]
    raise DataError(
        f"{source}, row {row}: {text!r} is not {width} number{'s' * (width > 1)}.",
        remedy="Line 1 is the start time, line 2 the rate, then a sample a line; the file may be cut"
        " short or of another device.",
    )


def _events(session: Session) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Tags as times; beats as times and the intervals before them. Empty files are usual here."""
    if "tags.csv" in session.files:
        data = session.read("tags.csv").strip()
        rows = _table(data, 1, session.place("tags.csv"), 0) if data else np.empty((0, 1))
        yield "tags", rows[:, 0]
    if "IBI.csv" in session.files:
        head, _, data = session.read("IBI.csv").partition(b"\n")
        source = session.place("IBI.csv")
        begin = 0.0
        rows = np.empty((0, 2))
        if data.strip():
            begin = _numbers(head.partition(b",")[0], 1, 1, source)[0]
            rows = _table(data, 2, source, 1)
        yield "ibi", rows + np.array([begin, 0.0])


def _in_zip(path: Path, name: str, subject: str) -> list[Session]:
    """The sessions of an archive: its own, or one in each of its folders."""
    found = _Files()
    with damaged(path, "a zip"), zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if len(members) > _MEMBERS:
            raise DataError(f"{path}: {len(members)} members; the bound is {_MEMBERS}.")
        size = sum(member.file_size for member in members)
        packed = sum(member.compress_size for member in members)
        if size > _SMALL and size > _RATIO * packed:
            raise DataError(
                f"{path}: would unpack from {packed / 2**20:.1f} MiB to {size / 2**20:.0f} MiB, which"
                " looks like a decompression bomb.",
                remedy="Leave the archive out unless you know where it comes from.",
            )
        for member in members:
            inner = PurePosixPath(member.filename.replace("\\", "/"))
            if inner.is_absolute() or ".." in inner.parts or ":" in str(inner):
                raise DataError(
                    f"{path}: the member {member.filename!r} leads out of the archive.",
                    remedy="Do not use this file unless you know where it comes from.",
                )
            if inner.name not in SENSORS and inner.name not in EVENTS:
                continue
            if member.flag_bits & 1:
                raise DataError(f"{path}: is encrypted.", remedy="Unpack it first.")
            folder = "" if str(inner.parent) == "." else str(inner.parent)
            found.add(folder, inner.name, member.filename, path)
    kept = {key: files for key, files in found.by_session.items() if _sensors(files) > 1}
    if len(kept) == 1:
        return [Session(name, files, path, subject) for files in kept.values()]
    return [
        Session(f"{name}/{key}" if key else name, files, path, subject or name)
        for key, files in kept.items()
    ]


def _sensors(files: Mapping[str, str]) -> int:
    return sum(file in SENSORS for file in files)


def _top(name: str) -> str:
    return name.partition("/")[0]


def _check_size(size: int, source: str) -> None:
    if size > LARGEST:
        raise DataError(
            f"{source}: takes {size / 2**30:.1f} GiB; the bound is {LARGEST // 2**30} GiB.",
            remedy="Cut the recording into sessions.",
        )
