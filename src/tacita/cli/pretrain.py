"""`tacita pretrain`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

import tacita
from tacita.cli.checks import check_budget, checked_settings
from tacita.cli.options import READING, RUNNING, Data, Method, Settings, Start, with_options


@with_options(READING, RUNNING)
def pretrain(
    method: Method,
    data: Data,
    settings: Settings = None,
    start: Start = None,
    replay: Annotated[
        list[str] | None,
        typer.Option(
            metavar="DATA", help="Earlier data to mix into every batch; may be given several times."
        ),
    ] = None,
    **options: Any,
) -> None:
    """Pretrain an encoder on all of the data, without labels.

    Labels, if there are any, are only used to see how good its features are.

    With --from, the encoder of that run is trained on. Where data come one set after another, begin
    with schedule=infinite: the run keeps its state before the last steps make the model ready for use
    (constant.safetensors), and --from with the same method goes on from there, at a constant rate and
    with all of its options; --replay keeps earlier data in mind. That run is never changed.

    \b
    tacita pretrain mae photos/ steps=2000 schedule=infinite encoder=vit encoder.depth=6
    tacita pretrain mae new_photos/ --from runs/photos --replay photos/ replay_share=0.05
    """
    check_budget(options["budget"])
    checked = checked_settings("pretrain", method, settings, options["modality"])
    tacita.pretrain(method, data, start=start, replay=replay, **options, **checked)
