"""Refusals that objectives share."""

from __future__ import annotations

from torch import Tensor

from tacita.data.batch import Batch
from tacita.errors import ConfigError, DivergedError
from tacita.processes import processes


def require_samples(batch: Batch, least: int, method: str, why: str) -> None:
    """Refuse a batch of fewer samples than a method can learn from; `why` ends the sentence.

    Raises `ConfigError`.

    >>> import torch
    >>> batch = Batch(torch.zeros(1, 2), torch.zeros(1), torch.arange(1))
    >>> require_samples(batch, 1, "mae", "of which nothing can be hidden")
    """
    if len(batch) * processes() < least:
        raise ConfigError(
            f"{method} got a batch of {len(batch)} sample{'s' * (len(batch) > 1)}, {why}.",
            remedy=f"Use a batch size of at least {least}; 64 or more is usual.",
        )


def require_finite(targets: Tensor, method: str) -> Tensor:
    """What a teacher says, unless it is NaN or infinite: a student would follow it there, and stay.

    Raises `DivergedError`.

    >>> import torch
    >>> require_finite(torch.ones(2), "byol")
    tensor([1., 1.])
    """
    if not targets.isfinite().all():
        raise DivergedError(
            f"The teacher of {method} gives targets that are not finite.",
            remedy="Try a smaller learning_rate, or precision 32-true; see that the data are finite.",
        )
    return targets
