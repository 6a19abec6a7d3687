"""`tacita evaluate`."""

from __future__ import annotations

import json

import tacita
from tacita.cli.options import AsJson, Data, Labels, ModelFolder, Strict


def evaluate(
    model: ModelFolder,
    data: Data,
    labels: Labels = None,
    strict: Strict = False,
    as_json: AsJson = False,
) -> None:
    """Score a model on samples with labels.

    \b
    tacita evaluate runs/photos held_out/
    tacita evaluate runs/sensors test.csv --labels state
    """
    scores = tacita.Model.load(model).evaluate_file(data, labels, strict=strict)
    if as_json:
        print(json.dumps(scores))
        return
    width = max(map(len, scores), default=0)
    for name, value in scores.items():
        print(f"{name:{width}}  {value:.4f}")
