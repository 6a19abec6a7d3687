"""Values as people write them: `key=value` pairs and a safe, small YAML.

The YAML is the core of YAML 1.2: text, whole numbers, numbers (`1e-3` too), true, false, null,
lists and mappings. Tags, aliases and doubled keys are refused: none is needed, the first two can
build objects or exhaust the memory, and the last hides a mistake.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from typing import Any

import yaml

from tacita.errors import ConfigError

_INT = re.compile(r"[-+]?[0-9]{1,30}$")
_FLOAT = re.compile(
    r"""[-+]?(\.[0-9]+|[0-9]+\.[0-9]*)([eE][-+]?[0-9]{1,4})?$
    |[-+]?[0-9]+[eE][-+]?[0-9]{1,4}$
    |[-+]?\.(inf|Inf|INF)$
    |\.(nan|NaN|NAN)$""",
    re.VERBOSE,
)


def parse_assignments(assignments: Sequence[str]) -> dict[str, Any]:
    """`key=value` pairs of a command line, with each value read as YAML.

    Raises `ConfigError` naming the argument that is not such a pair, or the key given twice.

    >>> parse_assignments(["steps=100", "projector=[64,64]", "train.learning_rate=1e-3"])
    {'steps': 100, 'projector': [64, 64], 'train.learning_rate': 0.001}
    """
    given: dict[str, Any] = {}
    for argument in assignments:
        key, equals, value = argument.partition("=")
        if not equals or not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", key):
            raise ConfigError(
                f"{argument!r} is not of the form key=value.",
                remedy="Write for example steps=100, without spaces around the equals sign.",
            )
        if key in given:
            raise ConfigError(f"{key} is given twice.", remedy="Give it once.")
        given[key] = read_yaml(value, source=f"{key}=")
    return given


def read_yaml(text: str, *, source: str) -> Any:
    """One YAML document as plain values. Raises `ConfigError` naming the source and the line."""
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = f", line {mark.line + 1}" if mark is not None else ""
        raise ConfigError(f"{source}{line}: {error.problem or 'not YAML'}.") from error
    except yaml.YAMLError as error:  # a character that YAML does not allow
        reason = " ".join(str(error).split())
        raise ConfigError(f"{source}: {reason}.") from error
    except RecursionError as error:
        raise ConfigError(f"{source}: it is nested too deeply.") from error


def write_yaml(value: Any) -> str:
    """Plain values as YAML that `read_yaml` reads back to the same values."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}

    def compose_node(self, parent: Any, index: Any) -> Any:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        alias, tag = type(event) is yaml.AliasEvent, getattr(event, "tag", None)
        if alias or tag is not None:
            reason = f"{'aliases' if alias else 'tags'} are not allowed"
            raise yaml.MarkedYAMLError(None, None, reason, event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise yaml.MarkedYAMLError(None, None, "a key is not text", key_node.start_mark)
            if key in seen:
                reason = f"the key {key} is given twice"
                raise yaml.MarkedYAMLError(None, None, reason, key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}

    def ignore_aliases(self, data: Any) -> bool:
        return True  # the loader refuses aliases, so equal lists are written out twice


_SCALARS = (
    ("null", re.compile(r"(~|null|Null|NULL|)$"), ["~", "n", "N", ""]),
    ("bool", re.compile(r"(true|True|TRUE|false|False|FALSE)$"), list("tTfF")),
    ("int", _INT, list("-+0123456789")),
    ("float", _FLOAT, list("-+.0123456789")),
)
for _name, _pattern, _first in _SCALARS:
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", _pattern, _first)
_Loader.add_constructor("tag:yaml.org,2002:int", lambda _, node: int(node.value))
_Loader.add_constructor(
    "tag:yaml.org,2002:float",
    lambda _, node: float(re.sub(r"\.(?=inf|nan)", "", node.value.lower())),
)
