"""A room of the house that is a verb as well: `tacita.pretrain(...)` and `tacita.pretrain.mae`.

Importing any method of the room binds the room's name in `tacita` to the package. Were the verb a
plain function, it would be there or gone depending on what had been imported before.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any


class VerbRoom(ModuleType):
    """A package that can be called; `verb` is its function, as `module:function`."""

    verb: str

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        module, _, name = self.verb.partition(":")
        return getattr(import_module(module), name)(*args, **kwargs)


def make_verb(package: str, verb: str) -> None:
    """Let an imported package be called as a function, which is imported at the first call."""
    room = sys.modules[package]
    room.__class__ = VerbRoom
    room.__dict__["verb"] = verb
