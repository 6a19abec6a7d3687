"""What `tacita.fit` returns, beside what a user would have tried instead: `python -m benchmarks.choice`.

On 26 tasks with few labels, with 1, 2, 5 and 10 labels a class and five draws of them. Every result is a
line of `docs/choice.jsonl` as soon as it is there, so that a kill loses one; what stands there is not
measured again (once `fit` has changed, take its lines out first). The page `docs/choice.md` is written from
that file.

`--fetch` takes the data from the package indexes into `--data`, and nothing else; a task whose data are not
there is named and left out. `--draws 100 101` measures draws that are not reported: nothing is tuned on
those that are. `--tasks`, `--labels`, `--minutes`, `--peers-only`, `--fit-only` measure a part, `--page`
nothing. AutoGluon is measured where `--autogluon` names the Python of an environment that has it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from benchmarks import choice_peers as peers
from benchmarks.choice_page import PAGE, RECORD, page, read_record
from benchmarks.few_label_sources import DATA, Absent, fetch
from benchmarks.few_label_tasks import DRAWS, LABELS, TASKS, FewLabelTask
from benchmarks.semilearn_fixmatch import SemilearnFixMatch, semilearn
from tacita.catalog.durations import parse_duration
from tacita.data.dataset import Dataset
from tacita.encoders import build, default_encoder
from tacita.errors import DataError, MissingExtraError, TacitaError
from tacita.files import write_text

RUNS = Path("build/choice")
"""Folders of the runs of `fit`: `candidates` needs the plan in them."""
MACHINE = (
    f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
    f"torch {torch.__version__}"
)
PATIENCE = 5
"""Times its budget that `fit` may take before it is ended, and five minutes."""


@dataclass(frozen=True)
class Cell:
    """One measurement: of a task with so many labels a class in one draw."""

    task: FewLabelTask
    labels: int
    draw: int
    what: str
    budget: str = ""

    @property
    def key(self) -> tuple[str, int, int, str, str]:
        """As it stands in the record."""
        return self.task.name, self.labels, self.draw, self.what, self.budget


def in_a_process(cell: Cell, data: Path) -> dict[str, Any]:
    """`fit`, or its candidates, as `benchmarks.choice_fit` measures them."""
    seconds = parse_duration(cell.budget)
    out = RUNS / "-".join(map(str, (cell.task.name, cell.labels, cell.draw, cell.budget)))
    words = [cell.what, cell.task.name, cell.labels, cell.draw, cell.budget, data, out]
    command = [sys.executable, "-m", "benchmarks.choice_fit", *map(str, words)]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            env=peers.user_environment(),
            timeout=PATIENCE * seconds + 300,
        )
    except subprocess.TimeoutExpired as error:
        return {"errors": {cell.what: f"ended after {error.timeout:.0f} s"}}
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"]
        return {"errors": {cell.what: said[-1][:300]}}
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def with_fixmatch(pool: Dataset, test: Dataset, draw: int) -> dict[str, Any]:
    """Semilearn's FixMatch as the page of semi-supervised methods has it, on the default encoder."""
    pool = pool.normalised()
    torch.manual_seed(draw)
    encoder = build(default_encoder(pool.spec), pool.spec)
    learner = SemilearnFixMatch(encoder, steps=400, batch_size=16, options={"ema_m": 0.99})
    return {"accuracy": {"semilearn": round(learner.fit(pool, seed=draw).score(test), 4)}}


def measure(cell: Cell, options: argparse.Namespace) -> dict[str, Any]:
    """What one cell comes to. Raises `Absent` or `MissingExtraError` where its data are not here."""
    try:
        pool, test = cell.task.drawn(options.data, cell.labels, cell.draw)
    except (Absent, MissingExtraError):
        raise
    except DataError as error:  # A class has fewer samples than labels are asked for.
        return {"impossible": error.message}
    if cell.what in ("fit", "candidates"):
        return in_a_process(cell, options.data)
    if cell.what == "autogluon":
        seconds = parse_duration(cell.budget)
        accuracy, more = peers.autogluon(pool, test, options.autogluon, seconds)
        return {**({} if accuracy is None else {"accuracy": {"autogluon": accuracy}}), **more}
    if cell.what == "semilearn":
        return with_fixmatch(pool, test, cell.draw)
    if cell.what == "aeon":
        return told(*peers.aeon(pool, test, cell.labels, cell.draw))
    sizes = {"pool": len(pool), "test": len(test), "classes": len(pool.task.classes)}
    return {**told(*peers.sklearn(pool, test, cell.labels, cell.draw)), **sizes}


