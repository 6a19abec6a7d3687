"""`tacita report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import tacita
from tacita.cli.options import ModelFolder


def report(
    run: ModelFolder,
    out: Annotated[Path | None, typer.Option(help="By default report.html in the run.")] = None,
) -> None:
    """Write the report of a run again, as one HTML page.

    \b
    tacita report runs/photos
    tacita report runs/photos --out photos.html
    """
    print(tacita.Model.load(run).write_report(out))
