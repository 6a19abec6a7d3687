"""Small runs on digits that the engine's tests start, also in processes of their own."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tacita.data.batch import Batch, InputSpec
from tacita.data.dataset import Dataset
from tacita.encoder import Encoder, Encoding
from tacita.encoders import build
from tacita.engine.checkpoint import write_tensors
from tacita.engine.history import History
from tacita.engine.train import train
from tacita.modalities.load import load
from tacita.objective import Losses, Objective
from tacita.semisup.fixmatch import FixMatch

KILLED_STEPS = 200


class Flat(Encoder):
    """One linear layer over the pixels: no batch norm, no randomness."""

    modalities = ("images",)

    def __init__(self, spec: InputSpec, dim: int = 4) -> None:
        super().__init__()
        self.spec = spec
        self.dim = dim
        self.linear = nn.Linear(64, dim)

    def forward(self, batch: Batch) -> Encoding:
        x = batch.x
        features = self.linear(x.flatten(1))
        return Encoding(features[:, None], features)


class Plain(Objective[Batch]):
    """Cross-entropy averaged over the samples of a batch, and nothing else."""

    reads = "labelled"

    def __init__(self, encoder: Encoder, *, scale: float = 1.0) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(encoder.dim, 10)
        self.scale = scale

    def loss(self, batch: Batch) -> Losses:
        assert self.head is not None
        logits = self.head(self.encoder(batch).pooled)
        return Losses(plain=self.scale * functional.cross_entropy(logits, batch.y))


def digits_data(samples: int = 200, labelled: int = 40) -> Dataset:
    """The first digits, of which the first have labels."""
    data = load("digits").subset(torch.arange(samples))
    return data.hide_labels(torch.arange(labelled)).normalised()


def plain(data: Dataset, seed: int = 0, **options: Any) -> Plain:
    """The plain objective with weights drawn from a seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Plain(Flat(data.spec), **options)


def fixmatch(data: Dataset) -> FixMatch:
    """FixMatch with a tiny network: views, batch norm, averaged weights and a running mean."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return FixMatch(build("residual-cnn", data.spec, width=2), data.task, unlabelled_ratio=1)


def weights(module: nn.Module) -> dict[str, Tensor]:
    """A copy of everything that a module keeps."""
    return {name: value.clone() for name, value in module.state_dict().items()}


def equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    """Whether two copies are the same, bit for bit."""
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def killed_run(folder: Path) -> None:
    """A run that writes a checkpoint every step, goes on from it, and leaves its final weights."""
    torch.set_num_threads(1)
    # A shell lets what it starts in the background ignore interruptions, and this would too.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    data = digits_data()
    objective = fixmatch(data)
    (folder / "began").touch()
    train(
        objective,
        data,
        steps=KILLED_STEPS,
        batch_size=8,
        checkpoint=folder / "run.safetensors",
        checkpoint_every=0.03,
        resume=True,
    )
    write_tensors(folder / "final.safetensors", objective.state_dict(), {})


def shared_run(out: Path | None = None, spare: bool = False) -> tuple[History, Plain]:
    """A run whose result does not depend on how many processes share its batches."""
    data = digits_data()
    objective = plain(data)
    if spare:
        objective.spare = nn.Linear(2, 2)
    history = train(
        objective, data, steps=10, batch_size=16, accumulate=2, device="cpu", log_every=1
    )
    if out is not None and int(os.environ.get("RANK", "0")) == 0:
        rows = torch.tensor([row["total"] for row in history.rows], dtype=torch.float64)
        write_tensors(out, {**objective.state_dict(), "totals": rows}, {})
    return history, objective


if __name__ == "__main__":
    shared_run(Path(sys.argv[1]), "spare" in sys.argv)
