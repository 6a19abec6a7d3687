"""What is to be predicted: a file a task, which owns all that is particular to it.

Nothing else in the house asks which task it has to do with: it asks the task. A new task is a file
here with a class under `@task(...)` and nothing more: see `docs/add-a-task.md`.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from tacita.catalog.tasks import TASKS, task
from tacita.errors import ConfigError
from tacita.tasks.base import Fact, Part, Task, full_precision, weighted_mean
from tacita.tasks.classification import Classification, require_classes
from tacita.tasks.coded import Coded, OneClass, require_one_class
from tacita.tasks.declared import Declared
from tacita.tasks.forecast import Forecast, require_forecast
from tacita.tasks.labels import UNLABELLED
from tacita.tasks.number import Number, require_number
from tacita.tasks.open_set import UNKNOWN, OpenSet
from tacita.tasks.ordinal import Ordinal, quadratic_kappa
from tacita.tasks.regression import Regression
from tacita.tasks.segmentation import Segmentation, dice_loss, require_voxels
from tacita.tasks.sequence_labels import SequenceLabels
from tacita.tasks.sequence_regression import SequenceRegression
from tacita.tasks.shown import Shown, Writer
from tacita.tasks.step_labels import StepLabels, step_labels
from tacita.tasks.steps import Steps, require_steps
from tacita.values import Values
from tacita.windows import Windows
from tacita.words import nearest

for _found in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_found.name}")


def kinds() -> dict[str, type[Task]]:
    """Every task's class by its name: those of the house, then those that a user has defined."""
    return {name: cls for name, (_, cls) in TASKS.items()}


def kind_of(name: str) -> type[Task]:
    """The class of one task. Raises `ConfigError` with the nearest name if there is none.

    >>> kind_of("ordinal").metric
    'quadratic_kappa'
    """
    known = kinds()
    if name not in known:
        near = nearest(name, known)
        raise ConfigError(
            f"task={name!r} is not a task.",
            remedy=f"Did you mean {near!r}?"
            if near
            else f"Tasks: {', '.join(known)}; import the file of one of your own first.",
        )
    return known[name]


def is_stepwise(name: str | None) -> bool:
    """Whether labels of a task, if one is named, are one a time step."""
    return name is not None and kind_of(name).stepwise


def encode(raw: Any, name: str | None, samples: Values, source: str) -> tuple[Values, Task]:
    """Raw labels of samples to targets and their task: the one of this name, or the surest of them.

    Raises `ConfigError` for an order of labels that have none.

    >>> import torch
    >>> encode(["b", None, "a"], None, torch.zeros(3, 1), "example")[1].classes
    ('a', 'b')
    """
    if name is not None:
        kind = kind_of(name)
        if isinstance(raw, Declared) and raw.told and not kind.ordered:
            raise ConfigError(
                f"order={', '.join(raw.order)}, but the labels of a {name} task have no order.",
                remedy="Leave order out, or the task, which is then told from it.",
            )
        if isinstance(raw, Windows) and not kind.claims(raw):
            raise ConfigError(
                f"{source}: a horizon was given, but the task {name} forecasts nothing.",
                remedy="Leave out the task, or the horizon.",
            )
        return kind.encode(raw, samples, source)
    return max(kinds().values(), key=lambda kind: kind.claims(raw)).encode(raw, samples, source)


def task_of(name: str, facts: Mapping[str, Any]) -> Task:
    """A task from its name and its fields, such as a saved model has them.

    Raises `ConfigError` where there is no such task, or they are not its fields.

    >>> task_of("classification", {"classes": ["a", "b"]}).answers
    ('a', 'b')
    """
    try:
        return TypeAdapter(kind_of(name)).validate_python(dict(facts))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"the task {name} has {where}: {first['msg']}.") from error


__all__ = [
    "UNKNOWN",
    "UNLABELLED",
    "Classification",
    "Coded",
    "Fact",
    "Forecast",
    "Number",
    "OneClass",
    "OpenSet",
    "Ordinal",
    "Part",
    "Regression",
    "Segmentation",
    "SequenceLabels",
    "SequenceRegression",
    "Shown",
    "StepLabels",
    "Steps",
    "Task",
    "Writer",
    "dice_loss",
    "encode",
    "full_precision",
    "is_stepwise",
    "kind_of",
    "kinds",
    "quadratic_kappa",
    "require_classes",
    "require_forecast",
    "require_number",
    "require_one_class",
    "require_steps",
    "require_voxels",
    "step_labels",
    "task",
    "task_of",
    "weighted_mean",
]
