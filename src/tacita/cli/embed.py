"""`tacita embed`."""

from __future__ import annotations

import sys

import tacita
from tacita.cli.options import Data, EscapeFormulas, ModelFolder, OutFile, Strict
from tacita.words import printable


def embed(
    model: ModelFolder,
    data: Data,
    out: OutFile,
    strict: Strict = False,
    escape_formulas: EscapeFormulas = False,
) -> None:
    """Write the features of every sample to a file.

    \b
    tacita embed runs/photos photos/ --out features.npy
    tacita embed runs/sensors new.csv --out features.parquet
    """
    rows = tacita.Model.load(model).embed_file(
        data, out, strict=strict, escape_formulas=escape_formulas
    )
    print(printable(f"{rows} rows of features: {out}"), file=sys.stderr)
