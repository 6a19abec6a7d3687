"""Which tasks there are: read from the sources of their room, without importing any of them.

To add a task is to add one file with a class under `@task(...)`; nothing is listed twice. A task that
is defined elsewhere, in a notebook, counts from when its class is made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from tacita.catalog.sources import decorated, read_card
from tacita.errors import ConfigError

ClassT = TypeVar("ClassT", bound=type[Any])
ROOM = Path(__file__).parents[1] / "tasks"


@dataclass(frozen=True)
class TaskCard:
    """What the catalog knows of one task.

    learnt_as: another task, such that whatever learns that one learns this one too.
    target: where its class is, as `module:Class`.
    apart: whether only methods that name it on their card learn it, and none that learn any task.
    """

    name: str
    learnt_as: str = ""
    target: str = ""
    apart: bool = False


TASKS: dict[str, tuple[TaskCard, type[Any]]] = {}
"""The tasks whose modules have been imported."""


def task(name: str, *, learnt_as: str = "", apart: bool = False) -> Callable[[ClassT], ClassT]:
    """Name a task's class; every argument is a literal. The fields are those of `TaskCard`.

    Raises `ConfigError` where another class already has the name.

    >>> @task("naming")
    ... class Naming: ...
    >>> TASKS.pop("naming")[1].name
    'naming'
    """

    def register(cls: ClassT) -> ClassT:
        card = TaskCard(name, learnt_as, f"{cls.__module__}:{cls.__qualname__}", apart)
        # The same class defined again is a notebook cell run twice; another one is a mistake.
        known = task_cards().get(name)
        if known is not None and known.target != card.target:
            raise ConfigError(
                f"{name!r} is the name of both {known.target} and {card.target}.",
                remedy="Give one of them another name in @task(...).",
            )
        cls.name = name
        TASKS[name] = card, cls
        return cls

    return register


def task_cards() -> dict[str, TaskCard]:
    """Every task's card by its name: those of the house, then those that a user has defined."""
    return {**_scan(ROOM), **{name: card for name, (card, _) in TASKS.items()}}


@cache
def _scan(room: Path) -> Mapping[str, TaskCard]:
    found = {}
    for path in sorted(room.glob("*.py")):
        module = f"{room.parent.name}.{room.name}.{path.stem}"
        for node, call in decorated(path, "task"):
            card = read_card(TaskCard, call, node, path, target=f"{module}:{node.name}")
            found[card.name] = card
    return found
