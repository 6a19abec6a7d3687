"""Learn from much data and few labels: pretrain, adapt, keep learning, audit.

The public names are imported when they are first used, so that `import tacita` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tacita.catalog.discover import search as methods
    from tacita.data.dataset import Dataset
    from tacita.engine.train import train
    from tacita.estimators import TacitaClassifier, TacitaRegressor, TacitaTransformer
    from tacita.modalities.load import load
    from tacita.modalities.memory import as_dataset
    from tacita.model.model import Model
    from tacita.report.describe import describe
    from tacita.verbs.adapt import adapt
    from tacita.verbs.compare import compare
    from tacita.verbs.fit import fit
    from tacita.verbs.label_next import label_next
    from tacita.verbs.pretrain import pretrain
    from tacita.verbs.pretrain_stream import pretrain_stream

__version__ = "0.1.0"

# `adapt` and `pretrain` are rooms that can be called: see tacita.catalog.rooms.
_WHERE = {
    "Dataset": "tacita.data.dataset:Dataset",
    "Model": "tacita.model.model:Model",
    "TacitaClassifier": "tacita.estimators:TacitaClassifier",
    "TacitaRegressor": "tacita.estimators:TacitaRegressor",
    "TacitaTransformer": "tacita.estimators:TacitaTransformer",
    "adapt": "tacita.adapt",
    "as_dataset": "tacita.modalities.memory:as_dataset",
    "compare": "tacita.verbs.compare:compare",
    "describe": "tacita.report.describe:describe",
    "fit": "tacita.verbs.fit:fit",
    "label_next": "tacita.verbs.label_next:label_next",
    "load": "tacita.modalities.load:load",
    "methods": "tacita.catalog.discover:search",
    "pretrain": "tacita.pretrain",
    "pretrain_stream": "tacita.verbs.pretrain_stream:pretrain_stream",
    "train": "tacita.engine.train:train",
}

__all__ = [
    "Dataset",
    "Model",
    "TacitaClassifier",
    "TacitaRegressor",
    "TacitaTransformer",
    "adapt",
    "as_dataset",
    "compare",
    "describe",
    "fit",
    "label_next",
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
