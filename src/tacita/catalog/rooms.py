"""A room of the house that is a verb as well: `tacita.pretrain(...)` and `tacita.pretrain.mae`.

Importing any method of the room binds the room's name in `tacita` to the package. Were the verb a
plain function, it would be there or gone depending on what had been imported before.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any


class VerbRoom(ModuleType):
    # A package that can be called; `verb` is its function, as `module:function`. Signature and help
    # are the function's, which is imported when one of them is asked for.

    verb: str

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return _function(self)(*args, **kwargs)

    @property
    def __signature__(self) -> inspect.Signature:
        return inspect.signature(_function(self))

    @property
    def __doc__(self) -> str:  # type: ignore[override]
        function = _function(self)
        call = f"{self.__name__}{inspect.signature(function)}"
        return f"{self.__dict__['__doc__']}\n\n{call}\n\n{inspect.getdoc(function)}"


def make_verb(package: str, verb: str) -> None:
    """Let an imported package be called as a function, which is imported at the first call."""
    room = sys.modules[package]
    room.__class__ = VerbRoom
    room.__dict__["verb"] = verb


def _function(room: VerbRoom) -> Callable[..., Any]:
    module, _, name = room.verb.partition(":")
    function: Callable[..., Any] = getattr(import_module(module), name)
    return function
