"""The command line and Python take the same options, and each of them is declared in one place."""

from __future__ import annotations

import ast
import inspect
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import pytest

import tacita
from tacita.catalog.discover import modalities
from tacita.catalog.tasks import task_cards
from tacita.cli import options
from tacita.cli.app import VERBS
from tacita.cli.options import READING, RUNNING
from tacita.data.reading import Reading, ReadingOptions
from tacita.model.model import Model
from tacita.verbs.options import Running, RunningOptions

RENAMED = {"from": "start"}
"""What is called otherwise on the command line, where `from` is a word and in Python it is none."""
IN_PYTHON = {
    "fit": tacita.fit,
    "compare": tacita.compare,
    "pretrain": tacita.pretrain,
    "adapt": tacita.adapt,
    "describe": tacita.load,
    "predict": Model.predict_file,
    "embed": Model.embed_file,
    "evaluate": Model.evaluate_file,
    "report": Model.report,
    "label-next": tacita.label_next,
    "export": Model.export,
}
TYPED_ONLY = {"as_json"}
"""How the command line prints what Python gives back."""
APART = {"y": "labels in memory", "source": "DATA", "self": "MODEL"}
"""What only Python has, or has as an argument of another name."""


def names(function: Any) -> set[str]:
    found = inspect.signature(function).parameters.values()
    return {p.name for p in found if p.kind is not p.VAR_KEYWORD}


@pytest.mark.parametrize("verb", IN_PYTHON)
def test_a_verb_takes_the_same_options_in_python(verb: str) -> None:
    typed = names(VERBS[verb]) - {"settings", "data", "model", "run"} - TYPED_ONLY
    assert typed == names(IN_PYTHON[verb]) - APART.keys() - {"data", "model"} - TYPED_ONLY


@pytest.mark.parametrize("verb", ["fit", "compare", "pretrain", "adapt", "describe"])
def test_defaults_are_the_same(verb: str) -> None:
    here = inspect.signature(VERBS[verb]).parameters
    there = inspect.signature(IN_PYTHON[verb]).parameters
    for name in here.keys() & there.keys():
        assert here[name].default == there[name].default, name


@pytest.mark.parametrize(
    "group, declared, typed",
    [(READING, Reading, ReadingOptions), (RUNNING, Running, RunningOptions)],
)
def test_a_group_of_options_is_the_same_for_python_for_type_checkers_and_here(
    group: options.Group, declared: type[Any], typed: Any
) -> None:
    assert group.declared is declared
    expected = [field.name for field in fields(declared)]
    assert list(group.given) == expected == list(typed.__annotations__)
    for field in fields(declared):
        assert field.type == typed.__annotations__[field.name].__forward_arg__, field.name


def test_choices_follow_from_the_catalog() -> None:
    def choices(name: str) -> set[str]:
        literal, *_ = get_args(get_args(READING.given[name])[0])
        return set(get_args(literal))

    assert choices("task") == set(task_cards())
    assert choices("modality") == set(modalities())


def test_a_verb_is_a_file_of_its_name_and_names_no_shared_option() -> None:
    folder = Path(options.__file__).parent
    shared = READING.given.keys() | RUNNING.given.keys()
    for verb in VERBS:
        name = verb.replace("-", "_")
        tree = ast.parse((folder / f"{name}.py").read_text(encoding="utf-8"))
        (function,) = (node for node in tree.body if isinstance(node, ast.FunctionDef))
        assert function.name == name
        if IN_PYTHON.get(verb) in (tacita.fit, tacita.compare, tacita.pretrain, tacita.adapt):
            assert not shared & {argument.arg for argument in function.args.args}
