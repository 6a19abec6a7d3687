"""`tacita methods`."""

from __future__ import annotations

import shutil
import sys
from typing import Annotated

import typer

from tacita.catalog.cards import FAMILIES, LabelSituation
from tacita.catalog.tasks import task_cards
from tacita.cli.checks import check_choice


def methods(
    query: Annotated[
        list[str] | None, typer.Argument(metavar="WORD", help="Words to look for.")
    ] = None,
    task: Annotated[str | None, typer.Option(help="classification, regression, ...")] = None,
    modality: Annotated[str | None, typer.Option(help="images, series, tables, ...")] = None,
    labels: Annotated[
        LabelSituation | None, typer.Option(help="How many labels there are.")
    ] = None,
    family: Annotated[str | None, typer.Option(help="encoder, pretrain, adapt, ...")] = None,
) -> None:
    """List the methods, or search for some by words.

    \b
    tacita methods
    tacita methods masked reconstruction --modality series
    """
    from tacita.catalog import discover, pages

    check_choice("task", task, tuple(task_cards()))
    check_choice("modality", modality, tuple(discover.modalities()))
    check_choice("family", family, FAMILIES)
    found = discover.search(
        " ".join(query or []), family=family, modality=modality, labels=labels, task=task
    )
    if not found:
        print("no method matches; `tacita methods` lists all of them.", file=sys.stderr)
        return
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    print(pages.method_list(found, width))
