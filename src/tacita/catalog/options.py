"""Options that several functions take: declared once, and seen in the signature of each of them.

A group of options is a frozen dataclass, which checks them, beside a `TypedDict` of the same names for
type checkers. A function takes groups as `**options: Unpack[...]`, or as `**options: Any` where options
of a method may stand among them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from typing import Any, TypeVar

from tacita.catalog.discover import did_you_mean
from tacita.errors import ConfigError

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])
GroupT = TypeVar("GroupT")


def taking(*groups: type[Any]) -> Callable[[FunctionT], FunctionT]:
    """Show the fields of these dataclasses where a function has `**options`, in its signature and help.

    `**options` itself stays where it may hold others, which its annotation `Any` says.

    >>> from dataclasses import dataclass
    >>> @dataclass
    ... class Drawing:
    ...     seed: int = 0
    >>> @taking(Drawing)
    ... def draw(count: int, **options: Any) -> None: ...
    >>> str(inspect.signature(draw)).replace("typing.", "")
    '(count: int, *, seed: int = 0, **options: Any) -> None'
    """

    def show(function: FunctionT) -> FunctionT:
        signature = inspect.signature(function, eval_str=True)
        shared = [parameter for group in groups for parameter in options_of(group)]
        function.__signature__ = with_parameters(signature, shared)  # type: ignore[attr-defined]
        return function

    return show


def options_of(group: type[Any]) -> list[inspect.Parameter]:
    """The fields of a group as parameters that are given by name."""
    found = inspect.signature(group, eval_str=True).parameters.values()
    return [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in found]


def with_parameters(
    signature: inspect.Signature, shared: Iterable[inspect.Parameter]
) -> inspect.Signature:
    """A signature with these parameters before `**options`, which goes where it can hold no others."""
    own = list(signature.parameters.values())
    rest = [own.pop()] if own[-1].kind is inspect.Parameter.VAR_KEYWORD else []
    others = [each for each in rest if each.annotation is Any]
    return signature.replace(parameters=[*own, *shared, *others])


def taken(group: type[GroupT], options: Mapping[str, Any]) -> tuple[GroupT, dict[str, Any]]:
    """A group made from those of the options that are its own, and the others.

    >>> from dataclasses import dataclass
    >>> @dataclass
    ... class Drawing:
    ...     seed: int = 0
    >>> taken(Drawing, {"seed": 3, "steps": 10})
    (Drawing(seed=3), {'steps': 10})
    """
    names = {field.name for field in fields(group)}  # type: ignore[arg-type]
    own = {name: value for name, value in options.items() if name in names}
    others = {name: value for name, value in options.items() if name not in names}
    return group(**own), others


def refuse(function: Callable[..., Any], others: Iterable[str]) -> None:
    """Raise `ConfigError` with the nearest name for options that a function does not take."""
    known = [
        parameter.name
        for parameter in inspect.signature(function).parameters.values()
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD
    ]
    for name in others:
        raise ConfigError(
            f"{function.__name__} has no option {name!r}{did_you_mean(name, known)}",
            remedy=f"Known: {', '.join(known)}.",
        )
