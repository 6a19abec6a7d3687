"""`tacita report`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

import tacita
from tacita.cli.options import ModelFolder
from tacita.words import Shown


def report(
    run: ModelFolder,
    out: Annotated[
        Path | None, typer.Option(help="A file for a copy; by default it stays in the run.")
    ] = None,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="What it comes to, as Markdown text.")
    ] = False,
) -> None:
    """Say where the report of a run is, or write a copy of it.

    It is one HTML page; with --markdown, what it comes to as text.

    \b
    tacita report runs/photos
    tacita report runs/photos --out photos.html
    tacita report runs/photos --markdown --out photos.md
    """
    Shown(sys.stdout).write(f"{tacita.Model.load(run).report(out, markdown=markdown)}\n")
