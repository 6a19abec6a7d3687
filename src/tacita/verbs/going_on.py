"""A pretraining that goes on with new data, where its run kept the state before its anneal."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from tacita.catalog.recipe import Recipe
from tacita.data.dataset import Dataset, check_alike, joined
from tacita.data.reading import Reading
from tacita.errors import ConfigError
from tacita.model.build import training_options
from tacita.model.model import Model
from tacita.verbs.common import read_dataset
from tacita.verbs.folder import STATE


def state_of(first: Model, recipe: Recipe) -> Path | None:
    """Where a run's state is that the recipe goes on from; None where it starts anew from the encoder.

    It goes on where the method is the same and the recipe does not name another schedule.
    """
    then, now = first.recipe.pretrain, recipe.pretrain
    if first.folder is None or then is None or now is None or then.method != now.method:
        return None
    path = first.folder / STATE
    goes_on = now.train.get("schedule", "infinite") == "infinite"
    return path if goes_on and first.recipe.learn is None and path.is_file() else None


def going_on(first: Model, recipe: Recipe) -> Recipe:
    """The recipe with all options of the run that it goes on from, where it gives no others."""
    then, now = first.recipe.pretrain, recipe.pretrain
    assert then is not None
    assert now is not None
    options, train = {**then.options, **now.options}, {**then.train, **now.train}
    section = now.model_copy(update={"options": options, "train": train})
    return recipe.model_copy(update={"pretrain": section})


def kept_at(recipe: Recipe, checkpoint: Path) -> Path | None:
    """Where a run keeps its state while it trains: with its checkpoint, if its schedule has no end."""
    endless = training_options(recipe, "pretrain").get("schedule") == "infinite"
    return checkpoint.with_name(STATE) if endless else None


def check_apart(out: str | Path | None, state: Path) -> None:
    """Raise `ConfigError` where a run would replace the one that it goes on from."""
    if out is not None and Path(out).resolve() == state.parent.resolve():
        raise ConfigError(
            f"--out {out} is the run to go on from, which stays as it is.",
            remedy="Choose another --out.",
        )


def read_past(replay: Any, reading: Reading) -> Dataset:
    """Earlier data from one source or a list of them, as one data set without labels."""
    sources = replay if isinstance(replay, list | tuple) else [replay]
    # No label of earlier data is needed, and they may be of another task.
    reading = replace(reading, task=None)
    read = [read_dataset(source, None, reading) for source in sources]
    for other in read[1:]:
        check_alike(read[0], other)
    return read[0] if len(read) == 1 else joined(read)
