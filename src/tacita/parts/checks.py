"""Refusals that objectives share."""

from __future__ import annotations

from tacita.data.batch import Batch
from tacita.errors import ConfigError


def require_samples(batch: Batch, least: int, method: str, why: str) -> None:
    """Refuse a batch of fewer samples than a method can learn from; `why` ends the sentence.

    Raises `ConfigError`.

    >>> import torch
    >>> batch = Batch(torch.zeros(1, 2), torch.zeros(1), torch.arange(1))
    >>> require_samples(batch, 1, "mae", "of which nothing can be hidden")
    """
    if len(batch) < least:
        raise ConfigError(
            f"{method} got a batch of {len(batch)} sample{'s' * (len(batch) > 1)}, {why}.",
            remedy=f"Use a batch size of at least {least}; 64 or more is usual.",
        )
