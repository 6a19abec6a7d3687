"""`tacita predict`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

import tacita
from tacita.cli.options import AsJson, Data, EscapeFormulas, ModelFolder, Strict


def predict(
    model: ModelFolder,
    data: Data,
    out: Annotated[
        Path | None,
        typer.Option(help="A CSV file (by default the screen); for volumes a folder, or a .npz."),
    ] = None,
    proba: Annotated[bool, typer.Option("--proba", help="A probability a class as well.")] = False,
    strict: Strict = False,
    as_json: AsJson = False,
    escape_formulas: EscapeFormulas = False,
) -> None:
    """Predict a label for every sample.

    \b
    tacita predict runs/photos new_photos/
    tacita predict runs/sensors new.csv --proba --out predicted.csv
    """
    rows = tacita.Model.load(model).predict_file(
        data, out, proba, strict=strict, as_json=as_json, escape_formulas=escape_formulas
    )
    print(f"{rows} rows predicted", file=sys.stderr)
