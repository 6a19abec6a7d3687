"""A tiny real data set: what PyTorch's own documentation says of its parts."""

from __future__ import annotations

import inspect
import re
from types import ModuleType

import torch

from tacita.data.dataset import Dataset
from tacita.modalities.memory import as_dataset

FEW = 45
"""Of each kind, at most."""
_SIGNATURE = re.compile(r"^\S*\w\(.*?(?:\n\s*\n|\Z)", re.DOTALL)
_SENTENCE = re.compile(r"(?<=\w\.) ")


def torch_docs() -> Dataset:
    """Short descriptions of layers, distributions, special functions and linear algebra, by kind.

    They are the first sentences of the documentation that the installed torch brings with it.
    """
    rooms = {
        "distribution": torch.distributions,
        "layer": torch.nn,
        "linear algebra": torch.linalg,
        "special function": torch.special,
    }
    found = {kind: _described(room) for kind, room in rooms.items()}
    # One of each kind in turn, so that the first few are of all.
    pairs = [
        (texts[turn], kind)
        for turn in range(FEW)
        for kind, texts in found.items()
        if turn < len(texts)
    ]
    data = as_dataset([text for text, _ in pairs], [kind for _, kind in pairs])
    return Dataset(
        data.samples, data.targets, data.meta, data.task, source="documentation of torch"
    )


def _described(room: ModuleType) -> list[str]:
    """The first sentence of each public name's own documentation, without its signature."""
    found = []
    for name in sorted(vars(room)):
        thing = getattr(room, name)
        text = None if name.startswith("_") or inspect.ismodule(thing) else thing.__doc__
        if not isinstance(text, str):
            continue
        said = _SIGNATURE.sub("", inspect.cleandoc(text)).strip()
        first = _SENTENCE.split(" ".join(said.split("\n\n")[0].split()))[0]
        if len(first) > 20 and first not in found:
            found.append(first)
    return found
