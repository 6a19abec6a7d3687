"""From a recipe to what it describes: an encoder, a pretrained encoder, a learner."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from tacita.adapt.trained import Trained
from tacita.audit.health.rankme import RankMe
from tacita.catalog import discover
from tacita.catalog.recipe import Recipe, Section
from tacita.data.batch import InputSpec
from tacita.data.dataset import Dataset
from tacita.encoder import Encoder
from tacita.encoders import build as build_encoder
from tacita.engine.history import Callback, History
from tacita.engine.train import train
from tacita.errors import ConfigError
from tacita.learner import EncoderOnly, Learner
from tacita.model.ensemble import Ensemble, member_name
from tacita.objective import Objective


def encoder_for(recipe: Recipe, spec: InputSpec) -> Encoder:
    """A resolved recipe's encoder with weights drawn from the recipe's seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        assert recipe.encoder is not None
        return build_encoder(recipe.encoder.method, spec, **recipe.arguments("encoder"))


def pretraining_for(recipe: Recipe, encoder: Encoder) -> Objective[Any]:
    """The recipe's self-supervised objective around an encoder."""
    assert recipe.pretrain is not None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        cls = discover.load_class(recipe.pretrain.method)
        return cls(encoder, **recipe.arguments("pretrain"))


def pretrain_encoder(
    recipe: Recipe,
    data: Dataset,
    *,
    encoder: Encoder | None = None,
    alarm: Callable[[str], object] = warnings.warn,
    callbacks: Sequence[Callback] = (),
    **run: Any,
) -> tuple[Encoder, Objective[Any], History]:
    """Train the recipe's encoder without labels, from random weights or from a given encoder's.

    The rank of the embeddings stands in the history; `alarm` is told where it breaks down. `run`
    goes to `train`: device, checkpoint, ...
    """
    objective = pretraining_for(recipe, encoder or encoder_for(recipe, data.spec))
    # It comes first, so that the others are told of the rank too.
    watched: list[Callback] = [RankMe(objective, data, alarm=alarm), *callbacks]
    options = training_options(recipe, "pretrain")
    history = train(objective, data, **options, **run, callbacks=watched)
    return objective.encoder, objective, history


def training_options(recipe: Recipe, key: str) -> dict[str, Any]:
    """What the engine is told for one section: the method's own options, then the recipe's."""
    section: Section = recipe.sections[key]
    cls = discover.load_class(section.method)
    return {**getattr(cls, "engine_defaults", {}), **recipe.training(key), "seed": recipe.seed}


def trains(recipe: Recipe, key: str) -> bool:
    """Whether a section's method is trained by steps."""
    if key not in recipe.sections or key == "encoder":
        return False
    cls = discover.load_class(recipe.sections[key].method)
    return issubclass(cls, Objective | Trained)


def learner_for(
    recipe: Recipe,
    encoder: Encoder | None,
    run: Mapping[str, Any] | None = None,
    alarm: Callable[[str], object] = warnings.warn,
) -> Learner:
    """The recipe's learner around an encoder (None where it needs none); else as in `pretrain_encoder`."""
    if recipe.learn is None:
        assert encoder is not None
        return EncoderOnly(encoder)
    cls = discover.load_class(recipe.learn.method)
    options = recipe.arguments("learn")
    if encoder is None:
        return cls(**options)
    if not trains(recipe, "learn"):
        if recipe.learn.train:
            raise ConfigError(f"learn.train: {recipe.learn.method} is not trained by steps.")
        return cls(encoder, **options)
    training = {**training_options(recipe, "learn"), **(run or {})}
    training.pop("seed")
    if issubclass(cls, Objective):
        return Trained(encoder, cls, options=options, engine=training, alarm=alarm)
    return cls(encoder, **options, engine=training)


def unfitted(recipe: Recipe, spec: InputSpec) -> Learner:
    """The recipe's learner with an untrained encoder, if it has one; an ensemble's with all its members."""
    if recipe.members is not None:
        learners = [unfitted(each.recipe, spec) for each in recipe.members]
        return ensemble_of(recipe, learners)
    return learner_for(recipe, encoder_for(recipe, spec) if needs_encoder(recipe) else None)


def ensemble_of(recipe: Recipe, learners: Sequence[Learner]) -> Ensemble:
    """An ensemble's learners, fitted or not, as one."""
    assert recipe.members is not None
    weights = [each.weight for each in recipe.members]
    return Ensemble(learners, weights, [each.temperature for each in recipe.members])


def needs_encoder(recipe: Recipe) -> bool:
    """Whether the recipe has an encoder; a baseline and others that take samples as they are have none."""
    if recipe.members is not None:
        return False
    return recipe.learn is None or discover.get(recipe.learn.method).needs_encoder


def kept_files(recipe: Recipe) -> tuple[str, ...]:
    """The files that the recipe's learner keeps in a model's folder beside its tensors."""
    if recipe.members is not None:
        named = ((member_name(number), each) for number, each in enumerate(recipe.members))
        return tuple(f"{name}/{file}" for name, each in named for file in kept_files(each.recipe))
    if recipe.learn is None:
        return ()
    files: tuple[str, ...] = getattr(discover.load_class(recipe.learn.method), "files", ())
    return files


def is_baseline(recipe: Recipe) -> bool:
    """Whether the recipe's learner is one that a user would have tried instead."""
    return recipe.learn is not None and discover.get(recipe.learn.method).family == "baseline"


def uses_unlabelled(recipe: Recipe) -> bool:
    """Whether it learns from samples without a label: by pretraining, or beside the labelled ones."""
    if recipe.members is not None:
        return any(uses_unlabelled(each.recipe) for each in recipe.members)
    if recipe.pretrain is not None or recipe.learn is None:
        return recipe.pretrain is not None
    return getattr(discover.load_class(recipe.learn.method), "reads", "") == "both"
