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
    """Write the rows that a forecast asks for, with what is known ahead left to be filled in.

    Append the filled rows to the data, and predict: their targets stay empty.

    \b
    tacita future runs/sales sales.csv
    tacita future runs/sales sales.csv --out to_fill_in.csv
    """
    rows = tacita.Model.load(model).future_file(data, out, escape_formulas=escape_formulas)
    print(f"{rows} rows to come", file=sys.stderr)
