"""From continuous to discrete time: what a state-space layer multiplies its state by in one step.

For `x' = lambda x + B u` and a step `delta`, `x_t = A_bar x_{t-1} + B_bar u_t`. Each rule returns `A_bar`
and the factor of `B`, for `z = delta lambda`. Gu et al., "On the Parameterization and Initialization of
Diagonal State Space Models", 2022, section 3.2.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from tacita.errors import ConfigError

Rule = Literal["zoh", "bilinear"]


def discretise(z: Tensor, delta: Tensor, rule: str) -> tuple[Tensor, Tensor]:
    """`(log A_bar, B_bar / B)` for `z = delta * lambda`, complex; the logarithm, since powers follow.

    `zoh` holds the input over the step: `e^z` and `delta (e^z - 1) / z`. `bilinear` is the trapezoid rule:
    `(1 + z/2) / (1 - z/2)` and `delta / (1 - z/2)`. Raises `ConfigError` for another name.

    >>> z = torch.tensor([complex(-0.1, 0.0)])
    >>> discretise(z, torch.tensor(0.1), "zoh")[1].real
    tensor([0.0952])
    """
    if rule == "zoh":
        return z, delta * phi(z)
    if rule == "bilinear":
        return bilinear_exponent(z), delta / (1 - z / 2)
    raise ConfigError(f"discretisation={rule!r} is unknown.", remedy="Known: zoh, bilinear.")


def bilinear_exponent(z: Tensor) -> Tensor:
    """`log((1 + z/2) / (1 - z/2))`, its real part without cancellation where the decay of a step is small.

    >>> bilinear_exponent(torch.tensor([complex(0.0, 2.0)])).imag
    tensor([1.5708])
    """
    x, y = z.real / 2, z.imag / 2
    decay = torch.log1p(4 * x / ((1 - x).square() + y.square())) / 2
    return torch.complex(decay, torch.atan2(2 * y, 1 - x.square() - y.square()))


def phi(z: Tensor) -> Tensor:
    """`(e^z - 1) / z` for complex `z`, 1 at 0, without cancellation near it.

    >>> phi(torch.zeros(1, dtype=torch.complex64)).real
    tensor([1.])
    """
    small = z.abs() < 1e-4
    safe = torch.where(small, torch.ones_like(z), z)
    return torch.where(small, 1 + z / 2 + z * z / 6, torch.expm1(safe) / safe)


def log_steps(count: int, smallest: float, largest: float) -> Tensor:
    """`(count,)` logarithms of step sizes, uniform between those of the smallest and the largest.

    >>> bool((log_steps(5, 0.001, 0.1).exp() <= 0.1).all())
    True
    """
    if not 0 < smallest <= largest:
        raise ConfigError(
            f"dt_min={smallest} and dt_max={largest} are no range of step sizes.",
            remedy="The defaults are 0.001 and 0.1.",
        )
    low, high = math.log(smallest), math.log(largest)
    return low + (high - low) * torch.rand(count)
