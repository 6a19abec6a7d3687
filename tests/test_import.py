"""`import tacita` costs nothing, says nothing, and knows where every public name is."""

from __future__ import annotations

import ast
import importlib
import inspect
import pydoc
import subprocess
import sys
import types
from importlib import metadata
from pathlib import Path

import pytest

import tacita
from tacita.data.reading import Reading
from tacita.verbs.options import Running


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
    verb = types.ModuleType(f"tacita.verbs.{room}")
    setattr(verb, room, lambda *given, **named: (given, named))
    monkeypatch.setitem(sys.modules, verb.__name__, verb)
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


VERBS = ("fit", "compare", "pretrain", "adapt", "pretrain_stream")


@pytest.mark.parametrize("name", [*VERBS, "load", "as_dataset"])
def test_signatures_show_every_option_with_its_type_and_default(name: str) -> None:
    shown = inspect.signature(getattr(tacita, name)).parameters
    groups = (Reading, Running) if name in VERBS else (Reading,)
    for group in groups:
        for option in inspect.signature(group, eval_str=True).parameters.values():
            assert shown[option.name].kind is inspect.Parameter.KEYWORD_ONLY
            assert shown[option.name].default == option.default
            assert shown[option.name].annotation == option.annotation
    assert not any(isinstance(option.annotation, str) for option in shown.values())
    free = name in ("fit", "pretrain", "adapt", "pretrain_stream")
    assert (list(shown)[-1] == "options") is free  # those of the method


@pytest.mark.parametrize("name", tacita.__all__)
def test_help_says_what_it_takes(name: str) -> None:
    found = getattr(tacita, name)
    page = pydoc.plain(pydoc.render_doc(found))
    first = next(iter(inspect.signature(found).parameters))
    assert f"{found.__name__}(" in page
    assert first in page
    if name in VERBS:
        assert "seed: int = 0" in page


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'tacita' has no attribute 'fitt'"):
        tacita.fitt  # noqa: B018


def test_the_version_is_that_of_the_distribution() -> None:
    assert tacita.__version__ == metadata.version("tacita")
