"""`tacita adapt`."""

from __future__ import annotations

from typing import Any

import tacita
from tacita.cli.checks import check_budget, checked_settings
from tacita.cli.options import (
    READING,
    RUNNING,
    Data,
    Method,
    Settings,
    Start,
    Unlabelled,
    with_options,
)


@with_options(READING, RUNNING)
def adapt(
    method: Method,
    data: Data,
    settings: Settings = None,
    start: Start = None,
    unlabelled: Unlabelled = None,
    **options: Any,
) -> None:
    """Learn from the labels, on top of a pretrained encoder or not.

    \b
    tacita adapt fine-tune sensors.npz --from runs/sensors
    tacita adapt fixmatch photos/ steps=3000 threshold=0.9
    """
    check_budget(options["budget"])
    checked = checked_settings("learn", method, settings, options["modality"])
    tacita.adapt(method, data, start=start, unlabelled=unlabelled, **options, **checked)
