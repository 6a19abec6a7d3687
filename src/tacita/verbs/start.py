"""From a model that is there already: its encoder, and new data as that model sees them."""

from __future__ import annotations

from pathlib import Path

from tacita.catalog.recipe import Recipe
from tacita.data.dataset import Dataset
from tacita.encoder import Encoder
from tacita.errors import ConfigError
from tacita.model.model import Model


def opened(start: Model | str | Path) -> Model:
    """A model, or the one in a folder."""
    return start if isinstance(start, Model) else Model.load(start)


def started(first: Model, whole: Dataset, recipe: Recipe) -> tuple[Encoder, Dataset]:
    """The encoder of a model, and the data as that model sees them.

    Raises `ConfigError` for a model without one, a recipe that names another, and data of another form.
    """
    if recipe.encoder is not None:
        raise ConfigError(
            f"encoder={recipe.encoder.method} was given beside a model to start from.",
            remedy="Leave it out: the encoder is the model's.",
        )
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
