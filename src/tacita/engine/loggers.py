"""Where the rows of a training go while it runs: a file, TensorBoard, or Weights & Biases.

Each is a callback of `tacita.train`. A run that goes on from a checkpoint writes some steps again; what
stood there of them goes first.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tacita.engine.history import Progress
from tacita.errors import MissingExtraError
from tacita.files import write_text


class JsonLines:
    """A callback that appends each row to a file, one JSON object a line.

    labels: stand before each row, such as the candidate's name, so that runs can share a file.

    A run that goes on from a checkpoint first drops the rows that it will write again.
    """

    def __init__(self, path: Path, **labels: str) -> None:
        self.path = path
        self.labels = labels
        self.begun = False

    def __call__(self, progress: Progress) -> None:
        if not self.begun and self.path.exists():
            lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True)
            write_text(
                self.path, "".join(line for line in lines if self._keeps(line, progress.step))
            )
        self.begun = True
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({**self.labels, **progress.row}) + "\n")

    def _keeps(self, line: str, step: int) -> bool:
        """Whether a line stays: it is whole, and is not one of those to be written again."""
        # A kill can have cut the last line short.
        if not line.endswith("\n"):
            return False
        try:
            row = json.loads(line)
            ours = all(row.get(name) == label for name, label in self.labels.items())
            return not ours or bool(row["step"] < step)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return False  # Damaged; it is only there to be looked at.


class CsvRows:
    """A callback that keeps the rows as a table: `train(..., callbacks=[CsvRows("log.csv")])`.

    A figure that is not in every row, such as `score`, has empty cells.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.names: list[str] | None = None

    def __call__(self, progress: Progress) -> None:
        new = [name for name in progress.row if name not in (self.names or ())]
        if self.names is None or new:
            kept = self._kept(progress.step) if self.names is None else self._read()
            self.names = list(
                dict.fromkeys([*(kept[0] if kept else []), *(self.names or []), *new])
            )
            write_text(self.path, self._table(kept, header=True))
        with self.path.open("a", encoding="utf-8") as file:
            file.write(self._table([progress.row], header=False))

    def _kept(self, step: int) -> list[dict[str, Any]]:
        """The rows of an earlier process but those that are written again."""
        if not self.path.exists():
            return []
        return [row for row in self._read() if float(row["step"] or step) < step]

    def _read(self) -> list[dict[str, Any]]:
        with self.path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    def _table(self, rows: list[dict[str, Any]] | list[dict[str, float]], *, header: bool) -> str:
        text = io.StringIO()
        writer = csv.DictWriter(text, self.names or [], lineterminator="\n")
        if header:
            writer.writeheader()
        writer.writerows(rows)
        return text.getvalue()


class TensorBoard:
    """A callback that writes each row for TensorBoard: `train(..., callbacks=[TensorBoard("logs")])`.

    A run that goes on from a checkpoint hides the points that it writes again.
    Raises `MissingExtraError` where tensorboard is not installed.
    """

    def __init__(self, folder: str | Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise MissingExtraError("tensorboard", "tensorboard") from error
        self.folder = folder
        self.open = SummaryWriter
        self.writer: Any = None

    def __call__(self, progress: Progress) -> None:
        if self.writer is None:
            self.writer = self.open(str(self.folder), purge_step=progress.step)
        for name, value in progress.row.items():
            if name != "step":
                self.writer.add_scalar(name, value, progress.step)
        # Nothing tells a callback that the run is over, or killed: every row is put out at once.
        self.writer.flush()


class WeightsAndBiases:
    """A callback for Weights & Biases: `train(..., callbacks=[WeightsAndBiases("digits")])`.

    project: its name there. settings: further arguments of `wandb.init`, such as `config`, or `id` and
    `resume` for a run that goes on. Nothing is sent with `mode="offline"`; it is kept in `dir`.

    Raises `MissingExtraError` where wandb is not installed.
    """

    def __init__(self, project: str, **settings: Any) -> None:
        try:
            import wandb
        except ImportError as error:
            raise MissingExtraError("wandb", "wandb") from error
        self.begin = wandb.init
        self.settings: Mapping[str, Any] = {"project": project, **settings}
        self.run: Any = None

    def __call__(self, progress: Progress) -> None:
        if self.run is None:
            self.run = self.begin(**self.settings)
        row = {name: value for name, value in progress.row.items() if name != "step"}
        self.run.log(row, step=progress.step)
        if progress.step == progress.steps:
            self.run.finish()
            self.run = None
