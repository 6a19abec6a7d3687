"""`import tacita` costs nothing, says nothing, and knows where every public name is."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
import types
from importlib import metadata
from pathlib import Path

import pytest

import tacita


def test_importing_prints_nothing_and_loads_nothing_heavy() -> None:
    script = (
        "import sys, tacita, tacita.errors, tacita.catalog.recipe\n"
        "dir(tacita)\n"
        "heavy = {'torch', 'numpy', 'sklearn', 'pandas', 'pyarrow', 'lightning_fabric'}\n"
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


def test_the_public_names_are_declared_once_for_people_and_for_type_checkers() -> None:
    tree = ast.parse(Path(tacita.__file__).read_text(encoding="utf-8"))
    guarded = next(node for node in tree.body if isinstance(node, ast.If))
    imported = {
        alias.asname or alias.name: f"{node.module}:{alias.name}"
        for node in guarded.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    rooms = {"adapt", "pretrain"}
    assert {name: imported[name] for name in imported.keys() - rooms} == {
        name: tacita._WHERE[name] for name in tacita._WHERE.keys() - rooms
    }
    assert {getattr(tacita, name).verb for name in rooms} == {imported[name] for name in rooms}
    assert sorted(imported) == tacita.__all__
    assert set(tacita.__all__) <= set(dir(tacita))


@pytest.mark.parametrize("room, method", [("pretrain", "mae"), ("adapt", "knn")])
def test_a_room_is_a_verb_before_and_after_its_methods_are_imported(
    room: str, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    verbs = types.ModuleType("tacita.verbs.one")
    setattr(verbs, room, lambda *given, **named: (given, named))
    monkeypatch.setitem(sys.modules, "tacita.verbs.one", verbs)
    for _ in range(2):
        assert getattr(tacita, room)("a", b=1) == (("a",), {"b": 1})
        importlib.import_module(f"tacita.{room}.{method}")
    assert hasattr(getattr(tacita, room), method)


@pytest.mark.parametrize("name", tacita.__all__)
def test_every_public_name_is_there(name: str) -> None:
    found = getattr(tacita, name)
    module, _, attribute = getattr(found, "verb", tacita._WHERE[name]).partition(":")
    assert callable(getattr(importlib.import_module(module), attribute))
    assert callable(found)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'tacita' has no attribute 'fitt'"):
        tacita.fitt  # noqa: B018


def test_the_version_is_that_of_the_distribution() -> None:
    assert tacita.__version__ == metadata.version("tacita")
