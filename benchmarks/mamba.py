"""The Mamba block: training against two other implementations, one step against those and attention."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import torch
from mambapy.mamba import MambaBlock
from mambapy.mamba import MambaConfig as PeerConfig
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import MambaConfig
from transformers.cache_utils import DynamicCache
from transformers.models.mamba.modeling_mamba import MambaMixer

from benchmarks.timing import Result, side_by_side
from tacita.layers.mamba import Mamba

WIDTH = 256
HEADS = 4
POSITION = 4096
"""Tokens before the one that is timed, for attention; nothing else knows how many there were."""
MANY = 50
"""Steps timed together."""


def run() -> list[Result]:
    """Blocks of one width with the same weights, float32, as many threads as torch takes."""
    ours, peer, mixer = Mamba(WIDTH), MambaBlock(PeerConfig(WIDTH, 1)), slow_mixer()
    weights = ours.state_dict()
    peer.load_state_dict(weights)
    mixer.load_state_dict(weights)
    what = f"Mamba block, training step, d_model {WIDTH}, B=2 L={{}}"
    results = []
    for length in (1024, 4096):
        x = torch.randn(2, length, WIDTH)
        times = side_by_side(training(ours, x), training(peer, x), repeats=3)
        results.append(Result(what.format(length), "mambapy", *times, "8"))
    x = torch.randn(2, 1024, WIDTH)
    mine, _ = side_by_side(training(ours, x), int)
    began = time.perf_counter()
    training(mixer, x)()  # once: it takes as long as all else here
    seconds = time.perf_counter() - began
    results.append(Result(what.format(1024), "transformers, without CUDA", mine, seconds, "500"))
    return [*results, *streaming(ours, mixer.eval())]


def slow_mixer() -> MambaMixer:
    """The layer of transformers, which without CUDA scans in a loop of torch's operations."""
    return MambaMixer(MambaConfig(hidden_size=WIDTH, num_hidden_layers=1), 0)


def training(block: nn.Module, x: Tensor) -> Callable[[], None]:
    """Forward and backward, the gradient of the input too, as inside a stack."""

    def step() -> None:
        block.zero_grad()
        block(x.detach().requires_grad_()).square().mean().backward()

    return step


@torch.no_grad()
def streaming(ours: Mamba, mixer: MambaMixer) -> list[Result]:
    """One more token after `POSITION` of them, whose number only attention minds."""
    what = f"Mamba block, one step in a stream, d_model {WIDTH}, B={{}}"
    rows = []
    for batch in (1, 16):
        token = torch.randn(batch, WIDTH)
        _, state = ours(torch.randn(batch, 64, WIDTH), return_state=True)
        cache = DynamicCache(config=mixer.config)
        mixer(torch.randn(batch, 64, WIDTH), cache=cache)
        attention = Attention(torch.randn(batch, POSITION, WIDTH))
        step = many(ours.step, token, state)
        times = side_by_side(step, many(mixer, token[:, None], cache))
        rows.append(Result(what.format(batch), "transformers, cached", *times, "3"))
        times = side_by_side(step, many(attention.step, token))
        rows.append(Result(what.format(batch), f"attention over {POSITION}", *times, "5"))
    return [replace(row, ours=row.ours / MANY, theirs=(row.theirs or 0) / MANY) for row in rows]


def many(work: Callable[..., object], *arguments: object) -> Callable[[], None]:
    """So many calls that a clock can tell them."""

    def run() -> None:
        with torch.no_grad():
            for _ in range(MANY):
                work(*arguments)

    return run


class Attention(nn.Module):
    """A block of attention over keys and values that are kept, in memory that is there beforehand."""

    def __init__(self, text: Tensor) -> None:
        super().__init__()
        self.enter = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
        self.leave = nn.Linear(WIDTH, WIDTH, bias=False)
        _, k, v = self._split(self.enter(text))
        self.kept = torch.stack([k, v])

    def step(self, token: Tensor) -> Tensor:
        """The last place is written again each time, so that the number of keys stays."""
        q, k, v = self._split(self.enter(token[:, None]))
        self.kept[0, :, :, -1:], self.kept[1, :, :, -1:] = k, v
        y = F.scaled_dot_product_attention(q, self.kept[0], self.kept[1])
        return self.leave(y.transpose(1, 2).flatten(2))[:, 0]

    def _split(self, projected: Tensor) -> Tensor:
        parts = projected.view(*projected.shape[:2], 3, HEADS, -1)
        return parts.permute(2, 0, 3, 1, 4)
