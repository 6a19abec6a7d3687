"""The optimiser and its learning-rate schedule, with each parameter's own wishes honoured."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import nn

Schedule = Literal["cosine", "constant"]


def build_optimizer(
    module: nn.Module, name: Literal["adamw", "sgd"], learning_rate: float, weight_decay: float
) -> torch.optim.Optimizer:
    """AdamW, or SGD with Nesterov momentum 0.9, over the parameters that a gradient reaches.

    Norms, biases and other parameters of one axis or none get no weight decay. A parameter may
    carry `learning_rate` and `weight_decay` attributes of its own (state-space layers set them).
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for parameter in module.parameters():
        if parameter.requires_grad:
            rate = getattr(parameter, "learning_rate", learning_rate)
            decay = getattr(parameter, "weight_decay", weight_decay if parameter.ndim > 1 else 0.0)
            groups.setdefault((rate, decay), []).append(parameter)
    settings = [
        {"params": parameters, "lr": rate, "base": rate, "weight_decay": decay}
        for (rate, decay), parameters in groups.items()
    ]
    if name == "sgd":
        return torch.optim.SGD(settings, lr=learning_rate, momentum=0.9, nesterov=True)
    # The fused form is one pass over memory, also on CPU, where the default is a Python loop.
    return torch.optim.AdamW(settings, lr=learning_rate, fused=True)


def set_learning_rate(
    optimizer: torch.optim.Optimizer, schedule: Schedule, step: int, steps: int, warmup: float
) -> float:
    """Set every group's rate for a step (from 0): linear warm-up, then the schedule."""
    rising = max(1, round(warmup * steps))
    if step < rising:
        factor = (step + 1) / rising
    elif schedule == "constant":
        factor = 1.0
    else:
        factor = 0.5 + 0.5 * math.cos(math.pi * (step - rising) / max(1, steps - rising))
    for group in optimizer.param_groups:
        group["lr"] = group["base"] * factor
    return factor
