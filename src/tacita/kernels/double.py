"""Double precision wherever a computation needs it, on devices that have none as well."""

from __future__ import annotations

import torch
from torch import Tensor

WITHOUT = frozenset({"mps"})
"""Types of devices without float64 and complex128: what needs them is computed on the CPU there."""


def doubled(x: Tensor) -> Tensor:
    """`x` in double precision, on its own device or, where that has none, on the CPU; differentiable.

    What comes of it goes back by `.to(x)`.

    >>> doubled(torch.ones(2, dtype=torch.complex64)).dtype
    torch.complex128
    """
    device = torch.device("cpu") if x.device.type in WITHOUT else x.device
    return x.to(device, torch.complex128 if x.is_complex() else torch.float64)
