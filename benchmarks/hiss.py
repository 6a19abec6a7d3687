"""HiSS against a flat stack of the same blocks: the upper level sees a tenth of the steps.

The flat model has one block of S4D for each of both levels, as wide, and so as many weights within 6%.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from benchmarks.timing import Result, side_by_side
from tacita.data.batch import InputSpec
from tacita.encoder import Encoder
from tacita.encoders.hiss import HiSS
from tacita.encoders.sequence_model import SequenceModel

BATCH, CHANNELS, STREAMED = 4, 6, 200


def run() -> list[Result]:
    """Forward and backward of whole series, and one sample at a time."""
    results = []
    for length in (1000, 8000):
        spec = InputSpec("series", (length, CHANNELS))
        torch.manual_seed(0)
        mine, flat = HiSS(spec), SequenceModel(spec)
        x = torch.randn(BATCH, length, CHANNELS)
        times = side_by_side(training(mine, x), training(flat, x), repeats=5)
        what = f"HiSS, chunks of 10, {BATCH}x{length}x{CHANNELS}, training step"
        results.append(Result(what, f"S4D, flat, {share(flat, mine)}", *times, ""))
    times = side_by_side(partial(stream, mine, x), partial(stream, flat, x), repeats=5)
    what = f"HiSS, {STREAMED} samples of {BATCH} series as they come"
    results.append(Result(what, f"S4D, flat, {share(flat, mine)}", *times, ""))
    return results


def share(flat: Encoder, mine: Encoder) -> str:
    """How many weights the flat model has, to those of HiSS."""
    count = [sum(each.numel() for each in model.parameters()) for model in (flat, mine)]
    return f"{count[0] / count[1]:.2f} times the weights"


def training(encoder: Encoder, x: Tensor) -> Callable[[], None]:
    """Forward and backward, with the gradients of all weights."""

    def step() -> None:
        encoder.zero_grad()
        torch.autograd.backward(encoder(x).tokens.square().mean())

    return step


@torch.no_grad()
def stream(encoder: HiSS | SequenceModel, x: Tensor) -> None:
    """One step after another."""
    state = encoder.initial_state(len(x))
    for step in range(STREAMED):
        _, state = encoder.step(x[:, step], state)


if __name__ == "__main__":
    for result in run():
        print(result.line())
