"""Pretraining as a verb: an encoder from all samples, without a label."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, Unpack, overload

from tacita.catalog.options import taking
from tacita.catalog.recipe import Recipe, recipe_from_options
from tacita.data.dataset import Dataset
from tacita.data.reading import Reading
from tacita.learner import EncoderOnly
from tacita.model.build import pretrain_encoder
from tacita.model.model import Model
from tacita.verbs.common import read_dataset, told_with_method
from tacita.verbs.going_on import check_apart, going_on, kept_at, read_past, state_of
from tacita.verbs.one_training import Made, run_one
from tacita.verbs.options import Running, VerbOptions
from tacita.verbs.screen import Screen
from tacita.verbs.start import opened, started, starting_from


@overload
def pretrain(
    method: str,
    data: Any,
    y: Any = None,
    *,
    start: Model | str | Path | None = None,
    replay: Any = None,
    **options: Unpack[VerbOptions],
) -> Model: ...


@overload
def pretrain(
    method: str,
    data: Any,
    y: Any = None,
    *,
    start: Model | str | Path | None = None,
    replay: Any = None,
    **options: Any,
) -> Model: ...


@taking(Reading, Running)
def pretrain(
    method: str,
    data: Any,
    y: Any = None,
    *,
    start: Model | str | Path | None = None,
    replay: Any = None,
    **options: Any,
) -> Model:
    """Train an encoder on all samples without using a label; the model embeds, and can be adapted.

    start: a model or its folder, whose encoder is trained on from where it is, seeing the new data
        through its normaliser; it is not changed. (`resume` goes on with a run that was interrupted.)
        Where its run had `schedule="infinite"` and the same method, and was kept in a folder, that run
        itself goes on at its constant rate: heads, teachers, the optimiser's moments and all of its
        options, where no other is given. `schedule="cosine"` starts anew from the encoder.
    replay: earlier data, as a path, a name, samples in memory or a list of these: a share of every batch
        (`replay_share=0.1`) is drawn evenly from all of them.
    `options`: arguments of the method, of `tacita.train` (`steps`, `batch_size`, ...), `encoder`
    and `encoder.NAME`. Labels, where there are any, only serve the report. How data are read is told as
    in `tacita.load`, and how it runs as in `tacita.fit`; it raises as these do.
    """
    reading, running, settings = told_with_method(pretrain, method, options)
    whole = read_dataset(data, y, reading)
    past = None if replay is None else read_past(replay, reading)
    recipe = recipe_from_options("pretrain", method, settings, running.seed)
    encoder, state = None, None
    first = None if start is None else opened(start)
    if first is not None:
        encoder, whole = started(first, whole)
        state = state_of(first, recipe)
        if state is not None:
            check_apart(running.out, state)
            recipe = going_on(first, recipe)
        recipe = starting_from(first, recipe)
    if whole.normaliser is None:
        whole = whole.normalised()

    def make(recipe: Recipe, pool: Dataset, engine: dict[str, Any]) -> Made:
        begin = copy.deepcopy(encoder)
        alarm = Screen(quiet=running.quiet).warning
        engine |= {"start": state, "replay": past, "keep": kept_at(recipe, engine["checkpoint"])}
        trained, objective, history = pretrain_encoder(
            recipe, pool, encoder=begin, alarm=alarm, **engine
        )
        return Made(EncoderOnly(trained).fit(pool), history, objective)

    facts = {} if state is None else {"goes on": f"{state.parent} at its constant rate"}
    return run_one(data, recipe, whole, running, make, facts=facts, start=first)
