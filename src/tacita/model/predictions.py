"""Where a model's predictions are written: a table of lines, or files that are like the samples."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tacita.data.modality import Modality
from tacita.files import CsvLines, Output, replacing
from tacita.words import Shown


@dataclass(frozen=True)
class PredictionFile:
    """A `tacita.tasks.Writer`: what is written for the samples of a source.

    out: the file, or the folder for files like the samples; None for the screen.
    as_json: whether lines are JSON objects, under the names of the header, and not CSV.
    escape_formulas: as of `CsvLines`.
    """

    kind: Modality
    source: Path
    out: Path | None
    as_json: bool = False
    escape_formulas: bool = False

    def lines(
        self, header: Sequence[str], lines: Iterable[Sequence[Any]], *, shares: int = 0
    ) -> int:
        """Write CSV or JSON; gives the number of lines, but for the header."""
        if self.out is None:
            return self._write(Shown(sys.stdout), header, lines, shares)
        with (
            replacing(self.out) as temporary,
            temporary.open("w", newline="", encoding="utf-8") as file,
        ):
            return self._write(file, header, lines, shares)

    def samples(self, parts: Iterable[tuple[Sequence[str], Sequence[Any]]]) -> int:
        """Write what the samples' modality makes of predictions as large as they are."""
        return self.kind.write(parts, self.source, self.out)

    def _write(
        self, file: Output, header: Sequence[str], lines: Iterable[Sequence[Any]], shares: int
    ) -> int:
        if self.as_json:
            return _json(file, header, lines, shares)
        return _write(CsvLines(file, escape_formulas=self.escape_formulas), header, lines)


def _json(file: Output, header: Sequence[str], lines: Iterable[Sequence[Any]], shares: int) -> int:
    """An object a line, the last columns under `probabilities` as numbers."""
    count, plain = 0, len(header) - shares
    for line in lines:
        row = dict(zip(header[:plain], line[:plain], strict=True))
        if shares:
            row["probabilities"] = dict(zip(header[plain:], map(float, line[plain:]), strict=True))
        file.write(json.dumps(row, ensure_ascii=False) + "\n")
        count += 1
    return count


def _write(to: CsvLines, header: Sequence[str], lines: Iterable[Sequence[Any]]) -> int:
    """Lines under their header, which waits for the first: nothing is written for what cannot be read."""
    count = 0
    for line in lines:
        if not count:
            to.write(header)
        to.write(line)
        count += 1
    return count
