"""Cards read from source text: the literals of a decorator, without importing what it stands on."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from tacita.errors import ConfigError

T = TypeVar("T")


def decorated(path: Path, decorator: str) -> Iterator[tuple[ast.ClassDef, ast.Call]]:
    """The classes of a file under a decorator, and its call.

    Raises `ConfigError` naming file and line where the file is no Python.
    """
    text = path.read_text(encoding="utf-8")
    if f"@{decorator}(" not in text:  # parsing is most of the time that a search takes
        return
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        raise ConfigError(f"{path}, line {error.lineno}: {error.msg}.") from error
    for node in tree.body:
        if not isinstance(node, ast.ClassDef):
            continue
        for call in node.decorator_list:
            if isinstance(call, ast.Call) and ast.unparse(call.func) == decorator:
                yield node, call


def read_card(kind: type[T], call: ast.Call, node: ast.ClassDef, path: Path, /, **more: Any) -> T:
    """A card of the decorator's arguments, and `more` that stands elsewhere.

    Raises `ConfigError` naming file and line where they are no literals or not the card's fields.
    """
    try:
        arguments = [ast.literal_eval(value) for value in call.args]
        fields = {str(item.arg): ast.literal_eval(item.value) for item in call.keywords}
        return kind(*arguments, **{**more, **fields})
    except (ValueError, TypeError) as error:  # not literals; not the fields of a card
        raise ConfigError(
            f"{path}, line {call.lineno}: the card of {node.name} cannot be read ({error}).",
            remedy=f"Give the decorator a name and the fields of {kind.__name__}, as literals.",
        ) from error
