"""The optimiser and its learning-rate schedule, with each parameter's own wishes honoured."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import torch
from torch import nn

from tacita.engine.schedules import Schedule, make_schedule
from tacita.errors import ConfigError

HINTS = ("learning_rate", "learning_rate_factor", "weight_decay")


def build_optimizer(
    module: nn.Module, name: Literal["adamw", "sgd"], learning_rate: float, weight_decay: float
) -> torch.optim.Optimizer:
    """AdamW, or SGD with Nesterov momentum 0.9, over the parameters that a gradient reaches.

    Norms, biases and other parameters of one axis or none get no weight decay. A module may say
    otherwise of its own parameters, as state-space layers do, in `optimizer_hints`:
    `{"step": {"learning_rate": 1e-3, "weight_decay": 0.0}}`; a hinted rate is an upper limit, so that
    fine-tuning at a small rate does not raise it, and a `learning_rate_factor` is of the run's rate, for
    parameters of another unit. Hints are the module's and not the
    parameter's, so they are there in a copy too. Raises `ConfigError` for a hint that means nothing.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for parameter, hints in _hinted(module):
        if parameter.requires_grad:
            rate = learning_rate * hints.get("learning_rate_factor", 1.0)
            rate = min(rate, hints.get("learning_rate", rate))
            decay = hints.get("weight_decay", weight_decay if parameter.ndim > 1 else 0.0)
            groups.setdefault((rate, decay), []).append(parameter)
    settings = [
        {"params": parameters, "lr": rate, "base": rate, "weight_decay": decay}
        for (rate, decay), parameters in groups.items()
    ]
    if name == "sgd":
        return torch.optim.SGD(settings, lr=learning_rate, momentum=0.9, nesterov=True)
    # The fused form is one pass over memory, also on CPU, where the default is a Python loop.
    return torch.optim.AdamW(settings, lr=learning_rate, fused=True)


def scale_learning_rate(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Set every group's rate to a share of its own base rate."""
    for group in optimizer.param_groups:
        group["lr"] = group["base"] * factor


def set_learning_rate(
    optimizer: torch.optim.Optimizer, schedule: Schedule, step: int, steps: int, warmup: float
) -> float:
    """Set every group's rate for a step (from 0): linear warm-up, then the schedule."""
    factor = make_schedule(schedule, steps, warmup)(step)
    scale_learning_rate(optimizer, factor)
    return factor


def _hinted(module: nn.Module) -> Iterator[tuple[nn.Parameter, dict[str, float]]]:
    """Every parameter once, with what its module says of it."""
    seen: set[int] = set()
    for path, each in module.named_modules():
        own = dict(each.named_parameters(recurse=False, remove_duplicate=False))
        hints: dict[str, dict[str, float]] = getattr(each, "optimizer_hints", {})
        for name, hint in hints.items():
            unknown = set(hint) - set(HINTS)
            if name not in own or unknown:
                raise ConfigError(
                    f"optimizer_hints of {path or type(each).__name__}: "
                    + (f"{min(unknown)} is unknown." if name in own else f"it has no {name}."),
                    remedy=f"Name own parameters and, of each, {' or '.join(HINTS)}.",
                )
        for name, parameter in own.items():
            if id(parameter) not in seen:
                seen.add(id(parameter))
                yield parameter, hints.get(name, {})
