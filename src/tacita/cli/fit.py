"""`tacita fit`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

import tacita
from tacita.cli.checks import check_budget, check_recipe, settings_of_recipe
from tacita.cli.options import (
    READING,
    RUNNING,
    Data,
    Draws,
    LabelsPerClass,
    Metric,
    Settings,
    Start,
    Test,
    Unlabelled,
    with_options,
)


@with_options(READING, RUNNING)
def fit(
    data: Data,
    settings: Settings = None,
    recipe: Annotated[
        str, typer.Option(help="auto, a recipe, a YAML file, or a run to repeat.")
    ] = "auto",
    start: Start = None,
    test: Test = None,
    unlabelled: Unlabelled = None,
    labels_per_class: LabelsPerClass = None,
    draws: Draws = None,
    metric: Metric = None,
    **options: Any,
) -> None:
    """Compare what could learn from the data, and keep the best.

    \b
    tacita fit photos/ --budget 5m --out runs/photos
    tacita fit sensors.csv --labels state --group machine
    tacita fit sensors.csv --labels state --recipe supervised patience=5
    """
    check_budget(options["budget"])
    checked = {}
    if settings:
        checked = settings_of_recipe(recipe, settings, options["modality"])
    elif recipe != "auto":
        check_recipe(recipe, options["modality"])
    tacita.fit(
        data,
        recipe=recipe,
        start=start,
        test=test,
        unlabelled=unlabelled,
        labels_per_class=labels_per_class,
        draws=draws,
        metric=metric,
        **options,
        **checked,
    )
