"""From a model that is there already: its encoder, and new data as that model sees them."""

from __future__ import annotations

import hashlib
from pathlib import Path

from tacita.catalog.recipe import Recipe
from tacita.data.dataset import Dataset
from tacita.encoder import Encoder
from tacita.engine.checkpoint import add_to_digest
from tacita.errors import ConfigError
from tacita.model.build import needs_encoder
from tacita.model.model import Model
from tacita.verbs.plan import Plan


def opened(start: Model | str | Path) -> Model:
    """A model, or the one in a folder."""
    return start if isinstance(start, Model) else Model.load(start)


def started(first: Model, whole: Dataset) -> tuple[Encoder, Dataset]:
    """The encoder of a model, and the data as that model sees them.

    Raises `ConfigError` for a model without one, and data of another form.
    """
    encoder = first.learner.encoder
    if encoder is None:
        raise ConfigError(
            f"{first.recipe.name} has no encoder to start from.",
            remedy="Start from a pretrained model: tacita pretrain barlow-twins DATA",
        )
    was, now = first.schema.spec, whole.spec
    if was.modality != now.modality or was.channels != now.channels:
        raise ConfigError(
            f"The encoder was made for {was.modality} of shape {was.shape}, "
            f"but {whole.source} has {now.modality} of shape {now.shape}.",
            remedy="Pretrain on data like these.",
        )
    whole.kind.check_terms(whole, first.schema)
    return encoder, whole.normalised(first.learner.data_.normaliser)


def starting_from(first: Model, recipe: Recipe) -> Recipe:
    """The recipe with the encoder of a model; one that needs none stays as it is.

    Raises `ConfigError` where it names an encoder itself.
    """
    if recipe.encoder is not None:
        raise ConfigError(
            f"encoder={recipe.encoder.method} was given beside a model to start from.",
            remedy="Leave it out: the encoder is the model's.",
        )
    if not needs_encoder(recipe):
        return recipe
    return recipe.model_copy(update={"encoder": first.recipe.encoder})


def mark_of(first: Model | None) -> str:
    """What tells a model's encoder from any other, for the plan of a run; empty where there is none."""
    if first is None or first.learner.encoder is None:
        return ""
    digest = hashlib.sha256()
    add_to_digest(digest, first.learner.encoder.state_dict())
    return digest.hexdigest()[:16]


def check_start(plan: Plan, first: Model | None) -> None:
    """Raise `ConfigError` where a planned run began from another encoder than the one at hand."""
    if plan.start == mark_of(first):
        return
    if first is None:
        raise ConfigError(
            "The run started from the encoder of a model, which is not given.",
            remedy="Give the same model with --from (start= in Python).",
        )
    began = "from the encoder of another model" if plan.start else "from no model"
    raise ConfigError(
        f"The run started {began}.",
        remedy="Give what it was started with, or start anew without --resume.",
    )
