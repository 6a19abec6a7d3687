"""`labels.json`: what goes into a model and what comes out, and a data set of that form.

What stands in it decides what memory is taken when a model is loaded, so every size is bounded
before it is used.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from tacita.data.dataset import Dataset
from tacita.data.modality import find
from tacita.errors import CheckpointError, ConfigError
from tacita.learner import Learner
from tacita.tasks import task_of

FORMAT = 2
LARGEST_JSON = 64 * 2**20
MOST_NUMBERS = 2**28
"""That one sample may have."""
DAMAGED = "The folder is damaged; use it as it was saved."
ModelT = TypeVar("ModelT", bound=BaseModel)


class LabelsFile(BaseModel):
    """The fields of the file: what the samples are, by their modality's own facts, and the task."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: int
    modality: str
    meta: dict[str, Any]
    task: str
    facts: dict[str, Any]


def labels_file_of(learner: Learner) -> LabelsFile:
    """What a fitted learner was given and predicts."""
    meta, task = learner.data_.meta, learner.task_
    return LabelsFile(
        format=FORMAT,
        modality=meta.modality,
        meta=meta.model_dump(mode="json"),
        task=task.name,
        facts=asdict(task),
    )


def parse_json(kind: type[ModelT], path: Path) -> ModelT:
    """Read a JSON file into a checked model; raises `CheckpointError` naming the field."""
    try:
        if path.stat().st_size > LARGEST_JSON:
            raise CheckpointError(f"{path}: larger than {LARGEST_JSON} bytes.", remedy=DAMAGED)
        return kind.model_validate_json(path.read_bytes())
    except OSError as error:
        raise CheckpointError(
            f"{path}: cannot be read ({error.strerror}).", remedy=DAMAGED
        ) from error
    except ValidationError as error:
        raise _wrong(path, error) from error


def empty_dataset(folder: Path, labels: LabelsFile) -> Dataset:
    """A data set of no samples that looks like the training data did."""
    path = folder / "labels.json"
    try:
        meta = find(labels.modality).meta.model_validate_json(json.dumps(labels.meta))
        task = task_of(labels.task, labels.facts)
    except ValidationError as error:
        raise _wrong(path, error) from error
    except ConfigError as error:
        raise CheckpointError(f"{path}: {error.message}", remedy=error.remedy or DAMAGED) from error
    if len(meta.shape) != meta.rank or math.prod(meta.shape) > MOST_NUMBERS:
        raise CheckpointError(
            f"{path}: the shape of the input, {tuple(meta.shape)}, makes no sense.", remedy=DAMAGED
        )
    samples = meta.empty()
    return Dataset(samples, task.unlabelled(samples), meta, task, source=str(folder))


def _wrong(path: Path, error: ValidationError) -> CheckpointError:
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"]) or "file"
    return CheckpointError(f"{path}: {where}: {first['msg']}.", remedy=DAMAGED)
