"""What can be set on a method: the keyword-only arguments of its constructor, read from its source.

The constructor is the configuration: its names, types and defaults are the only declaration of a
hyperparameter, and recipes and the command line are checked against it without importing torch.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tacita.catalog import discover
from tacita.catalog.value_types import MisfitError, alternatives, convert
from tacita.errors import ConfigError

Definition = ast.ClassDef | ast.FunctionDef | ast.expr

# Bases from outside the house whose constructors take nothing that a recipe could set.
_PLAIN_BASES = {"ABC", "Generic", "Module", "NamedTuple", "Protocol", "object"}


@dataclass(frozen=True)
class Parameter:
    """One keyword argument: `annotation` and `default` as source text, no default if required."""

    name: str
    annotation: str
    default: str | None = None
    doc: str = ""

    @property
    def settable(self) -> bool:
        """Whether a recipe or a command line can give it a value."""
        return alternatives(self.annotation) not in ([], ["null"])

    @property
    def expected(self) -> str:
        """What its value may be, in words.

        >>> Parameter("pool", "Literal['mean', 'max'] | None").expected
        "'mean', 'max' or null"
        """
        if not self.settable:
            return "only given from Python"
        *others, last = alternatives(self.annotation)
        return f"{', '.join(others)} or {last}" if others else last


def parameters(slug: str) -> dict[str, Parameter]:
    """The keyword-only arguments of a method's constructor. Raises `ConfigError` if unknown."""
    card = discover.get(slug)
    module, _, name = card.target.partition(":")
    path = _module_file(module)
    found = _constructor(path, name) if path is not None else None
    return _inspected(discover.load_class(slug)) if found is None else found


def function_parameters(target: str) -> dict[str, Parameter]:
    """The keyword-only arguments of a function of the house, named as `module:function`.

    Raises `ConfigError` where there is no such function.
    """
    module, _, name = target.partition(":")
    path = _module_file(module)
    found = _definition(path, name) if path is not None else None
    if found is None or not isinstance(found[1], ast.FunctionDef):
        raise ConfigError(f"there is no function {target}.")
    return _arguments(found[0], found[1], ast.get_docstring(found[1]) or "")


def check_arguments(
    owner: str, known: Mapping[str, Parameter], given: Mapping[str, Any]
) -> dict[str, Any]:
    """The given values as the constructor wants them: lists as tuples, text as paths.

    `owner` is what to put before an argument's name in a message, such as `learn.train`.
    Raises `ConfigError` naming the argument, its value and what it may be.

    >>> check_arguments("pretrain", {"rank": Parameter("rank", "int", "4")}, {"rnak": 2})
    Traceback (most recent call last):
    tacita.errors.ConfigError: pretrain.rnak: unknown; did you mean rank?
           Known: rank.
    """
    checked = {}
    for name, value in given.items():
        if name not in known:
            near = discover.did_you_mean(name, known)
            names = ", ".join(key for key, parameter in known.items() if parameter.settable)
            raise ConfigError(
                f"{owner}.{name}: unknown{near}", remedy=f"Known: {names or 'nothing'}."
            )
        parameter = known[name]
        if not parameter.settable:
            raise ConfigError(
                f"{owner}.{name}: a {parameter.annotation} cannot be written down in a recipe.",
                remedy="Leave it out, or pass it to the class in Python.",
            )
        try:
            checked[name] = convert(parameter.annotation, value)
        except MisfitError:
            raise ConfigError(
                f"{owner}.{name}: {shortened(value)} is not {parameter.expected}.",
                remedy=f"The default is {parameter.default}." if parameter.default else "",
            ) from None
    return checked


