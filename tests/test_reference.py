"""The reference has an entry for every public name, so that a new one cannot be forgotten.

Public is what a package's `__init__` lists in `__all__`, what a page or an example imports, and every
module of the rooms that are used by hand.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tacita.catalog.reference import reference_pages

ROOT = Path(__file__).parents[1]
SOURCES = ROOT / "src"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
REFERENCE = sorted((ROOT / "docs" / "api").rglob("*.md"))
BY_HAND = ("audit", "data", "engine", "measures", "parts", "stream", "tasks")
"""Rooms of which every module is for users and for those who add methods."""
PROGRAM = {"tacita.cli"}

ENTRIES = {
    name
    for page in REFERENCE
    for name in re.findall(r"^::: (\S+)$", page.read_text(encoding="utf-8"), re.M)
}


def places(module: str, name: str) -> set[str]:
    """The names under which a value can have an entry: as it is imported, and where it is defined."""
    value: Any = getattr(import_module(module), name)
    home, real = getattr(value, "__module__", module), getattr(value, "__qualname__", name)
    verb = getattr(value, "verb", "").replace(":", ".")
    return {f"{module}.{name}", f"{home}.{real}", verb or f"{home}.{real}"}


def is_module(entry: str) -> bool:
    file = SOURCES / Path(*entry.split("."))
    return file.with_suffix(".py").is_file() or (file / "__init__.py").is_file()


@cache
def entered() -> frozenset[str]:
    """Every entry under each of its names."""
    single = [entry.rpartition(".") for entry in ENTRIES if not is_module(entry)]
    return frozenset(ENTRIES.union(*(places(module, name) for module, _, name in single)))


def is_there(module: str, name: str) -> bool:
    """Whether a name has an entry, by itself or by a module that it is in."""
    value = getattr(import_module(module), name, None)
    if value is None or type(value) is ModuleType:
        inside = f"{module}.{name}."
        return any(f"{entry}.".startswith(inside) for entry in ENTRIES)
    named = places(module, name)
    return not entered().isdisjoint(
        named | {module} | {place.rpartition(".")[0] for place in named}
    )


def module_of(path: Path) -> str:
    parts = path.relative_to(SOURCES).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


def definitions(path: Path) -> list[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    named = [node for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)]
    return [node.name for node in named if not node.name.startswith("_")]


def imported(text: str) -> set[tuple[str, str]]:
    """Module and name of everything that a text of Python imports from the house."""
    return {
        (node.module, alias.name)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tacita")
        for alias in node.names
        if node.module
    }


PACKAGES = [
    path
    for path in sorted(SOURCES.rglob("__init__.py"))
    if "__all__ = [" in path.read_text(encoding="utf-8") and module_of(path) not in PROGRAM
]


@pytest.mark.parametrize("package", PACKAGES, ids=module_of)
def test_what_a_package_lists_is_in_the_reference(package: Path) -> None:
    module = module_of(package)
    names = import_module(module).__all__
    assert names
    assert [name for name in names if not is_there(module, name)] == []


@pytest.mark.parametrize("room", BY_HAND)
def test_every_module_of_a_room_that_is_used_by_hand_is_in_the_reference(room: str) -> None:
    files = sorted((SOURCES / "tacita" / room).rglob("*.py"))
    found = [(module_of(path), name) for path in files for name in definitions(path)]
    assert found
    assert [f"{module}.{name}" for module, name in found if not is_there(module, name)] == []


def test_what_the_pages_and_examples_import_is_in_the_reference() -> None:
    texts = [path.read_text("utf-8") for path in sorted((ROOT / "examples").glob("*.py"))]
    for page in PAGES:
        blocks = re.findall(r"^```python[^\n]*\n(.*?)^```$", page.read_text("utf-8"), re.M | re.S)
        texts += blocks
    names = set().union(*map(imported, texts))
    assert ("tacita.errors", "DataError") in names
    assert [
        f"{module}.{name}" for module, name in sorted(names) if not is_there(module, name)
    ] == []


def test_every_page_of_the_reference_is_in_the_site() -> None:
    site = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    for page in REFERENCE:
        assert f": {page.relative_to(ROOT / 'docs').as_posix()}\n" in site, page


def test_every_entry_names_something() -> None:
    for entry in sorted(ENTRIES):
        module, _, name = entry.rpartition(".")
        assert is_module(entry) or hasattr(import_module(module), name), entry


def test_the_pages_of_methods_are_those_of_the_cards() -> None:
    folder = ROOT / "docs" / "api" / "methods"
    pages = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.md")}
    assert pages == reference_pages(), "run: make tables"
