"""The docstrings of the house as Markdown, for the reference: `make docs` loads it.

`name: text` becomes an item of a list, and an example a block of code. What a method's options are
stands in the table above its class, so its docstring does not repeat them.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

ITEM = re.compile(r"`{0,2}([a-z_]\w*(?:, [a-z_]\w*)*)`{0,2}: +(\S.*)")


class HouseDocstrings(griffe.Extension):
    """Rewrites each docstring when it has been read."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Called by griffe for every module, class, function and attribute."""
        if obj.docstring is not None:
            tabled = obj.is_class and any(
                decorator.callable_path.endswith(".method") for decorator in obj.decorators
            )
            obj.docstring.value = as_markdown(obj.docstring.value, leave_items=tabled)


def as_markdown(text: str, leave_items: bool = False) -> str:
    """A docstring as Markdown.

    leave_items: without its items.

    >>> print(as_markdown("Doubles.\\n\\nx: `(B,)` numbers,\\n    finite.\\n\\n>>> 2 * 3\\n6"))
    Doubles.
    <BLANKLINE>
    - **`x`**: `(B,)` numbers,
        finite.
    <BLANKLINE>
    ```pycon
    >>> 2 * 3
    6
    ```
    """
    paragraphs = []
    for paragraph in re.split(r"\n\s*\n", text.strip("\n")):
        lines = paragraph.splitlines()
        if lines[0].startswith(">>>"):
            paragraphs.append("\n".join(["```pycon", *lines, "```"]))
        elif not ITEM.match(lines[0]):
            paragraphs.append(paragraph)
        elif not leave_items:
            paragraphs.append("\n".join(ITEM.sub(_item, line) for line in lines))
    return "\n\n".join(paragraphs)


def _item(found: re.Match[str]) -> str:
    if found.start():
        return found[0]
    names = ", ".join(f"**`{name}`**" for name in found[1].split(", "))
    return f"- {names}: {found[2]}"