def _module_file(module: str) -> Path | None:
    """The source of a module of the house, or None if it is from elsewhere."""
    if module.partition(".")[0] != discover.ROOT.name:
        return None
    path = discover.ROOT.parent.joinpath(*module.split("."))
    for candidate in (path.with_name(f"{path.name}.py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


@cache
def _statements(path: Path) -> tuple[ast.stmt, ...]:
    """The top level of a module, and what stands there under `if TYPE_CHECKING`."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    guarded = [inner for node in body if isinstance(node, ast.If) for inner in node.body]
    return (*body, *guarded)


def _definition(path: Path, name: str) -> tuple[Path, Definition] | None:
    """Where a name is defined, following imports inside the house: a class, function or alias."""
    for node in _statements(path):
        match node:
            case ast.ClassDef() | ast.FunctionDef() if node.name == name:
                return path, node
            case ast.Assign(targets=[ast.Name(id=target)], value=value) if target == name:
                return path, value
            case ast.ImportFrom(module=str(module), names=names):
                for alias in names:
                    source = _module_file(module)
                    if (alias.asname or alias.name) == name and source is not None:
                        return _definition(source, alias.name)
    return None


def _constructor(path: Path, name: str) -> dict[str, Parameter] | None:
    """The parameters of a class, or None where its source does not tell."""
    found = _definition(path, name)
    if found is None or not isinstance(node := found[1], ast.ClassDef):
        return None
    path = found[0]
    doc = ast.get_docstring(node) or ""
    for item in node.body:
        if isinstance(item, ast.FunctionDef) and item.name == "__init__":
            return _arguments(path, item, f"{doc}\n{ast.get_docstring(item) or ''}")
    if any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list):
        return None  # inspect knows the rules of fields; such classes are rare
    inherited: dict[str, Parameter] = {}
    for base in node.bases:
        base_name = ast.unparse(base.value if isinstance(base, ast.Subscript) else base)
        if base_name.rpartition(".")[2] in _PLAIN_BASES:
            continue
        of_base = _constructor(path, base_name)
        if of_base is None:
            return None
        inherited = of_base | inherited
    return inherited


def _arguments(path: Path, node: ast.FunctionDef, doc: str) -> dict[str, Parameter]:
    docs = _argument_docs(doc)
    return {
        argument.arg: Parameter(
            argument.arg,
            _annotation(path, argument.annotation),
            None if default is None else ast.unparse(default),
            docs.get(argument.arg, ""),
        )
        for argument, default in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
    }


def _annotation(path: Path, node: ast.expr | None) -> str:
    """An annotation as source, with the house's aliases (`Pool = Literal[...]`) written out."""
    if node is None:
        return "Any"

    class WriteOut(ast.NodeTransformer):
        def visit_Name(self, name: ast.Name) -> ast.AST:
            found = _definition(path, name.id)
            if found is not None and isinstance(found[1], ast.Subscript | ast.BinOp):
                return found[1]
            return name

    copy = ast.parse(ast.unparse(node), mode="eval").body
    return ast.unparse(WriteOut().visit(copy))


def _argument_docs(doc: str) -> dict[str, str]:
    """The lines `name: text` of a docstring, each with the deeper lines that continue it."""
    docs: dict[str, str] = {}
    name, depth = "", 0
    for line in inspect.cleandoc(doc).splitlines():
        indent = len(line) - len(line.lstrip())
        start = re.match(r"`{0,2}(\w+)`{0,2}:\s+(.+)", line.strip())
        if name and line.strip() and indent > depth:
            docs[name] += f" {line.strip()}"
        elif start:
            name, depth = start[1], indent
            docs[name] = start[2]
        else:
            name = ""
    return docs


def _inspected(cls: type[Any]) -> dict[str, Parameter]:
    """The parameters of a class that has no source in the house, such as one in a notebook."""
    docs = _argument_docs(cls.__doc__ or "")
    return {
        item.name: Parameter(
            item.name,
            _annotation_text(item.annotation),
            None if item.default is item.empty else repr(item.default),
            docs.get(item.name, ""),
        )
        for item in inspect.signature(cls).parameters.values()
        if item.kind is item.KEYWORD_ONLY
    }


def _annotation_text(annotation: Any) -> str:
    if annotation is inspect.Parameter.empty:
        return "Any"
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)


def shortened(value: Any) -> str:
    """A value as a message shows it."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
