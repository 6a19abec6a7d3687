"""Mixup: samples laid over others of their batch, and the loss that goes with them.

Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018, arXiv 1710.09412. A sample's own
share is at least one half here (MixMatch, section 3.3), so that a mixture still has one sample that
it is most like: its length, its categories and its place in the batch are that sample's.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tacita.catalog import discover
from tacita.data.batch import Batch, InputSpec
from tacita.errors import ConfigError
from tacita.processes import alike
from tacita.tasks import Task


def require_alpha(alpha: float, name: str = "alpha") -> float:
    """The parameter of a Beta distribution, which is above 0; raises `ConfigError` else."""
    if not 0 < alpha < float("inf"):
        raise ConfigError(f"{name}={alpha} is not above 0.", remedy="Usual are 0.2 to 1.")
    return alpha


def require_numbers(spec: InputSpec, method: str) -> None:
    """Refuse samples of which two cannot be averaged, such as texts; raises `ConfigError`."""
    if "numbers" not in discover.modality(spec.modality).gives:
        raise ConfigError(
            f"{method} averages samples, and two of {spec.modality} have no average.",
            remedy="Leave mixup out.",
        )


def draw_share(
    alpha: float, count: int = 1, *, least: float = 0.5, device: torch.device | None = None
) -> Tensor:
    """`(count,)` shares of a sample in its mixture, from `least` to 1: `max(l, 1 - l, least)`.

    `l ~ Beta(alpha, alpha)`; one share for a whole batch, or `count` of them.

    >>> 0.55 <= draw_share(0.75, least=0.55).item() <= 1
    True
    """
    parameter = torch.full((count,), alpha, device=device)
    with alike(device):
        drawn = torch.distributions.Beta(parameter, parameter, validate_args=False).sample()
    return torch.maximum(drawn, 1 - drawn).clamp_min(least)


def mixed(batch: Batch, others: Batch, order: Tensor, share: Tensor, spec: InputSpec) -> Batch:
    """Each sample with another one laid over it: `share * x + (1 - share) * others.x[order]`.

    others: what `order` counts: the batch itself, or that of all processes (`tacita.data.batch.of_all`).

    Shapes: `order (B,)` int64, which other sample; `share (B,)` or `(1,)`, one half or more. Labels,
    indices and lengths stay those of the first sample.

    A series is mixed as far as both are valid: beyond the other's end it is itself, since padding is
    no data. A table's categories have no mixture: they stay the first sample's, whose share is
    larger.

    >>> batch = Batch(torch.tensor([[0.0, 2.0], [1.0, 0.0]]), torch.arange(2), torch.arange(2))
    >>> spec = InputSpec("tables", (2,), cardinalities=(0, 3))
    >>> mixed(batch, batch, torch.tensor([1, 0]), torch.tensor([0.75]), spec).x.tolist()
    [[0.25, 2.0], [0.75, 0.0]]
    """
    x, other = batch.x, others.x[order]
    mixture = torch.lerp(other, x, share.view(-1, *[1] * (x.ndim - 1)).to(x.dtype))
    if batch.mask is not None and others.mask is not None:
        both = batch.mask & others.mask[order]
        mixture = torch.where(both[:, :, None], mixture, x)
    if any(spec.cardinalities):
        numbers = torch.tensor(spec.cardinalities, device=x.device) == 0
        mixture = torch.where(numbers, mixture, x)
    return batch.with_x(mixture)


def mixed_loss(
    task: Task,
    logits: Tensor,
    y: Tensor,
    other: Tensor,
    share: Tensor,
    weights: Tensor | None = None,
    other_weights: Tensor | None = None,
) -> Tensor:
    """`share * loss(logits, y) + (1 - share) * loss(logits, other)`, for one share a batch.

    `weights (B,)` and `other_weights (B,)`: how often the labels count, each in its part.

    Written with losses rather than mixed labels, so that it serves grades and numbers as well.

    >>> from tacita.tasks import Classification
    >>> task, y = Classification(("a", "b")), torch.tensor([0, 1])
    >>> mixed_loss(task, torch.zeros(2, 2), y, y[[1, 0]], torch.tensor([0.7])).item() == task.loss(
    ...     torch.zeros(2, 2), y
    ... ).item()
    True
    """
    (own,) = share
    first = task.loss(logits, y, weights)
    return own * first + (1 - own) * task.loss(logits, other, other_weights)
