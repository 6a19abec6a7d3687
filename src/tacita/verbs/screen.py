"""What a run says: facts and results on standard output, progress on standard error."""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib.util import find_spec

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from tacita.model.metrics import Metrics, PretrainingRow, Row
from tacita.report.words import score
from tacita.words import printable

RESULTS = frozenset({"result", "held out", "folds", "saved"})
"""Keys of the lines that say how a run ended."""


class Screen:
    """Prints for people. A bar is drawn on terminals and in notebooks.

    quiet: as in `Running`: True and 2 print nothing, 1 the lines of the result.
    """

    def __init__(self, *, quiet: bool | int = False) -> None:
        self.quiet = bool(quiet)
        self.results = not quiet or (quiet == 1 and quiet is not True)
        # In a notebook too these are lines of text; else each would be a display of its own.
        self.out = Console(highlight=False, soft_wrap=True, force_jupyter=False, emoji=False)
        self.bar = Progress(
            TextColumn("{task.description:32.32}", markup=False),
            BarColumn(),
            TextColumn("{task.percentage:3.0f}%"),
            TimeElapsedColumn(),
            TextColumn("eta"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
            disable=self.quiet or not draws_bars(Console(stderr=True)),
        )
        self._whole = self.bar.add_task("all", total=None)
        self._parts: dict[str, int] = {}

    def line(self, key: str, text: str) -> None:
        """A fact: a short key and what it is."""
        if self.quiet and not (self.results and key in RESULTS):
            return
        self.out.print(printable(f"{key:<9} {text}"), markup=False)

    def lines(self, lines: Sequence[str]) -> None:
        """Lines that are ready to print."""
        if self.quiet:
            return
        for line in lines:
            self.out.print(printable(line), markup=False)

    def warning(self, text: str) -> None:
        """Something that is not well while it is still going on."""
        self.line("warning", text)

    def expect(self, steps: int) -> None:
        """How many steps there will be in all."""
        self.bar.update(self._whole, total=steps)

    def tick(self, name: str, training: str, step: int) -> None:
        """A logged step of one of a candidate's trainings: the bar moves by what is new."""
        done = self._parts.get(training, 0)
        # A training may begin anew, on the next data set.
        new = step - done if step > done else step
        self._parts[training] = step
        self.bar.update(self._whole, advance=new, description=printable(name))

    def row(self, row: Row) -> None:
        """A candidate's result as soon as it is there."""
        if row.error is not None:
            self.line("failed", f"{row.name}: {row.error}")
            return
        if row.mean is None:
            return  # Nobody has a score; it is not trained yet.
        text = f"{_figures(row)}  {row.seconds:6.1f} s a fold"
        self.line("ran", f"{row.name:<30} {text}")

    def leaderboard(self, metrics: Metrics) -> None:
        """The table at the end, best first; the one that is kept has a star."""
        rows = metrics.leaderboard
        if self.quiet:
            return
        metric = rows[0].metric.replace("_", " ")
        ranked = any(row.rank is not None for row in rows)
        table = Table(box=None, pad_edge=False)
        table.add_column("")
        table.add_column("candidate")
        table.add_column(metric, justify="right")
        table.add_column("spread", justify="right")
        table.add_column("worst", justify="right")
        if ranked:
            table.add_column("rank", justify="right")
        table.add_column("s/fold", justify="right")
        table.add_column("MB", justify="right")
        for row in rows:
            mark = "*" if row.name == metrics.winner and row.error is None else ""
            # A text, since a name may look like markup.
            name = Text(printable(f"{row.name} (baseline)" if row.baseline else row.name))
            if row.mean is None or row.std is None:
                table.add_row(mark, name, "no score" if row.error is None else "failed")
                continue
            rank = "" if row.rank is None else f"{row.rank:.1f}"
            table.add_row(
                mark,
                name,
                score(row.metric, row.mean),
                score(row.metric, row.std),
                score(row.metric, (max if row.lower else min)(row.folds)),
                *([rank] if ranked else []),
                f"{row.seconds:.1f}",
                f"{row.peak_mb:.0f}",
            )
        self.out.print(table, soft_wrap=False)
        lines = [
            f"{name} {score(metric, value)}"
            for metric in (rows[0].metric,)
            for name, value in (
                ("knowing only how common the answers are", (metrics.majority or {}).get(metric)),
                ("guessing blindly", metrics.chance.get(metric)),
            )
            if value is not None
        ]
        if lines:
            self.line("floor", "; ".join(lines))

    def pretraining(self, row: PretrainingRow) -> None:
        """A way to pretrain, as soon as it is there."""
        if row.error is not None:
            self.line("failed", f"{row.name}: {row.error}")
            return
        self.line(
            "ran", f"{row.name:<30} rank {row.rank:6.1f} of {row.width}  {row.seconds:6.1f} s"
        )
        for warning in row.warnings:
            self.line("warning", f"{row.name}: {warning}")

    def pretrainings(self, rows: Sequence[PretrainingRow], kept: str) -> None:
        """The table of ways to pretrain at the end."""
        if self.quiet:
            return
        probed = any(row.probe is not None for row in rows)
        table = Table(box=None, pad_edge=False)
        table.add_column("")
        table.add_column("candidate")
        columns = ["probe", "knn"] if probed else []
        for column in (*columns, "rank", "of", "alignment", "uniformity", "s", "peak MB"):
            table.add_column(column, justify="right")
        for row in rows:
            if row.error is not None:
                table.add_row("", Text(printable(row.name)), "failed")
                continue
            figures = [f"{value:.3f}" for value in (row.probe, row.knn) if value is not None]
            figures += [f"{row.rank:.1f}", f"{row.width}", f"{row.alignment:.2f}"]
            figures += [f"{row.uniformity:.2f}", f"{row.seconds:.1f}", f"{row.peak_mb:.0f}"]
            mark = "*" if row.name == kept else ""
            table.add_row(mark, Text(printable(row.name)), *figures)
        self.out.print(table, soft_wrap=False)


def draws_bars(console: Console) -> bool:
    """Whether a bar can move here: on a terminal, or in a notebook that has widgets."""
    return console.is_terminal or (console.is_jupyter and find_spec("ipywidgets") is not None)


def _figures(row: Row) -> str:
    mean, std = row.mean, row.std
    if mean is None or std is None or not math.isfinite(mean):
        return "no score"
    return f"{score(row.metric, mean):>7} +- {score(row.metric, std):<6}"
