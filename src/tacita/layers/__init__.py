"""Sequence layers, one file each: `(B, L, D)` in and out, in parallel or a step at a time."""

from __future__ import annotations

from tacita.catalog import discover
from tacita.errors import ConfigError
from tacita.layers.base import SequenceLayer, State

__all__ = ["SequenceLayer", "State", "get", "names"]


def names() -> list[str]:
    """The names of all sequence layers, in alphabetical order."""
    return sorted(slug for slug, card in discover.cards().items() if card.family == "layer")


def get(name: str) -> type[SequenceLayer]:
    """The class of a sequence layer by its name in the catalog.

    Raises `ConfigError` for an unknown name, with the nearest one, and for what is no layer.

    >>> import torch
    >>> get("s4d")(8, d_state=16)(torch.zeros(2, 5, 8)).shape
    torch.Size([2, 5, 8])
    """
    if discover.get(name).family != "layer":
        raise ConfigError(
            f"{name!r} is not a sequence layer.", remedy=f"These are: {', '.join(names())}."
        )
    return discover.load_class(name)
