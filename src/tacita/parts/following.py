"""Parts of a network that follow training: a width that shrinks, positions that stay within bounds."""

from __future__ import annotations

from torch import nn


class FollowsTraining(nn.Module):
    """A module that the engine tells of every step, wherever in the objective it is.

    What changes is kept in buffers, so that a resumed run goes on with it. A loop of one's own calls
    `start` and `after_step` by `followers`.

    >>> class Falling(FollowsTraining):
    ...     def start(self, steps): self.left = steps
    ...     def after_step(self, step): self.left -= 1
    >>> network = nn.Sequential(nn.Linear(1, 1), Falling())
    >>> for each in followers(network): each.start(10)
    >>> for each in followers(network): each.after_step(0)
    >>> network[1].left
    9
    """

    def start(self, steps: int) -> None:
        """Called once before training: how many steps there will be."""

    def after_step(self, step: int) -> None:
        """Called after every optimiser step (from 0), before the objective's own `after_step`."""


def followers(module: nn.Module) -> list[FollowsTraining]:
    """All parts of a module that follow its training."""
    return [part for part in module.modules() if isinstance(part, FollowsTraining)]
