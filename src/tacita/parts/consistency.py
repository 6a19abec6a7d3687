"""Consistency: how far two predictions for one sample are apart, and how that weight rises.

Laine and Aila, "Temporal Ensembling for Semi-Supervised Learning", ICLR 2017, arXiv 1610.02242.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from tacita.errors import ConfigError

Distance = Literal["squared", "kl"]
"""Between two predictions: the squared difference of probabilities, or the divergence of the second."""


def consistency(p: Tensor, target: Tensor, distance: Distance = "squared") -> Tensor:
    """Mean over samples and classes of what separates class probabilities, both `(B, K)`.

    "squared": `|p - target|^2 / K`, symmetric, from 0 to `2 / K`. "kl": `KL(target || p) / K`.
    A gradient flows into both; a method with a stop-gradient passes `target.detach()`.

    >>> consistency(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])).item()
    1.0
    """
    if distance == "squared":
        return (p - target).square().mean()
    # Probabilities come from a float32 softmax, whose smallest ones are below what a log can take.
    tiny = torch.finfo(p.dtype).tiny
    return (target * (target.clamp_min(tiny).log() - p.clamp_min(tiny).log())).mean()


class RampUp(nn.Module):
    """A factor that rises over the first steps to 1, so that early guesses weigh little.

    share: of the steps, over which it rises; 0 keeps it at 1.
    shape: "sigmoid" is `exp(-5 (1 - t)^2)` (Laine and Aila, section 3.1), "linear" is `t`, where t goes
        from 0 to 1.

    The objective calls `start` and `after_step`; until `start` it is what it is before the first step.
    The factor is saved with a checkpoint. Raises `ConfigError` for a share that is not from 0 to 1.

    >>> ramp = RampUp(0.5)
    >>> ramp.start(100)
    >>> for step in range(50): ramp.after_step(step)
    >>> ramp.factor.item()
    1.0
    """

    factor: Tensor

    def __init__(self, share: float, *, shape: Literal["sigmoid", "linear"] = "sigmoid") -> None:
        super().__init__()
        if not 0 <= share <= 1:
            raise ConfigError(
                f"ramp_up={share} is not a share of the steps.", remedy="Give 0 to 1."
            )
        self.share = share
        self.shape = shape
        self.steps = 0
        self.register_buffer("factor", torch.tensor(1.0 if share == 0 else self.at(0.0)))

    def at(self, t: float) -> float:
        """The factor where a part t (0 to 1) of the rise is done."""
        return math.exp(-5 * (1 - t) ** 2) if self.shape == "sigmoid" else t

    def start(self, steps: int) -> None:
        """How many steps there will be."""
        self.steps = steps

    def after_step(self, step: int) -> None:
        """Move on to the factor of the step after `step` (from 0)."""
        rise = self.share * self.steps
        self.factor.fill_(self.at(min(1.0, (step + 1) / rise) if rise else 1.0))
