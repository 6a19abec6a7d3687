"""Learn from much data and few labels: pretrain, adapt, keep learning, audit.

The public names are imported when they are first used, so that `import tacita` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tacita.catalog.discover import search as methods
    from tacita.data.convert import as_dataset
    from tacita.data.dataset import Dataset
    from tacita.data.describe import describe
    from tacita.data.read import load
    from tacita.engine.train import train
    from tacita.estimator import TacitaClassifier
    from tacita.model import Model
    from tacita.selection.fit import fit
    from tacita.selection.stream import pretrain_stream
    from tacita.selection.verbs import adapt, compare, pretrain

__version__ = "0.1.0"

# `adapt` and `pretrain` are rooms that can be called: see tacita.catalog.rooms.
_WHERE = {
    "Dataset": "tacita.data.dataset:Dataset",
    "Model": "tacita.model:Model",
    "TacitaClassifier": "tacita.estimator:TacitaClassifier",
    "adapt": "tacita.adapt",
    "as_dataset": "tacita.data.convert:as_dataset",
    "compare": "tacita.selection.verbs:compare",
    "describe": "tacita.data.describe:describe",
    "fit": "tacita.selection.fit:fit",
    "load": "tacita.data.read:load",
    "methods": "tacita.catalog.discover:search",
    "pretrain": "tacita.pretrain",
    "pretrain_stream": "tacita.selection.stream:pretrain_stream",
    "train": "tacita.engine.train:train",
}

__all__ = [
    "Dataset",
    "Model",
    "TacitaClassifier",
    "adapt",
    "as_dataset",
    "compare",
    "describe",
    "fit",
    "load",
    "methods",
    "pretrain",
    "pretrain_stream",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'tacita' has no attribute {name!r}")
    module, _, attribute = _WHERE[name].partition(":")
    found = import_module(module)
    value = globals()[name] = getattr(found, attribute) if attribute else found
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
