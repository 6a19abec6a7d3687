"""`labels.json`: what goes into a model and what comes out, and a data set of that form.

What stands in it decides what memory is taken when a model is loaded, so every size is bounded
before it is used.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tacita.data.dataset import Dataset
from tacita.data.learnt import MOST, PATTERN
from tacita.data.modality import find
from tacita.errors import CheckpointError, ConfigError
from tacita.files import read_json, wrong_field
from tacita.learner import Learner
from tacita.tasks import task_of

FORMAT = 2
MOST_NUMBERS = 2**28
"""That one sample may have."""
DAMAGED = "The folder is damaged; use it as it was saved."


class LabelsFile(BaseModel):
    """The fields of the file: what the samples are, by their modality's own facts, and the task.

    learnt: the samples whose labels were learnt, as of `tacita.data.learnt.Learnt`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: int
    modality: str
    meta: dict[str, Any]
    task: str
    facts: dict[str, Any]
    learnt: Annotated[str, Field(pattern=PATTERN, max_length=16 * MOST)] = ""


class _Version(BaseModel):
    format: Annotated[int, Field(ge=0, lt=2**31)]


def labels_file_of(learner: Learner) -> LabelsFile:
    """What a fitted learner was given and predicts."""
    meta, task = learner.data_.meta, learner.task_
    return LabelsFile(
        format=FORMAT,
        modality=meta.modality,
        meta=meta.model_dump(mode="json"),
        task=task.name,
        facts=asdict(task),
        learnt=learner.learnt_.text,
    )


def check_format(path: Path) -> None:
    """Raise `CheckpointError` for a file of another version, before anything else in it is looked at."""
    found = read_json(_Version, path, remedy=DAMAGED).format
    if found != FORMAT:
        newer = "newer" if found > FORMAT else "older"
        raise CheckpointError(
            f"{path}: format {found}; this version reads format {FORMAT}.",
            remedy=f"It was written by a{'n' * (newer == 'older')} {newer} tacita: "
            "load it with the version that metrics.json names under versions.",
        )


def empty_dataset(folder: Path, labels: LabelsFile) -> Dataset:
    """A data set of no samples that looks like the training data did."""
    path = folder / "labels.json"
    try:
        meta = find(labels.modality).meta.model_validate_json(json.dumps(labels.meta))
        task = task_of(labels.task, labels.facts)
    except ValidationError as error:
        raise wrong_field(path, error, DAMAGED) from error
    except ConfigError as error:
        raise CheckpointError(f"{path}: {error.message}", remedy=error.remedy or DAMAGED) from error
    if len(meta.shape) != meta.rank or math.prod(meta.shape) > MOST_NUMBERS:
        raise CheckpointError(
            f"{path}: the shape of the input, {tuple(meta.shape)}, makes no sense.", remedy=DAMAGED
        )
    samples = meta.empty()
    return Dataset(samples, task.unlabelled(samples), meta, task, source=str(folder))
