"""How soon the command line answers: `tacita --help` against an empty program of the same libraries."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

from benchmarks.timing import Result, side_by_side

BARE = "import rich.console, typer; typer.Typer()"
HELP = "from tacita.cli import main; main(['--help'])"


def run() -> list[Result]:
    """Whole processes, from their start to their end."""
    times = side_by_side(process(HELP), process(BARE))
    return [Result("tacita --help", "python that imports typer and rich", *times, "")]


def process(script: str) -> Callable[[], object]:
    """One run of Python in a process of its own."""
    return lambda: subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
