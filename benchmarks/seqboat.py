"""SeqBoat: what is saved where attention runs at a quarter of the steps, in time and in memory for gradients.

The peer is the same stack with local attention at every step. Routers are replaced by fixed draws, so that
the share is known; all else of the layer runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmarks.timing import Result, side_by_side
from tacita.layers.seqboat import SeqBoat
from tacita.layers.stack import Block, Stack

WIDTH, DEPTH, LENGTH, BATCH = 128, 2, 4096, 2
SHARES = {0.5: "", 0.25: "1.8", 0.1: ""}
"""Of the steps that are active, and the ratio of times to reach."""
PEER = "attention at every step"


def run() -> list[Result]:
    """Two blocks with the defaults of text, a window of 128 active steps, float32."""
    x = torch.randn(BATCH, LENGTH, WIDTH)
    every, none = stack(1.0), stack(0.0)
    all_on, off = saved_megabytes(every, x), saved_megabytes(none, x)
    results = []
    for share, aim in SHARES.items():
        what = f"SeqBoat, d_model {WIDTH}, B={BATCH} L={LENGTH}, {share:.0%} active"
        few = stack(share)
        times = side_by_side(training(few, x), training(every, x), repeats=5)
        results.append(Result(f"{what}: training step", PEER, *times, aim))
        kept = saved_megabytes(few, x)
        results.append(Result(f"{what}: kept for gradients", PEER, kept, all_on, "", "MB"))
        # What attention adds to what is kept without it, from these steps to all of them.
        slope = math.log((all_on - off) / (kept - off)) / math.log(1 / share)
        what = f"{what}: kept by attention, against active steps"
        results.append(Result(what, "", slope, None, "1", "slope"))
    return results


def stack(share: float) -> Stack:
    """The same weights for any share."""
    torch.manual_seed(0)
    layers = [SeqBoat(WIDTH) for _ in range(DEPTH)]
    for layer in layers:
        layer.router = FixedRouter(share)  # type: ignore[assignment]
    return Stack([Block(layer) for layer in layers])


class FixedRouter(nn.Module):
    """Confident at a share of the steps, drawn for each sample, whatever they are."""

    def __init__(self, share: float) -> None:
        super().__init__()
        count = round(share * LENGTH)
        places = torch.rand(BATCH, LENGTH).argsort(1)[:, :count]
        self.confidence = torch.zeros(BATCH, LENGTH).scatter(1, places, 0.75)

    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        return self.confidence


def training(model: nn.Module, x: Tensor) -> Callable[[], None]:
    """Forward and backward."""

    def step() -> None:
        model.zero_grad()
        model(x).square().mean().backward()

    return step


def saved_megabytes(model: nn.Module, x: Tensor) -> float:
    """Of the tensors that one pass keeps for its gradients, each storage once."""
    kept: dict[int, int] = {}

    def pack(saved: Tensor) -> Tensor:
        storage = saved.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return saved

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: saved):
        y = model(x)  # alive until all is counted, so that no address is used twice
    del y
    return sum(kept.values()) / 2**20
