"""Paths: what a folder holds, and nothing outside the folder."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tacita.errors import DataError
from tacita.modalities.readers.packed import TEXT_TABLES, format_of, members_of, packing_of
from tacita.modalities.readers.values import damaged
from tacita.words import nearest, plural

TABLE_FILES = TEXT_TABLES | {".parquet", ".feather", ".arrow", ".xlsx"}
ARRAY_FILES = frozenset({".npz", ".npy"})
IMAGE_FILES = frozenset(
    {
        ".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".jp2", ".j2k", ".bmp", ".dib", ".webp",
        ".avif", ".tif", ".tiff", ".gif", ".pbm", ".pgm", ".ppm", ".pnm", ".pfm", ".pcx", ".tga",
    }
)  # fmt: skip
_PACKED_SERIES = frozenset(a + b for a in (".csv", ".tsv") for b in (".gz", ".zst", ".zip"))
SERIES_FILES = _PACKED_SERIES | {".csv", ".tsv", ".parquet", ".feather", ".arrow", ".npy"}
TEXT_SERIES = frozenset({".ts"})
TEXT_FILES = frozenset({".txt"})
READ = (
    "Tables: .csv .tsv .txt .jsonl (also packed: .gz .zst .zip) .parquet .feather .arrow .xlsx."
    " Arrays: .npz .npy. Series: .ts. Volumes: .nii .nii.gz."
    " Folders of images (.png .jpg .bmp .webp .tiff .gif .ppm), of volumes, of texts (.txt),"
    " or of a .csv, .tsv (also packed), .parquet, .feather, .arrow or .npy a series."
)
_ARCHIVES = frozenset({".zip", ".tar", ".tgz", ".7z", ".rar"})
_PACKINGS = _ARCHIVES | {".gz", ".zst", ".bz2", ".xz", ".lz4"}
NO_CLASS = "unlabelled"
_LITTER = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx"})
"""What systems leave in folders, beside files that begin with a dot; in lower case."""
NIFTI_FILES = (".nii", ".nii.gz")


@dataclass(frozen=True)
class Entry:
    """A file of a folder: its path, its name below the folder (with `/`), and its class folder."""

    path: Path
    name: str
    label: str | None


def is_table(path: Path) -> bool:
    """Whether a file is a table by its name.

    >>> [is_table(Path(name)) for name in ("a.csv", "a.csv.gz", "a.parquet.gz", "a.zip")]
    [True, True, False, False]
    """
    return format_of(path) in (TEXT_TABLES if packing_of(path) else TABLE_FILES)


def is_nifti(path: Path) -> bool:
    """Whether a file is a NIfTI volume by its name."""
    return path.name.lower().endswith(NIFTI_FILES)


def scan(root: Path, *, leave_out: Path | None = None) -> list[Entry]:
    """Every file below a folder, sorted by name; hidden ones and what systems leave are left out.

    Links that leave the folder, and links to folders (which may loop), raise `DataError`.
    """
    home = root.resolve()
    entries: list[Entry] = []
    folders = [root]
    with damaged(root, "a folder"):
        while folders:
            folder = folders.pop()
            with os.scandir(folder) as items:
                for item in items:
                    path = Path(item.path)
                    if item.name.startswith(".") or item.name.lower() in _LITTER:
                        continue
                    if item.is_symlink():
                        _check_link(path, home)
                    if item.is_dir():
                        folders.append(path)
                    elif not item.is_file():
                        # Reading a pipe or a device may never end.
                        raise DataError(
                            f"{path}: neither a file nor a folder.", remedy="Remove it."
                        )
                    elif leave_out is None or path.resolve() != leave_out:
                        entries.append(_entry(path, root))
    return sorted(entries, key=lambda entry: entry.name)


def _entry(path: Path, root: Path) -> Entry:
    name = path.relative_to(root).as_posix()
    top, _, rest = name.partition("/")
    return Entry(path, name, top if rest and top != NO_CLASS else None)


def _check_link(path: Path, home: Path) -> None:
    remedy = "Copy the file into the folder, or remove the link."
    try:
        target = path.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise DataError(
            f"{path}: a link that leads nowhere or in a circle.", remedy=remedy
        ) from error
    if target.is_dir():
        raise DataError(f"{path}: a link to a folder, which is not followed.", remedy=remedy)
    if not target.is_relative_to(home):
        raise DataError(f"{path}: a link that leaves the folder.", remedy=remedy)


def existing(source: str | os.PathLike[str], *, also: Iterable[str] = ()) -> Path:
    """The path if it exists, else a `DataError` with the nearest name there is."""
    path = Path(source)
    if "\0" in str(path):
        raise DataError(f"{str(path)!r} is not a path.", remedy="Check the path.")
    with damaged(path, "a path"):
        if path.exists():
            return path
        parent = path.parent
        beside = [str(parent / name) for name in os.listdir(parent)] if parent.is_dir() else []
    near = nearest(str(path), [*beside, *also])
    raise DataError(
        f"{path}: there is no such file or folder, and no built-in data set of that name.",
        remedy=f"Did you mean {near}?" if near else f"Check the path. {READ}",
    )


def unpacked_first(path: Path) -> str:
    """The remedy for a file that is packed, where what is in it is not read so; else empty."""
    kind = path.suffix.lower()
    if kind not in _PACKINGS:
        return ""
    if kind == ".zip" and path.is_file():
        endings = {PurePosixPath(name).suffix.lower() for name in members_of(path)}
        if len(endings) == 1 and endings <= TEXT_TABLES:
            name = f"{path.stem}{min(endings)}.zip"
            return f"Parts of one table: call it {name}. A file a series: unpack it into a folder."
    return "Unpack it into a folder first." if kind in _ARCHIVES else "Unpack it first."


def unknown_extension(path: Path) -> DataError:
    """The error for a file of a type that no reader knows."""
    remedy = unpacked_first(path)
    if remedy:
        found = members_of(path) if path.suffix.lower() == ".zip" else []
        what = f" {plural(len(found), 'file')} in it, such as {found[0]!r}," if found else ""
        return DataError(
            f"{path}: it is packed, and{what or ' what is in it'} cannot be told to be one table.",
            remedy=remedy,
        )
    return DataError(
        f"{path}: files ending in {path.suffix!r} are not read."
        if path.suffix
        else f"{path}: the name has no extension, so the format is unknown.",
        remedy=READ,
    )
