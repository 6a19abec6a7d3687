"""`tacita future`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

import tacita
from tacita.cli.options import Data, EscapeFormulas, ModelFolder


def future(
    model: ModelFolder,
    data: Data,
    out: Annotated[Path | None, typer.Option(help="A CSV file; by default the screen.")] = None,
    escape_formulas: EscapeFormulas = False,
) -> None:
    """Write the rows to come of series, to be filled in.

    What is known ahead goes into them. Append them to the data, their targets empty, and predict.

    \b
    tacita future runs/sales sales.csv
    tacita future runs/sales sales.csv --out to_fill_in.csv
    """
    rows = tacita.Model.load(model).future_file(data, out, escape_formulas=escape_formulas)
    print(f"{rows} rows to come", file=sys.stderr)
