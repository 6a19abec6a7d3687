"""The first bytes of a NIfTI file, looked at before any library is told to believe them."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

from tacita.errors import DataError

MOST = 2**26
"""Bytes before the voxels: the header and what is written behind it."""
_HEADER = {348: (108, "f", 352), 540: (168, "q", 544)}
"""By the header's own size, of version 1 and 2: where the place of the voxels stands, and its type."""


def check_head(path: Path) -> None:
    """Raises `DataError` for a header that would have far more read than a header can be.

    Extensions are read by the size that each claims, which in a packed file may be gigabytes of nothing.
    """
    opened = gzip.open if path.name.lower().endswith(".gz") else open
    with opened(path, "rb") as file:
        head = file.read(544)
        for order in "<>":
            known = _HEADER.get(struct.unpack(f"{order}i", head[:4])[0]) if len(head) > 3 else None
            if known is None or len(head) < known[2]:
                continue
            at, kind, end = known
            (place,) = struct.unpack_from(f"{order}{kind}", head, at)
            if not (end if head[end - 4] else 0) <= place <= MOST:
                raise _senseless(path)
            file.seek(end)
            while head[end - 4] and file.tell() + 8 <= place:
                size = struct.unpack(f"{order}i", file.read(8)[:4])[0]
                if size < 8 or file.tell() - 8 + size > MOST:
                    raise _senseless(path)
                file.seek(size - 8, 1)


def _senseless(path: Path) -> DataError:
    return DataError(f"{path}: its header makes no sense.", remedy="Write the file again.")
