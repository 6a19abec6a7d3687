"""S5 with resets in its scan against a GRU that is reset where an episode starts."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from benchmarks.timing import Result, side_by_side
from tacita.layers.s5 import S5

BATCH, WIDTH, STATES = 16, 64, 32
EPISODE = 64
"""Steps of an episode; the fused GRU, which cannot be reset on the way, gets them as samples."""


def run() -> list[Result]:
    """Forward and backward, with the gradients of the input and of all weights."""
    torch.manual_seed(0)
    layer, cell = S5(WIDTH, d_state=2 * STATES), nn.GRUCell(WIDTH, WIDTH)
    fused = nn.GRU(WIDTH, WIDTH, batch_first=True)
    results = []
    for length in (256, 1024, 4096):
        x = torch.randn(BATCH, length, WIDTH, requires_grad=True)
        resets = torch.zeros(BATCH, length, dtype=torch.bool)
        resets[:, ::EPISODE] = True
        ours = partial(_train, lambda x, r: layer(x, resets=r), x, resets)
        what = f"S5 with resets, {BATCH}x{length}x{WIDTH}, {STATES} states, training"
        aim = "5" if length >= 512 else ""
        for peer, call, wanted in (
            ("torch GRUCell, reset at each step", partial(_loop, cell), aim),
            ("torch GRU, fused, episodes of 64 as samples", partial(_split, fused), ""),
        ):
            times = side_by_side(ours, partial(_train, call, x, resets), repeats=3)
            results.append(Result(what, peer, *times, wanted))
    return results


def _train(call: Callable[[Tensor, Tensor], Tensor], x: Tensor, resets: Tensor) -> None:
    x.grad = None
    call(x, resets).sum().backward()  # type: ignore[no-untyped-call]


def _loop(cell: nn.GRUCell, x: Tensor, resets: Tensor) -> Tensor:
    kept = (~resets).to(x.dtype)[:, :, None]
    state, outputs = torch.zeros(BATCH, WIDTH), []
    for step, keep in zip(x.unbind(1), kept.unbind(1), strict=True):
        state = cell(step, state * keep)
        outputs.append(state)
    return torch.stack(outputs, 1)


def _split(gru: nn.GRU, x: Tensor, resets: Tensor) -> Tensor:
    y: Tensor = gru(x.reshape(-1, EPISODE, WIDTH))[0]
    return y.reshape(x.shape)
