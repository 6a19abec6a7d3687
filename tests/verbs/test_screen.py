"""Where a bar moves: what would go wrong is one that fills a log file, or none where people wait."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

import pytest
from rich.console import Console

from tacita.verbs.screen import Screen, draws_bars


def test_a_bar_is_drawn_on_a_terminal_and_not_into_a_file() -> None:
    assert draws_bars(Console(force_terminal=True, force_jupyter=False))
    assert not draws_bars(Console(force_terminal=False, force_jupyter=False))


@pytest.mark.parametrize("widgets", [True, False])
def test_a_notebook_needs_widgets_for_one(widgets: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("ipywidgets")
    module.__spec__ = ModuleSpec("ipywidgets", None)
    if widgets:
        monkeypatch.setitem(sys.modules, "ipywidgets", module)
    else:
        monkeypatch.delitem(sys.modules, "ipywidgets", raising=False)
        monkeypatch.setattr("tacita.verbs.screen.find_spec", lambda name: None)
    assert draws_bars(Console(force_jupyter=True)) is widgets


@pytest.mark.parametrize(
    "quiet, said",
    [
        (False, ["data", "result", "line"]),
        (0, ["data", "result", "line"]),
        (1, ["result"]),
        (True, []),
        (2, []),
    ],
)
def test_the_result_alone_or_nothing(
    quiet: bool | int, said: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    screen = Screen(quiet=quiet)
    screen.line("data", "12 rows")
    screen.line("result", "knn wins")
    screen.lines(["line"])
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == said
