"""The house's laws, read from the sources: what may import what, and who may ask of what kind samples are.

`python -m tests.test_laws` counts what breaks them, in this tree or in another: `... PATH/src/tacita`.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

import tacita
from tacita.catalog import discover

ROOT = Path(tacita.__file__).parent

FLOORS = (
    "words",
    "errors",
    "files values processes",
    "windows",
    "catalog",
    "measures",
    "tasks",
    "data",
    "kernels",
    "layers",
    "modalities",
    "encoder views",
    "parts",
    "encoders",
    "objective",
    "learner",
    "continual",
    "engine",
    "baselines",
    "adapt",
    "pretrain semisup",
    "audit",
    "model",
    "stream apps",
    "report",
    "verbs",
    "claim",
    "estimators",
    "__init__",
    "cli",
)
"""The rooms and the files beside them, from the lowest on; those on one floor do not know each other.

The way of the data goes up: values, data, layers, encoders, objectives, the learner, its training, what is
built of them, and what people call.
"""

NAMES = frozenset(discover.modalities())
OWN_WORDS = {
    "pretrain/global_contrast.py": "`positives` of the paper are views, slices or volumes of any samples",
}
"""Files in which a modality's name is another thing, and what it is there."""


class Edge(NamedTuple):
    """An import of one module by another; `typing` where only the type checker sees it."""

    start: str
    end: str
    typing: bool


def modules(root: Path = ROOT) -> dict[str, Path]:
    """Every module's file by its dotted name."""
    found = {}
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def edges(root: Path = ROOT) -> list[Edge]:
    """Every import within the house: at the top of a file, in a function, or for types alone."""
    known = modules(root)
    return [
        edge
        for name, path in known.items()
        for edge in imports(name, ast.parse(path.read_text(encoding="utf-8")), frozenset(known))
    ]


def imports(name: str, tree: ast.AST, known: frozenset[str]) -> Iterator[Edge]:
    house = name.split(".")[0]
    for_types = {
        part
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for each in node.body
        for part in ast.walk(each)
    }
    for node in ast.walk(tree):
        ends: list[str] = []
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name} imports by a relative name"
            module = node.module or ""
            # What is imported from a package may be a module of it.
            inner = [f"{module}.{alias.name}" for alias in node.names]
            ends = [each if each in known else module for each in inner]
        elif isinstance(node, ast.Import):
            ends = [alias.name for alias in node.names]
        for end in ends:
            if end.split(".")[0] == house and end != name:
                yield Edge(name, end, node in for_types)


def room(module: str) -> str:
    """The room or the file beside the rooms that a module is in."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def floors() -> dict[str, int]:
    return {name: floor for floor, names in enumerate(FLOORS) for name in names.split()}


def upward(found: list[Edge]) -> list[str]:
    """The imports from a room of one that is not below it."""
    floor = floors()
    return [
        f"{start} imports {end}"
        for start, end, _ in found
        if room(start) != room(end) and floor[room(end)] >= floor[room(start)]
    ]


def circles(arrows: Mapping[str, set[str]]) -> list[list[str]]:
    """The groups of names of which each is reached from every other one."""
    reached = {name: reach(name, arrows) for name in arrows}
    groups = {
        frozenset(other for other in reached[name] if name in reached.get(other, ()))
        for name in arrows
        if name in reached[name]
    }
    return sorted(sorted(group) for group in groups)


def reach(name: str, arrows: Mapping[str, set[str]]) -> set[str]:
    seen: set[str] = set()
    todo = [name]
    while todo:
        new = arrows.get(todo.pop(), set()) - seen
        seen |= new
        todo += new
    return seen


def room_circles(found: list[Edge]) -> list[list[str]]:
    arrows: dict[str, set[str]] = {}
    for start, end, _ in found:
        if room(start) != room(end):
            arrows.setdefault(room(start), set()).add(room(end))
    return circles(arrows)


def file_circles(found: list[Edge]) -> list[list[str]]:
    """What is imported for types alone is left out within a room: its files may speak of each other."""
    arrows: dict[str, set[str]] = {}
    for start, end, typing in found:
        if not (typing and room(start) == room(end)):
            arrows.setdefault(start, set()).add(end)
    return circles(arrows)


def offences(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Lines that choose by the name or the class of a modality, and what they do."""
    classes, declared = _classes(tree), _declarations(tree)
    for node in ast.walk(tree):
        if node in declared:
            continue
        for what in _offence(node, classes):
            yield getattr(node, "lineno", 0), what


def _offence(node: ast.AST, classes: frozenset[str]) -> Iterator[str]:
    match node:
        case ast.Call(ast.Name("isinstance" | "issubclass"), [_, asked]):
            if any(isinstance(part, ast.Name) and part.id in classes for part in ast.walk(asked)):
                yield "the class of a modality is asked for"
        case ast.Call(ast.Attribute(_, "get" | "pop"), [key, *_]) if _asks(key):
            yield "a choice by the name of a modality"
        case ast.Subscript(_, key) if _asks(key):
            yield "a choice by the name of a modality"
        case ast.Match(subject) if _asks(subject):
            yield "a choice by the name of a modality"
        case ast.MatchValue(ast.Constant(value)) if value in NAMES:
            yield "a choice by the name of a modality"
        case ast.Dict(keys, values):
            # Of one alone nothing is chosen: "text" is a word of many libraries.
            if any(len(_named(side)) > 1 for side in (keys, values)):
                yield "a table by the names of modalities"
        case ast.Tuple(parts) | ast.List(parts) | ast.Set(parts) if len(_named(parts)) > 1:
            yield "a list of modalities"
        case ast.Compare(left, _, comparators):
            sides = [part for side in (left, *comparators) for part in _parts(side)]
            if _named(sides):
                yield "a comparison with the name of a modality"
            # Whether two data sets are of one modality is no choice, nor what a card declares.
            elif isinstance(node.ops[0], ast.Eq | ast.NotEq) and len({*map(_asks, sides)}) > 1:
                yield "a comparison of a modality's name"


