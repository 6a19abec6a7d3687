"""Where a model's features are written, chunk by chunk, each row with the name of its sample."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tacita.errors import ConfigError
from tacita.files import CsvLines, replacing

Rows: TypeAlias = Iterable[tuple[list[str], NDArray[np.float32]]]
"""Pieces: the names of samples, and their features `(n, dim)`."""
ENDINGS = (".npy", ".csv", ".parquet")


def write_features(rows: Rows, dim: int, out: Path, *, escape_formulas: bool = False) -> int:
    """Write `(N, dim)` features by the ending of the file; gives the number of rows.

    `.csv` and `.parquet` have a column `id` and a column a feature; beside a `.npy` there is a
    `.ids.csv` of the same name.
    escape_formulas: of what is CSV, as of `CsvLines`.

    Raises `ConfigError` for another ending, before anything is read.
    """
    writers = {".npy": _npy, ".csv": _csv, ".parquet": _parquet}
    if out.suffix not in writers:
        raise ConfigError(
            f"--out {out}: features are written as {', '.join(ENDINGS)}.", remedy="Name it so."
        )
    return writers[out.suffix](rows, dim, out, escape_formulas)


def _columns(dim: int) -> list[str]:
    return [f"feature_{number}" for number in range(dim)]


def _npy(rows: Rows, dim: int, out: Path, escape_formulas: bool) -> int:
    count = 0
    with (
        _lines(out.with_suffix(".ids.csv"), escape_formulas) as ids,
        replacing(out) as temporary,
    ):
        ids.write(["id"])
        with temporary.open("wb") as file:
            _npy_header(file, 0, dim)
            for names, features in rows:
                file.write(features.astype(np.float32).tobytes())
                for name in names:
                    ids.write([name])
                count += len(names)
            file.seek(0)
            _npy_header(file, count, dim)
    return count


def _csv(rows: Rows, dim: int, out: Path, escape_formulas: bool) -> int:
    count = 0
    with _lines(out, escape_formulas) as lines:
        lines.write(["id", *_columns(dim)])
        for names, features in rows:
            for name, row in zip(names, features.tolist(), strict=True):
                lines.write([name, *row])
            count += len(names)
    return count


def _parquet(rows: Rows, dim: int, out: Path, escape_formulas: bool) -> int:
    fields = [("id", pa.string()), *((name, pa.float32()) for name in _columns(dim))]
    schema = pa.schema(fields)
    count = 0
    with replacing(out) as temporary, pq.ParquetWriter(temporary, schema) as writer:
        for names, features in rows:
            arrays = [pa.array(names, pa.string()), *(pa.array(column) for column in features.T)]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
            count += len(names)
    return count


@contextmanager
def _lines(out: Path, escape_formulas: bool) -> Iterator[CsvLines]:
    with replacing(out) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        yield CsvLines(file, escape_formulas=escape_formulas)


def _npy_header(file: Any, rows: int, dim: int) -> None:
    """NumPy leaves room in a header for the rows to grow, so that they can be filled in at the end."""
    shape = {"descr": "<f4", "fortran_order": False, "shape": (rows, dim)}
    np.lib.format.write_array_header_1_0(file, shape)  # type: ignore[no-untyped-call]
