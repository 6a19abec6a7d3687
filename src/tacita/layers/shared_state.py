"""A linear recurrence whose state all channels share: what LRU, S5 and its relatives have in common.

`x_t = a x_{t-1} + W u_t`, `y_t = Re(R x_t) + D u_t` with `P` complex states. It runs by a scan, in parallel
or a step at a time, so that the state can be erased anywhere: `O(L P)`, and two matrix products of
`O(L P H)` around it, each of which is a real one.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor
from torch.nn import functional

from tacita.kernels import linear_scan
from tacita.layers.base import Run, SequenceLayer, State, last_valid


class SharedStateSSM(SequenceLayer):
    """`H` channels write to and read from `P` states; a subclass says how, in `system`, and has a skip."""

    time_invariant = True
    resettable = True
    D: Tensor

    @abstractmethod
    def system(self, rate: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
        """`a (P,)`, `W (P, H)` and `R (H, P)`, complex."""

    def mix(self, x: Tensor, run: Run) -> tuple[Tensor, State | None]:
        with torch.autocast(x.device.type, enabled=False):
            u = x.to(self.D.dtype)
            a, write, read = self.system(run.rate)
            begun = None if run.state is None else run.state["ssm"]
            states = linear_scan(a, _written(u, write), begun, resets=run.resets)
            y = (_read(states, read) + self.D * u).to(x.dtype)
            if not run.return_state:
                return y, None
            before = torch.zeros_like(states[:, 0]) if begun is None else begun
            return y, {"ssm": last_valid(states, before, run.lengths)}

    def zeros(self, batch_size: int, like: Tensor) -> State:
        states = len(self.system()[0])
        return {"ssm": like.new_zeros(batch_size, states, dtype=like.dtype.to_complex())}

    def advance(self, x: Tensor, state: State, rate: float) -> tuple[Tensor, State]:
        with torch.autocast(x.device.type, enabled=False):
            u = x.to(self.D.dtype)
            a, write, read = self.system(rate)
            after = a * state["ssm"] + _written(u, write)
            return (_read(after, read) + self.D * u).to(x.dtype), {"ssm": after}


def _written(u: Tensor, write: Tensor) -> Tensor:
    """`W u`, `(..., P)`: real and imaginary parts side by side are one real product."""
    parts = functional.linear(u, torch.view_as_real(write).mT.flatten(0, 1))
    return torch.view_as_complex(parts.view(*u.shape[:-1], len(write), 2))


def _read(states: Tensor, read: Tensor) -> Tensor:
    """`Re(R x)`, `(..., H)`, which is one real product too: `Re R Re x - Im R Im x`."""
    weight = torch.stack([read.real, -read.imag], -1).flatten(1)
    return functional.linear(torch.view_as_real(states).flatten(-2), weight)