def _classes(tree: ast.AST) -> frozenset[str]:
    """What is imported from a modality's folder, by the name that it has in a file."""
    return frozenset(
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        and (node.module or "").split(".")[1:2] == ["modalities"]
        and NAMES & {*(node.module or "").split(".")[2:3]}
        for alias in node.names
    )


def _declarations(tree: ast.AST) -> set[ast.AST]:
    """What stands on cards and on encoders' classes: `modalities=("images", "series")`."""
    found: set[ast.AST] = set()
    for node in ast.walk(tree):
        match node:
            case ast.keyword("modalities", value) | ast.Assign([ast.Name("modalities")], value):
                found.add(value)
            case ast.AnnAssign(ast.Name("modalities"), _, ast.expr() as value):
                found.add(value)
    return found


def _named(nodes: list[ast.expr | None] | list[ast.expr]) -> set[str]:
    return {n.value for n in nodes if isinstance(n, ast.Constant) and n.value in NAMES}  # type: ignore[misc]


def _parts(node: ast.expr) -> list[ast.expr]:
    return node.elts if isinstance(node, ast.Tuple | ast.List | ast.Set) else [node]


def _asks(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == "modality"


def branches(root: Path = ROOT) -> list[str]:
    """Every choice by a modality outside the modalities' own folders."""
    return [
        f"{path.relative_to(root)}:{line}: {what}"
        for path in sorted(root.rglob("*.py"))
        if root / "modalities" not in path.parents
        and path.relative_to(root).as_posix() not in OWN_WORDS
        for line, what in offences(ast.parse(path.read_text(encoding="utf-8")))
    ]


@cache
def of_the_house() -> list[Edge]:
    return edges()


def test_every_room_has_a_floor() -> None:
    assert {room(name) for name in modules()} == {*floors()}


def test_no_import_runs_from_a_lower_room_to_a_higher_one() -> None:
    assert upward(of_the_house()) == []


def test_no_rooms_and_no_files_import_each_other_in_a_circle() -> None:
    assert room_circles(of_the_house()) == []
    assert file_circles(of_the_house()) == []


def test_no_file_outside_its_folder_branches_on_a_modality() -> None:
    assert branches() == []


def test_every_form_of_import_is_seen() -> None:
    text = """
import tacita.cli
from tacita.data import batch
from tacita.data.batch import Batch
if TYPE_CHECKING:
    from tacita.model.model import Model
def later():
    from tacita import verbs
"""
    known = frozenset({"tacita.data.batch", "tacita.verbs", "tacita.cli"})
    found = [*imports("tacita.encoder", ast.parse(text), known)]
    assert [(edge.end, edge.typing) for edge in sorted(found)] == [
        ("tacita.cli", False),
        ("tacita.data.batch", False),
        ("tacita.data.batch", False),
        ("tacita.model.model", True),
        ("tacita.verbs", False),
    ]
    assert len(upward(found)) == 3


def test_circles_are_found_whatever_their_length() -> None:
    arrows = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": {"e"}, "f": {"f"}}
    assert circles(arrows) == [["a", "b", "c"], ["f"]]


@pytest.mark.parametrize(
    "line",
    [
        "data.modality == 'images'",
        "if name in ('images', 'volumes'): pass",
        "data.spec.modality != kind",
        "table[spec.modality]",
        "table.get(data.modality, 'vit')",
        "match spec.modality:\n    case other: pass",
        "match name:\n    case 'series': pass",
        "kinds = {2: 'series', 3: 'images'}",
        "kinds = {'series': 1, 'text': 2}",
        "isinstance(meta, (Meta, int))",
        "kind: Literal['images', 'series']",
        "KINDS = ['images', 'series']",
    ],
)
def test_every_way_to_branch_on_a_modality_is_found(line: str) -> None:
    imported = "from tacita.modalities.series.meta import SeriesMeta as Meta\n"
    assert list(offences(ast.parse(imported + line)))


@pytest.mark.parametrize(
    "line",
    [
        "data.modality != other.modality",
        "spec.modality in cls.modalities",
        "trace['text'] = hover",
        "title = {'text': 'Accuracy'}",
        "Dataset.of('images', x, y)",
        "f'these are {data.modality}'",
        "isinstance(values, Ragged)",
        "modalities = ('images', 'series')",
        "modalities: ClassVar[tuple[str, ...]] = ('images', 'series')",
        "method('x', modalities=('images', 'series'))",
        "'numbers' in data.kind.card.gives",
    ],
)
def test_what_asks_the_modality_itself_is_no_offence(line: str) -> None:
    assert list(offences(ast.parse(line))) == []


def main(root: Path) -> None:
    """Print what breaks the laws, and how much."""
    house = edges(root)
    for what, broken in {
        "upward imports": upward(house),
        "circles of rooms": ["-".join(group) for group in room_circles(house)],
        "circles of files": ["-".join(group) for group in file_circles(house)],
        "choices by a modality": branches(root),
    }.items():
        print(f"{len(broken)} {what}", *broken, sep="\n    ")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else ROOT)
