"""The linear head of a task: its exact solution on frozen features."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tacita.tasks import Task
from tacita.tasks.heads import Standardise


def fit_linear_head(
    values: Tensor,
    known: Tensor,
    y: Tensor,
    task: Task,
    penalty: float,
    weights: Tensor | None = None,
) -> nn.Sequential:
    """The head that minimises the task's loss plus an L2 penalty: convex, so the answer is one.

    Solved by L-BFGS in float64 from zero weights. `penalty` is scikit-learn's `1 / C`: the loss is
    summed over samples, the squared norm has a factor one half.

    Shapes: `values (N, dim)` features of all samples (they set the standardisation), `known (n,)`
    positions of the labelled ones, `y (n,)` their labels and `weights (n,)`, of mean 1, if not all count
    once.
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
        loss = task.loss(linear(inputs), y, weights)
        loss = loss + penalty / (2 * len(y)) * linear.weight.square().sum()
        loss.backward()
        return float(loss.detach())

    solver.step(closure)  # type: ignore[no-untyped-call]
    return nn.Sequential(standardise, linear.float())
