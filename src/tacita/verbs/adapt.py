"""Adapting as a verb: one method learns from the labels, on top of a pretrained encoder or not."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Unpack, overload

import torch

from tacita.adapt.trained import Trained
from tacita.catalog.options import taking
from tacita.catalog.recipe import Recipe, recipe_from_options
from tacita.data.check import check_trainable
from tacita.data.dataset import Dataset
from tacita.data.reading import Reading
from tacita.data.splits import HELD_OUT, cross_validation, enough_to_hold_out, hold_out
from tacita.engine.history import History
from tacita.errors import ConfigError, DataError
from tacita.model.build import encoder_for, learner_for, needs_encoder
from tacita.model.model import Model
from tacita.verbs.common import read_dataset, told_with_method, with_unlabelled
from tacita.verbs.one_training import Made, run_one
from tacita.verbs.options import Running, VerbOptions
from tacita.verbs.screen import Screen
from tacita.verbs.start import opened, started, starting_from


@overload
def adapt(
    method: str,
    data: Any,
    y: Any = None,
    *,
    start: Model | str | Path | None = None,
    unlabelled: Any = None,
    **options: Unpack[VerbOptions],
) -> Model: ...


@overload
def adapt(
    method: str,
    data: Any,
    y: Any = None,
    *,
    start: Model | str | Path | None = None,
    unlabelled: Any = None,
    **options: Any,
) -> Model: ...


@taking(Reading, Running)
def adapt(
    method: str,
    data: Any,
    y: Any = None,
    *,
    start: Model | str | Path | None = None,
    unlabelled: Any = None,
    **options: Any,
) -> Model:
    """Learn from the labels with one method, from a pretrained encoder on where `start` gives one.

    start: a model or its folder. Its encoder and its normaliser are used; neither is changed.
    unlabelled: further samples of the same form; their labels, if they have any, are not looked at.
    `options`: as in `tacita.pretrain`. Labels that suffice are held out for a figure; of fewer, each is
        predicted by a model of the same method, from the same encoder, that was trained without it.

    >>> import tacita
    >>> model = tacita.adapt("knn", tacita.load("wine"), encoder="feature-tokens", quiet=True)
    >>> model.metrics.held_out["accuracy"] > 0.8
    True
    """
    reading, running, settings = told_with_method(adapt, method, options)
    whole = read_dataset(data, y, reading)
    whole = with_unlabelled(whole, unlabelled, Screen(quiet=running.quiet))
    check_trainable(whole, fewest=1)
    recipe = recipe_from_options("learn", method, settings, running.seed)
    encoder = None
    first = None if start is None else opened(start)
    if first is not None:
        encoder, whole = started(first, whole)
        recipe = starting_from(first, recipe)
        if recipe.encoder is None:
            raise ConfigError(
                f"{method} has no encoder, so it starts from none.",
                remedy="Leave --from (start=) out, or name a method with an encoder, such as fine-tune.",
            )
    held, folds = None, []
    if enough_to_hold_out(whole):
        _, aside = hold_out(whole, HELD_OUT, running.seed)
        outside = torch.isin(torch.arange(len(whole)), aside)
        held, whole = whole.subset(aside), whole.subset(~outside)
    else:
        reason = "fewer than two classes have two labels."
        try:
            folds = cross_validation(whole, running.seed)
        except DataError as error:
            reason = error.message
        if not folds:
            Screen(quiet=running.quiet).warning(f"no score: {reason}")
    if whole.normaliser is None:
        whole = whole.normalised()

    def make(recipe: Recipe, pool: Dataset, engine: dict[str, Any]) -> Made:
        begin = None
        if needs_encoder(recipe):
            begin = encoder or encoder_for(recipe, pool.spec)
        alarm = Screen(quiet=running.quiet).warning
        learner = learner_for(recipe, begin, engine, alarm).fit(pool, seed=running.seed)
        return Made(learner, learner.history_ if isinstance(learner, Trained) else History(0))

    return run_one(data, recipe, whole, running, make, held=held, folds=folds, start=first)
