"""What the training loop costs beyond the networks: our engine against a bare loop in torch."""

from __future__ import annotations

import copy

import torch

from benchmarks.timing import Result, side_by_side
from tacita.adapt.supervised import Supervised
from tacita.encoders import build
from tacita.engine.passes import Passes
from tacita.engine.train import train
from tacita.modalities.load import load
from tacita.pretrain.barlow_twins import BarlowTwins

STEPS = 200


def run() -> list[Result]:
    """The same batches, losses and optimiser; the bare loop neither seeds, logs, clips nor saves."""
    data = load("digits").normalised()
    results = []
    for name, make, size in (
        ("supervised", lambda: Supervised(build("residual-cnn", data.spec), data.task), 128),
        ("barlow-twins", lambda: BarlowTwins(build("residual-cnn", data.spec)), 128),
    ):
        torch.manual_seed(0)
        mine = make()
        other = copy.deepcopy(mine)

        def engine(objective: torch.nn.Module = mine, size: int = size) -> None:
            train(objective, data, steps=STEPS, batch_size=size)  # type: ignore[arg-type]

        def bare(objective: torch.nn.Module = other, size: int = size) -> None:
            passes = Passes(torch.arange(len(data)), size, 0)
            optimizer = torch.optim.AdamW(objective.parameters(), lr=1e-3, fused=True)
            objective.train()
            for step in range(STEPS):
                optimizer.zero_grad()
                objective(data.take(passes.at(step))).total.backward()
                optimizer.step()

        ours, peer = side_by_side(engine, bare, repeats=5)
        results.append(
            Result(f"{STEPS} steps of {name}, digits", "bare torch loop", ours, peer, "0.95")
        )
    return results
