"""Parameters that half precision is too narrow for: eigenvalues, step sizes, kernels and gates.

A step size of 1e-3 or an eigenvalue near 1 is lost in the eight bits of bfloat16, and complex numbers of
half width hardly exist. So a model that is cast to half precision has its linear maps cast, and keeps
what its state-space systems are made of, as Mamba's and S4's authors do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

import torch
from torch import Tensor, nn

HALVES = (torch.float16, torch.bfloat16)


class SinglePrecision(nn.Module):
    """A module whose own parameters and buffers are float32 at least; its children's may be half.

    >>> class Gain(SinglePrecision):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.gain = nn.Parameter(torch.ones(1))
    ...         self.map = nn.Linear(1, 1)
    >>> model = Gain().bfloat16()
    >>> model.gain.dtype, model.map.weight.dtype
    (torch.float32, torch.bfloat16)
    """

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """What `to`, `half`, `cuda` and the like do to every tensor."""

        def widely(tensor: Tensor) -> Tensor:
            moved = fn(tensor)
            if moved.dtype not in HALVES:
                return moved
            return tensor.to(moved.device, torch.promote_types(tensor.dtype, torch.float32))

        if recurse:
            for child in self.children():
                child._apply(fn)  # type: ignore[no-untyped-call]
        made: Self = super()._apply(widely, recurse=False)  # type: ignore[no-untyped-call]
        return made
