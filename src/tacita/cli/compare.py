"""`tacita compare`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

import tacita
from tacita.cli.checks import check_budget, checked_contestants
from tacita.cli.options import (
    READING,
    RUNNING,
    Data,
    Draws,
    LabelsPerClass,
    Metric,
    Start,
    Test,
    Unlabelled,
    with_options,
)


@with_options(READING, RUNNING)
def compare(
    data: Data,
    methods: Annotated[
        str, typer.Option(help="Recipes, YAML files and methods to compare, joined by commas.")
    ],
    start: Start = None,
    test: Test = None,
    unlabelled: Unlabelled = None,
    labels_per_class: LabelsPerClass = None,
    draws: Draws = None,
    metric: Metric = None,
    **options: Any,
) -> None:
    """Run several methods on the same splits, ranked.

    Methods that pretrain are compared with each other, and need no labels.

    \b
    tacita compare photos/ --methods fixmatch,supervised,random-forest
    tacita compare photos/ --methods barlow-twins,simclr,vicreg --budget 30m
    tacita compare sensors.csv --labels state --methods mine.yaml,minirocket --budget 10m
    """
    check_budget(options["budget"])
    contestants = checked_contestants(methods, options["modality"])
    tacita.compare(
        data,
        contestants,
        start=start,
        test=test,
        unlabelled=unlabelled,
        labels_per_class=labels_per_class,
        draws=draws,
        metric=metric,
        **options,
    )
