"""`tacita export`."""

from __future__ import annotations

import sys
from typing import Annotated, Literal

import typer

import tacita
from tacita.cli.options import ModelFolder, OutFile
from tacita.words import Shown


def export(
    model: ModelFolder,
    out: OutFile,
    format: Annotated[Literal["onnx", "torch"], typer.Option(help="Of the file.")] = "onnx",
) -> None:
    """Export a model, to run without tacita.

    The exported model is checked to give the same output.

    \b
    tacita export runs/photos --out photos.onnx
    tacita export runs/photos --format torch --out photos.pt2
    """
    Shown(sys.stdout).write(f"{tacita.Model.load(model).export(out, format)}\n")
