"""Leaky integrate-and-fire neurons in plain torch, one step after another: what the fast forms must equal."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from tacita.values import length_mask


def lif_reference(
    current: Tensor,
    decay: float,
    threshold: float,
    alpha: float,
    lengths: Tensor | None,
    state: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Spikes and potentials `(B, L, D)`, as `lif` says.

    >>> spikes, _ = lif_reference(torch.ones(1, 3, 1), 0.5, 1.0, 5.0, None, None)
    >>> spikes.flatten()
    tensor([1., 1., 1.])
    """
    valid = None
    if lengths is not None:
        valid = length_mask(lengths, current.shape[1])[:, :, None]
        current = torch.where(valid, current, 0.0)
    left = torch.zeros_like(current[:, 0]) if state is None else state
    all_spikes, potentials = [], []
    for now in current.unbind(1):
        potential = decay * left + now
        spikes = arctan_spike(potential, threshold, alpha)
        # No gradient through the spike that resets.
        left = torch.where(potential >= threshold, 0.0, potential)
        all_spikes.append(spikes)
        potentials.append(potential)
    spikes, potential = torch.stack(all_spikes, 1), torch.stack(potentials, 1)
    if valid is not None:
        # Without current nothing fires after the end, but what was left still decays.
        spikes, potential = torch.where(valid, spikes, 0.0), torch.where(valid, potential, 0.0)
    return spikes, potential


def arctan_spike(potential: Tensor, threshold: float, alpha: float) -> Tensor:
    """1 where the threshold is reached, else 0, with the gradient of `arctan(pi / 2 alpha x) / pi`.

    >>> arctan_spike(torch.tensor([0.5, 1.0, 2.0]), 1.0, 5.0)
    tensor([0., 1., 1.])
    """
    spikes: Tensor = _ArctanSpike.apply(potential, threshold, alpha)
    return spikes


class _ArctanSpike(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, potential: Tensor, threshold: float, alpha: float) -> Tensor:
        ctx.save_for_backward(potential)
        ctx.options = threshold, alpha
        # What is not a number stays so, rather than to be no spike.
        return torch.where(potential >= threshold, 1.0, 0.0 * potential)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (potential,) = ctx.saved_tensors
        threshold, alpha = ctx.options
        steep = math.pi / 2 * alpha * (potential - threshold)
        return grad * (alpha / 2) / (1 + steep * steep), None, None
