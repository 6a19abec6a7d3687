"""`tacita label-next`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

import tacita
from tacita.cli.options import Data, EscapeFormulas, ModelFolder
from tacita.words import Shown


def label_next(
    model: ModelFolder,
    data: Data,
    count: Annotated[int, typer.Option(min=1, help="How many samples to choose.")] = 20,
    out: Annotated[
        Path | None, typer.Option(help="A CSV file (by default the screen), for --labels later.")
    ] = None,
    escape_formulas: EscapeFormulas = False,
) -> None:
    """Choose which samples to label next.

    They are uncertain, and unlike each other. The CSV has an empty column
    `label`: fill it in and give the file with --labels.

    \b
    tacita label-next runs/photos photos/ --count 20 --out next.csv
    tacita label-next runs/sensors sensors.csv --count 5
    """
    from tacita.verbs.label_next import as_csv

    picks = tacita.label_next(model, data, count=count, out=out, escape_formulas=escape_formulas)
    if out is None:
        Shown(sys.stdout).write(as_csv(picks, escape_formulas=escape_formulas))
    print(f"{len(picks)} samples to label", file=sys.stderr)
