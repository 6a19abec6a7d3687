"""Linear heads on features: one form for all learners, and its exact solution on frozen features."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tacita.tasks import Task


class Standardise(nn.Module):
    """`(f - mean) / std` with fixed statistics, so that a penalty means the same for every feature.

    New, it changes nothing. Shapes: `(B, dim)` to the same.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("std", torch.ones(dim))

    @classmethod
    def fit(cls, values: Tensor) -> Standardise:
        """Statistics of `(N, dim)` features; a dead feature is scaled down to nothing."""
        module = cls(values.shape[1])
        std, mean = torch.std_mean(values.double(), 0, correction=0)
        module.mean.copy_(mean)
        module.std.copy_(torch.where(std > 1e-6 * (1 + mean.abs()), std, 1e6))
        return module

    def forward(self, values: Tensor) -> Tensor:
        return (values - self.mean) / self.std


def linear_head(dim: int, task: Task) -> nn.Sequential:
    """An untrained linear head, `(B, dim)` to `(B, task.out_dim)`."""
    return nn.Sequential(Standardise(dim), nn.Linear(dim, task.out_dim))


def fit_linear_head(
    values: Tensor, known: Tensor, y: Tensor, task: Task, penalty: float
) -> nn.Sequential:
    """The head that minimises the task's loss plus an L2 penalty: convex, so the answer is one.

    Solved by L-BFGS in float64 from zero weights. `penalty` is scikit-learn's `1 / C`: the loss is
    summed over samples, the squared norm has a factor one half.

    Shapes: `values (N, dim)` features of all samples (they set the standardisation), `known (n,)`
    positions of the labelled ones, `y (n,)` their labels.
    """
    standardise = Standardise.fit(values)
    inputs = standardise(values[known]).double()
    # Without the usual random start, which would also move the caller's random numbers on.
    linear = nn.utils.skip_init(  # type: ignore[no-untyped-call]
        nn.Linear, values.shape[1], task.out_dim, dtype=torch.float64
    )
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    solver = torch.optim.LBFGS(
        linear.parameters(), max_iter=200, tolerance_grad=1e-6, line_search_fn="strong_wolfe"
    )

    def closure() -> float:
        solver.zero_grad()
        loss = task.loss(linear(inputs), y)
        loss = loss + penalty / (2 * len(y)) * linear.weight.square().sum()
        loss.backward()
        return float(loss.detach())

    solver.step(closure)  # type: ignore[no-untyped-call]
    return nn.Sequential(standardise, linear.float())
