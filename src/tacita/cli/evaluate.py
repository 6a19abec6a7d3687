"""`tacita evaluate`."""

from __future__ import annotations

import math
import sys
from dataclasses import asdict

import tacita
from tacita.cli.options import AsJson, Data, Labels, ModelFolder, Strict
from tacita.files import json_text
from tacita.words import Shown, printable


def evaluate(
    model: ModelFolder,
    data: Data,
    labels: Labels = None,
    strict: Strict = False,
    as_json: AsJson = False,
) -> None:
    """Score a model on samples with labels.

    Figures of the whole, and of each class.

    \b
    tacita evaluate runs/photos held_out/
    tacita evaluate runs/sensors test.csv --labels state
    """
    from tacita.report.analysis import per_class

    loaded = tacita.Model.load(model)
    judged = loaded.judged_file(data, labels, strict=strict)
    classes = [] if judged.confusion is None else per_class(judged.confusion, loaded.task.answers)
    if as_json:
        rows = [asdict(row) for row in classes]
        whole = {**judged.scores, **({"classes": rows} if rows else {})}
        Shown(sys.stdout).write(json_text(whole) + "\n")
        return
    width = max(map(len, judged.scores), default=0)
    for name, value in judged.scores.items():
        print(f"{name:{width}}  {value:.4f}")
    if classes:
        longest = max(len("class"), *(len(row.name) for row in classes))
        print(f"\n{'class':{longest}}  precision  recall      f1  labels")
        for row in classes:
            shares = (row.precision, row.recall, row.f1)
            told = ["-" if math.isnan(share) else f"{share:.4f}" for share in shares]
            figures = f"{told[0]:>9}  {told[1]:>6}  {told[2]:>6}  {row.support:6}"
            print(printable(f"{row.name:{longest}}  {figures}"))