def told(accuracy: dict[str, float], errors: dict[str, str]) -> dict[str, Any]:
    """A library's scores as they stand in the record."""
    return {"accuracy": accuracy, **({"errors": errors} if errors else {})}


def add(cell: Cell, options: argparse.Namespace) -> None:
    """Measure one, and append it."""
    began = time.monotonic()
    found = measure(cell, options)
    entry = {
        "task": cell.task.name,
        "labels": cell.labels,
        "draw": cell.draw,
        "what": cell.what,
        **({"budget": cell.budget} if cell.budget else {}),
        "seconds": round(time.monotonic() - began, 1),  # Its own, where it says them.
        **found,
        **({"note": options.note} if options.note else {}),
        "machine": MACHINE,
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
    }
    print(json.dumps(entry), flush=True)
    # One write in append mode: processes that measure different parts share the file.
    with RECORD.open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry) + "\n")


def wanted(options: argparse.Namespace) -> Iterator[Cell]:
    """The cells that are asked for, the draws outermost, so that a stop leaves whole draws.

    What `fit` returns comes before what its candidates would have got.
    """
    for draw in options.draws:
        for labels in options.labels:
            for task in TASKS:
                if task.name not in options.tasks:
                    continue
                if not options.fit_only:
                    yield Cell(task, labels, draw, "scikit-learn")
                    if task.modality == "series":
                        yield Cell(task, labels, draw, "aeon")
                    if task.modality == "tables" and options.autogluon:
                        yield Cell(task, labels, draw, "autogluon", options.budget)
                    if task.modality == "images" and options.semilearn:
                        yield Cell(task, labels, draw, "semilearn")
                if not options.peers_only:
                    yield Cell(task, labels, draw, "fit", options.budget)
            for task in TASKS if not options.peers_only else ():
                if task.name in options.tasks:
                    yield Cell(task, labels, draw, "candidates", options.budget)


def has_plan(cell: Cell) -> bool:
    """Whether `fit` gave a model whose plan is in the record's folder of runs."""
    fitted = read_record().get((*cell.key[:3], "fit", cell.budget))
    return fitted is not None and "accuracy" in fitted


def run(options: argparse.Namespace) -> None:
    """Measure what is missing, until the time is up."""
    began = time.monotonic()
    absent: set[str] = set()
    for cell in wanted(options):
        if time.monotonic() - began > 60 * options.minutes:
            print("the time is up")
            return
        if cell.key in read_record() or cell.task.name in absent:
            continue
        if cell.what == "candidates" and not has_plan(cell):
            continue
        if cell.what == "semilearn" and semilearn() is None:
            continue
        try:
            add(cell, options)
        except (Absent, MissingExtraError) as error:
            absent.add(cell.task.name)
            print(f"left out: {cell.task.name}: {error}", flush=True)


def in_seconds(text: str) -> str:
    """A duration as it stands in the record."""
    return f"{parse_duration(text):g}s"


def main(arguments: Sequence[str] | None = None) -> None:
    """Fetch, or measure what is missing and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    names = [task.name for task in TASKS]
    parser.add_argument("--fetch", action="store_true", help="fetch the data, and measure nothing")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--tasks", nargs="+", default=names, choices=names, metavar="TASK")
    parser.add_argument("--labels", nargs="+", type=int, default=list(LABELS))
    parser.add_argument("--draws", nargs="+", type=int, default=list(DRAWS))
    parser.add_argument("--minutes", type=float, default=float("inf"))
    parser.add_argument(
        "--budget", default="2m", type=in_seconds, help="of fit, and AutoGluon's limit"
    )
    parser.add_argument("--autogluon", type=Path, help="the Python of an environment with it")
    parser.add_argument("--semilearn", action="store_true")
    parser.add_argument("--note", help="what was particular, such as 'beside other work'")
    parser.add_argument("--peers-only", action="store_true")
    parser.add_argument("--fit-only", action="store_true")
    parser.add_argument("--page", action="store_true", help="measure nothing")
    options = parser.parse_args(arguments)
    if options.fetch:
        try:
            fetch(options.data)
        except TacitaError as error:
            parser.exit(1, f"{error}\n")
        return
    if not options.page:
        run(options)
    write_text(PAGE, page(read_record()))


if __name__ == "__main__":
    main()
