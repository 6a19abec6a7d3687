"""A line of the history from the losses of a step, and the refusal of a loss that went bad."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from lightning_fabric import Fabric

from tacita.errors import DivergedError
from tacita.objective import Losses


def means(losses: Sequence[Losses]) -> tuple[dict[str, float], dict[str, float]]:
    """The total with every term, and the metrics, over the parts of a batch."""
    count = len(losses)
    total = {"total": sum(float(part.total.detach()) for part in losses) / count}
    terms = {name: sum(float(part[name].detach()) for part in losses) / count for name in losses[0]}
    metrics = {
        name: sum(float(part.metrics[name].detach()) for part in losses) / count
        for name in losses[0].metrics
    }
    return total | terms, metrics


def make_row(step: int, losses: Sequence[Losses], fabric: Fabric) -> dict[str, float]:
    """A line of the history, the same in every process."""
    terms, metrics = means(losses)
    values = terms | metrics
    if fabric.world_size > 1:
        mine = torch.tensor(list(values.values()), dtype=torch.float64, device=fabric.device)
        shared: Any = fabric.all_reduce(mine, reduce_op="mean")
        values = dict(zip(values, shared.tolist(), strict=True))
    check_finite(step, {name: values[name] for name in terms})
    return {"step": step, **values}


def check_finite(step: int, terms: Mapping[str, float]) -> None:
    """Raise `DivergedError` naming the term that is NaN or infinite."""
    wrong = [name for name, value in terms.items() if not math.isfinite(value)]
    if wrong:
        # The total is wrong because a term is: the term is what to look at.
        name = next((name for name in wrong if name != "total"), "total")
        raise DivergedError(
            f"The loss term {name!r} became {terms[name]} by step {step}.",
            remedy="Try a smaller learning_rate, or precision 32-true.",
        )
