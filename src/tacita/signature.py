"""`labels.json`: what goes into a model and what comes out, and a data set of that form.

What stands in it decides what memory is taken when a model is loaded, so every size is bounded
before it is used.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, TypeVar

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tacita.data.batch import InputSpec, Missing, Modality
from tacita.data.dataset import Dataset
from tacita.errors import CheckpointError
from tacita.learner import Learner
from tacita.tasks import TASKS, Regression

FORMAT = 1
LARGEST_JSON = 64 * 2**20
DAMAGED = "The folder is damaged; use it as it was saved."
ModelT = TypeVar("ModelT", bound=BaseModel)


Millimetres = Annotated[float, Field(ge=1e-3, le=1e3)]


class Signature(BaseModel):
    """The fields of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: int
    task: str
    classes: list[str] = Field(max_length=1_000_000)
    mean: float = 0.0
    std: float = 1.0
    modality: Modality
    shape: list[int] = Field(min_length=1, max_length=4)
    unequal: bool = False
    """Whether series come with their lengths."""
    cardinalities: list[int] = Field(max_length=1_000_000)
    columns: list[str]
    categories: list[list[str]]
    target: str | None = None
    group: str | None = None
    id_column: str | None = None
    missing: Missing = "refuse"
    bytes: bool = False
    series_id: str | None = None
    time: str | None = None
    step: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    spacing: tuple[Millimetres, Millimetres, Millimetres] | None = None
    rates: list[int] = Field(default_factory=list, max_length=100_000)


def signature_of(learner: Learner) -> Signature:
    """What a fitted learner was given and predicts."""
    schema, task = learner.data_.schema, learner.task_
    return Signature(
        format=FORMAT,
        task=task.name,
        classes=list(task.classes),
        mean=getattr(task, "mean", 0.0),
        std=getattr(task, "std", 1.0),
        modality=schema.spec.modality,
        shape=list(schema.spec.shape),
        unequal=learner.data_.lengths is not None,
        cardinalities=list(schema.spec.cardinalities),
        columns=list(schema.columns),
        categories=[list(names) for names in schema.categories],
        target=schema.target,
        group=schema.group,
        id_column=schema.id_column,
        missing=schema.missing,
        bytes=schema.bytes,
        series_id=schema.series_id,
        time=schema.time,
        step=schema.step,
        spacing=schema.spacing,
        rates=list(schema.spec.rates),
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
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "file"
        raise CheckpointError(f"{path}: {where}: {first['msg']}.", remedy=DAMAGED) from error


def empty_dataset(folder: Path, signature: Signature) -> tuple[InputSpec, Dataset]:
    """A data set of no samples that looks like the training data did."""
    shape = tuple(signature.shape)
    ranks = {"images": 3, "volumes": 4, "series": 2, "tables": 1}
    kinds = TASKS.get(signature.task)
    fits = (
        kinds is not None
        and len(shape) == ranks.get(signature.modality)
        and all(1 <= size <= 2**24 for size in shape)
        and math.prod(shape) <= 2**28
        and all(0 <= size <= 2**24 for size in signature.cardinalities)
        and math.isfinite(signature.mean)
        and math.isfinite(signature.std)
        and _columns_fit(signature)
        and _rates_fit(signature)
        and signature.std > 0
    )
    if not fits or kinds is None:
        raise CheckpointError(
            f"{folder / 'labels.json'}: the task or the shape of the input makes no sense.",
            remedy=DAMAGED,
        )
    task = (
        Regression(mean=signature.mean, std=signature.std)
        if kinds is Regression
        else kinds(tuple(signature.classes))
    )
    rates = tuple(signature.rates)
    spec = InputSpec(signature.modality, shape, tuple(signature.cardinalities), rates)
    x = torch.zeros(0, *shape, dtype=torch.uint8 if signature.bytes else torch.float32)
    dense = shape[1:] if task.coded and not task.discrete else ()
    y = torch.zeros(0, *dense, dtype=torch.int64 if task.coded else torch.float32)
    return spec, Dataset(
        signature.modality,
        x,
        y,
        task,
        lengths=torch.zeros(0, dtype=torch.int64) if signature.unequal else None,
        columns=tuple(signature.columns),
        categories=tuple(tuple(names) for names in signature.categories),
        target=signature.target,
        group=signature.group,
        id_column=signature.id_column,
        missing=signature.missing,
        series_id=signature.series_id,
        time=signature.time,
        step=signature.step,
        spacing=signature.spacing,
        source=str(folder),
        rates=rates,
    )


def _rates_fit(signature: Signature) -> bool:
    """Whether rates, where there are any, share out the columns of a series."""
    if not signature.rates:
        return True
    series = signature.modality == "series"
    return series and min(signature.rates) >= 1 and sum(signature.rates) == signature.shape[-1]


def _columns_fit(signature: Signature) -> bool:
    """Whether columns, categories and cardinalities say the same of a table's width."""
    sizes = [len(names) for names in signature.categories]
    if signature.modality != "tables":
        return not sizes and not signature.cardinalities
    width = signature.shape[0]
    return (
        len(signature.cardinalities) == width
        and (sizes or [0] * width) == signature.cardinalities
        and len(signature.columns) in (0, width)
    )
