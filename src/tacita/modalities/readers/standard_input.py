"""`-`: a table from standard input, CSV or JSONL, kept in a file while it is read (twice, if need be)."""

from __future__ import annotations

import atexit
import shutil
import sys
import tempfile
from pathlib import Path

from tacita.errors import DataError
from tacita.modalities.readers.values import LARGEST

NAME = "-"
_BLOCK = 2**20


def kept_input() -> Path:
    """The file that standard input was written into; it is removed when the process ends.

    Raises `DataError` where there is nothing, or more than any file may hold.
    """
    source = sys.stdin.buffer
    first = source.read(_BLOCK)
    if not first.strip():
        raise DataError(
            "standard input is empty.", remedy="Send a table: tacita predict RUN - < new.csv"
        )
    bare = first.removeprefix(b"\xef\xbb\xbf").lstrip()
    folder = Path(tempfile.mkdtemp(prefix="tacita-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = folder / ("stdin.jsonl" if bare.startswith(b"{") else "stdin.csv")
    size = 0
    with path.open("wb") as file:
        while first:
            size += len(first)
            if size > LARGEST:
                raise DataError(
                    f"standard input is larger than {LARGEST // 2**30} GiB.",
                    remedy="Give a file, which is read in pieces.",
                )
            file.write(first)
            first = source.read(_BLOCK)
    return path
