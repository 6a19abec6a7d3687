"""No file outside the room of tasks asks which task it has to do with: it asks the task.

What a method needs of a task stands on its card, or is asked by a `require_*` of `tacita.tasks`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import tacita
from tacita import tasks
from tacita.catalog.tasks import task_cards
from tacita.tasks import Task

ROOT = Path(tacita.__file__).parent
ROOM = ROOT / "tasks"
NAMES = frozenset(task_cards())
CLASSES = frozenset(
    name
    for name, found in vars(tasks).items()
    if isinstance(found, type) and issubclass(found, Task) and found is not Task
)
FLAGS = frozenset({"discrete", "coded"})


def offences(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Lines that branch on a task's name, class or flags, and what they do."""
    classes = _local_names(tree)
    for node in ast.walk(tree):
        for what in _offence(node, classes):
            yield getattr(node, "lineno", 0), what


def _offence(node: ast.AST, classes: frozenset[str]) -> Iterator[str]:
    match node:
        case ast.Call(ast.Name("isinstance" | "issubclass"), [_, asked]):
            if any(_is_class(part, classes) for part in ast.walk(asked)):
                yield "the class of a task is asked for"
        case ast.Call(ast.Name("hasattr"), [asked, _]) if _is_task(asked):
            yield "a task is asked for what it has"
        case ast.Call(ast.Attribute(_, "get"), [key, *_]) if _is_name_of_task(key):
            yield "a choice by the name of a task"
        case ast.Subscript(_, key) if _is_name_of_task(key):
            yield "a choice by the name of a task"
        case ast.Match(subject) if _is_name_of_task(subject):
            yield "a choice by the name of a task"
        case ast.MatchClass(cls) if _is_class(cls, classes):
            yield "a choice by the class of a task"
        case ast.Attribute(task, flag) if flag in FLAGS and _is_task(task):
            yield f"a task's {flag}"
        case ast.Compare(left, _, comparators):
            sides = [part for side in (left, *comparators) for part in _parts(side)]
            if any(isinstance(side, ast.Constant) and side.value in NAMES for side in sides):
                yield "a comparison with the name of a task"
            if any(_is_name_of_task(side) for side in sides):
                yield "a comparison of a task's name"
            if any(_is_class(side, classes) for side in sides):
                yield "a comparison of a task's class"


def _local_names(tree: ast.AST) -> frozenset[str]:
    """What the classes of tasks are called in a file."""
    return frozenset(
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tacita.tasks")
        for alias in node.names
        if alias.name in CLASSES
    )


def _is_class(node: ast.AST, classes: frozenset[str]) -> bool:
    if isinstance(node, ast.Attribute):
        inside = isinstance(node.value, ast.Name) and node.value.id == "tasks"
        return inside and node.attr in CLASSES
    return isinstance(node, ast.Name) and node.id in classes


def _parts(node: ast.expr) -> list[ast.expr]:
    return node.elts if isinstance(node, ast.Tuple | ast.List | ast.Set) else [node]


def _is_task(node: ast.AST) -> bool:
    last = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
    return last.rstrip("_") == "task"


def _is_name_of_task(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == "name" and _is_task(node.value)


def test_no_file_outside_the_room_branches_on_a_task() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {what}"
        for path in sorted(ROOT.rglob("*.py"))
        if ROOM not in path.parents
        for line, what in offences(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert found == []


@pytest.mark.parametrize(
    "line",
    [
        "isinstance(data.task, Ordinal)",
        "isinstance(task, (A, int))",
        "issubclass(kind, tasks.Segmentation)",
        "type(task) is Ordinal",
        "data.task.name == other",
        "task != 'regression'",
        "kind in ('open-set', 'ordinal')",
        "words[self.task_.name]",
        "words.get(task.name, '')",
        "match task.name:\n    case 'a': pass",
        "match task:\n    case Ordinal(): pass",
        "task.discrete",
        "self.task_.coded",
        "hasattr(task, 'threshold')",
    ],
)
def test_every_way_to_branch_on_a_task_is_found(line: str) -> None:
    imports = "from tacita import tasks\nfrom tacita.tasks import Classification as A, Ordinal\n"
    assert len(list(offences(ast.parse(imports + line)))) == 1


@pytest.mark.parametrize(
    "line",
    [
        "card.learns(data.task.name)",
        "f'the task is {task.name}'",
        "Classification(('a', 'b'))",
        "isinstance(task, Task)",
        "layer.discrete()",
        "method('x', tasks=('classification',))",
    ],
)
def test_what_asks_or_makes_a_task_is_no_offence(line: str) -> None:
    imports = "from tacita.tasks import Classification, Task\n"
    assert list(offences(ast.parse(imports + line))) == []
