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

    def lines(self, header: Sequence[str], lines: Iterable[Sequence[Any]]) -> int:
        """Write CSV or JSON; gives the number of lines, but for the header."""
        if self.out is None:
            return self._write(Shown(sys.stdout), header, lines)
        with (
            replacing(self.out) as temporary,
            temporary.open("w", newline="", encoding="utf-8") as file,
        ):
            return self._write(file, header, lines)

    def samples(self, parts: Iterable[tuple[Sequence[str], Sequence[Any]]]) -> int:
        """Write what the samples' modality makes of predictions as large as they are."""
        return self.kind.write(parts, self.source, self.out)

    def _write(self, file: Output, header: Sequence[str], lines: Iterable[Sequence[Any]]) -> int:
        if self.as_json:
            return _json(file, header, lines)
        return _write(CsvLines(file, escape_formulas=self.escape_formulas), header, lines)


def _json(file: Output, header: Sequence[str], lines: Iterable[Sequence[Any]]) -> int:
    """An object a line; behind the id and the prediction, probabilities as numbers."""
    count = 0
    if header[:2] != ["id", "predicted"]:
        for count, line in enumerate(lines, start=1):  # noqa: B007
            file.write(json.dumps(dict(zip(header, line, strict=True)), ensure_ascii=False) + "\n")
        return count
    for name, predicted, *shares in lines:
        row = {"id": name, "predicted": predicted}
        if shares:
            row["probabilities"] = dict(zip(header[2:], map(float, shares), strict=True))
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
