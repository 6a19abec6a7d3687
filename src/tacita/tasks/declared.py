"""Labels whose source says what the classes are, and what a user says of labels beside the source."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tacita.errors import ConfigError
from tacita.tasks.label_types import LabelType

DOUBTFUL: Final = frozenset(
    {
        "", "?", "-", "--", ".", "-1", "-9", "-99", "-999", "-9999", "na", "n/a", "#n/a", "<na>",
        "nan", "nat", "nil", "none", "null", "missing", "unknown", "undefined", "unspecified",
        "unlabeled", "unlabelled", "not labeled", "not labelled", "no label",
    }
)  # fmt: skip
"""Names of classes, in lower case, that often mean that there is no label."""


@dataclass(frozen=True)
class Declared:
    """Labels whose classes are declared: each is one whatever it is called, and only None is missing.

    Names of sub-folders, the classes in the header of a file, and categories are such.

    names: `(N,)` objects, text or None. order: the classes from the lowest, empty where they have none.
    told: whether it is their user who told the order. label_type: what they were before they were names.

    >>> Declared(np.array(["none", None, "crack"], object))[1:].names.tolist()
    [None, 'crack']
    """

    names: NDArray[Any]
    order: tuple[str, ...] = ()
    told: bool = False
    label_type: LabelType = "words"

    @classmethod
    def of(cls, names: Sequence[str | None], order: Sequence[str] = ()) -> Declared:
        """From names in any sequence."""
        kept = np.empty(len(names), dtype=object)
        kept[:] = list(names)
        return cls(kept, tuple(order))

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.names)

    def __getitem__(self, which: Any) -> Declared:
        return replace(self, names=self.names[which])


def in_order(names: NDArray[Any], order: Sequence[str], source: str) -> tuple[str, ...]:
    """The classes among the names of labels, in their order.

    Raises `ConfigError` for a name that is not in the order.

    >>> in_order(np.array(["high", None, "low"], object), ("low", "medium", "high"), "example")
    ('low', 'high')
    """
    present = set(names.tolist()) - {None}
    unknown = sorted(present - set(order))
    if unknown:
        raise ConfigError(
            f"{source}: the label {unknown[0]!r} is not in the order {', '.join(order)}.",
            remedy="Name every class once, from the lowest to the highest, or say with"
            " unlabelled_as (--unlabelled-as) that it is none.",
        )
    return tuple(name for name in order if name in present)
