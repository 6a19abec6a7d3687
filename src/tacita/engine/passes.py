"""Which samples a step sees: a function of the seed and the step, so any step can be repeated."""

from __future__ import annotations

import torch
from torch import Tensor


class Passes:
    """Endless shuffled passes over some positions, cut into batches.

    Each pass is a fresh permutation drawn from (seed, pass). A batch may span two passes, so every
    sample is seen equally often whatever the batch size, and no sample is dropped.

    >>> passes = Passes(torch.arange(3), batch_size=2, seed=0)
    >>> sorted(torch.cat([passes.at(step) for step in range(3)]).tolist())
    [0, 0, 1, 1, 2, 2]
    """

    def __init__(self, positions: Tensor, batch_size: int, seed: int) -> None:
        self.positions = positions
        self.batch_size = batch_size
        self.seed = seed
        self._order: dict[int, Tensor] = {}

    def at(self, step: int) -> Tensor:
        """`(batch_size,)`: the positions of step number `step`, from 0."""
        count = len(self.positions)
        start = step * self.batch_size
        first, last = start // count, (start + self.batch_size - 1) // count
        for old in [key for key in self._order if key < first]:
            del self._order[old]
        order = torch.cat([self._pass(number) for number in range(first, last + 1)])
        offset = start - first * count
        return order[offset : offset + self.batch_size]

    def _pass(self, number: int) -> Tensor:
        if number not in self._order:
            generator = torch.Generator().manual_seed(mix(self.seed, number))
            order = torch.randperm(len(self.positions), generator=generator)
            self._order[number] = self.positions[order]
        return self._order[number]


def mix(*numbers: int) -> int:
    """Several integers to one seed, so that neighbouring steps get unrelated random numbers.

    >>> mix(0, 1) != mix(1, 0)
    True
    """
    state = 0x9E3779B97F4A7C15
    for number in numbers:
        # splitmix64 (Steele, Lea and Flood, 2014): every input bit reaches every output bit.
        state = (state + number * 0x9E3779B97F4A7C15 + 0x9E3779B97F4A7C15) % 2**64
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) % 2**64
        state ^= state >> 31
    return state % 2**63
