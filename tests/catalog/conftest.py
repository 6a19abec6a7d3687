"""A small house on disk, so that the catalog is tested apart from the methods that there are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tacita.catalog import discover

PROBE = '''
from __future__ import annotations
from typing import TYPE_CHECKING, Literal
from tacita.catalog.cards import method
from tacita.parts.shared import Base

raise RuntimeError("reading a card must not run the module")

Pool = Literal["mean", "max"]

@method(
    "tiny-probe",
    title="Tiny probe",
    family="adapt",
    modalities=("images", "series"),
    summary="Reads classes off features.",
    paper="https://example.org/probe",
    year=2020,
    labels="few",
    reuses=("projector",),
)
class TinyProbe(Base):
    """A probe.

    width: how wide it is,
        in features.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        width: int = 8,
        rate: float = 1e-3,
        pool: Pool | None = None,
        sizes: tuple[int, ...] = (1, 2),
        views: Views | None,
        folder: Path | None = None,
    ) -> None: ...
'''

MASKED = '''
from tacita.catalog.cards import method
from tacita.parts.shared import Base

@method("tiny-mae", title="Tiny masked", family="pretrain", modalities=("series",), summary="Fills in.")
class TinyMae(Base):
    """Reconstructs what is hidden."""
'''

FOREST = """
from tacita.catalog.cards import method

@method("tiny-forest", title="Forest", family="baseline", modalities=("tables", "images"), summary="Votes.")
class TinyForest:
    def __init__(self, *, trees: int = 100) -> None: ...
"""

CNN = """
from torch import nn
from tacita.catalog.cards import method

@method("tiny-cnn", title="CNN", family="encoder", modalities=("images",), summary="Looks at images.")
class TinyCNN(nn.Module): ...
"""

SHARED = """
class Base(nn.Module, Generic[T]):
    def __init__(self, encoder, *, depth: int = 2, train: bool = True) -> None: ...
"""

TRAIN = '''
def train(
    objective,
    data,
    *,
    steps: int = 1000,
    batch_size: int = 64,
    learning_rate: float = 1e-3,
    checkpoint: Path | None = None,
    seed: int = 0,
    callbacks: Sequence[Callback] = (),
):
    """Train.

    steps: optimiser steps.
    """
'''

WATCH = """
def watch(learner, data, *, patience: int | None = None): ...
"""

HOUSE = {
    "adapt/tiny_probe.py": PROBE,
    "adapt/__init__.py": "",
    "pretrain/tiny_mae/__init__.py": MASKED,
    "baselines/tiny_forest.py": FOREST,
    "encoders/tiny_cnn.py": CNN,
    "parts/shared.py": SHARED,
    "engine/train.py": TRAIN,
    "adapt/watching.py": WATCH,
}

Write = Callable[[str, str], None]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes a module into an empty house, which the catalog takes for the real one."""
    root = tmp_path / "tacita"
    root.mkdir()
    monkeypatch.setattr(discover, "ROOT", root)
    monkeypatch.setattr(discover, "REGISTERED", {})

    def to_house(path: str, text: str) -> None:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")

    return to_house


@pytest.fixture
def house(write: Write) -> None:
    """A house of one method a room."""
    for path, text in HOUSE.items():
        write(path, text)
