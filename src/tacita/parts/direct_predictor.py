"""A linear predictor that is not trained: its weight follows from the correlation of its inputs.

Tian et al., "Understanding Self-Supervised Learning Dynamics without Contrastive Pairs", 2021: training
would align the predictor with the correlation's eigenvectors and bring its eigenvalues to their
roots, so it may as well be put there at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from tacita.errors import ConfigError
from tacita.processes import gathered

Rule = Literal["root", "copy", "diagonal"]

LEAST = 1e-4
"""No eigenvalue of the predictor is smaller, as in the authors' code: it would be dead for good."""


class DirectPredictor(nn.Module):
    """`p = W z` with `W` set from `F`, the running average of `E z z^T`; shapes `(B, D)` to the same.

    rule: "root" is DirectPred, `W = U diag(sqrt(s / max s) + epsilon) U^T` for `F = U diag(s) U^T`;
        "copy" is DirectCopy, `W = F / |F| + epsilon I` with the spectral norm, which is the same
        without the root; "diagonal" takes the roots of the diagonal of `F`, and no eigenvectors.
    epsilon: what each eigenvalue gets on top; the paper's best is 0.1.
    momentum: of the average, rho in the paper; its 0.3 makes `F` mostly the last batch's.
    every: steps from one setting to the next (1 in the paper, 5 in its hybrid form). Between them the
        weight is trained like any other; with 1 it never is, and no optimiser gets it.
    centred: whether each batch's mean is taken out; not in the paper's main form.

    In a loop of one's own, `update(z, step)` comes after the optimiser's step, with the embeddings of
    both views that the predictor saw. Until the first update the predictor is the identity. `F` and
    `W` are part of the state, so a run goes on from a checkpoint as it would have.

    Raises `ConfigError` for options that make no sense.

    >>> predictor = DirectPredictor(2)
    >>> predictor.update(torch.tensor([[3.0, 0.0], [0.0, 1.0]]), step=0)
    >>> predictor.weight
    tensor([[1.1000, 0.0000],
            [0.0000, 0.4333]])
    """

    correlation: Tensor
    weight: Tensor

    def __init__(
        self,
        dim: int,
        *,
        rule: Rule = "root",
        epsilon: float = 0.1,
        momentum: float = 0.3,
        every: int = 1,
        centred: bool = False,
    ) -> None:
        super().__init__()
        if rule not in RULES:
            raise ConfigError(
                f"rule={rule!r}: unknown.", remedy=f"Known: {', '.join(get_args(Rule))}."
            )
        if epsilon < 0:
            raise ConfigError(f"epsilon={epsilon} is negative.", remedy="The paper's is 0.1.")
        if not 0 <= momentum < 1:
            raise ConfigError(
                f"momentum={momentum} of the correlation is not between 0 and 1.",
                remedy="The paper's is 0.3; 0 takes the last batch alone.",
            )
        if every < 1:
            raise ConfigError(
                f"every={every}: it must be 1 or more.", remedy="The paper has 1 or 5."
            )
        self.rule = rule
        self.epsilon = epsilon
        self.momentum = momentum
        self.every = every
        self.centred = centred
        self.register_buffer("correlation", torch.zeros(dim, dim))
        if every == 1:
            self.register_buffer("weight", torch.eye(dim))
        else:
            self.weight = nn.Parameter(torch.eye(dim))

    def forward(self, z: Tensor) -> Tensor:
        return functional.linear(z, self.weight)

    @torch.no_grad()
    def update(self, z: Tensor, step: int) -> None:
        """Take embeddings `(N, D)` into the average, and set the weight if step (from 0) is its turn."""
        batch = correlation_of(gathered(z), centred=self.centred)
        # The average begins at zero: the first is too small by a factor, which no rule sees.
        self.correlation.lerp_(batch.to(self.correlation.dtype), 1 - self.momentum)
        # Embeddings that are not finite are for the loop to report, which sees the loss.
        if step % self.every == 0 and bool(self.correlation.isfinite().all()):
            self.weight.copy_(RULES[self.rule](self.correlation, self.epsilon))


def correlation_of(z: Tensor, *, centred: bool = False) -> Tensor:
    """`(D, D)`: the mean of `z z^T` over rows of `(N, D)`, at least in float32.

    >>> correlation_of(torch.tensor([[2.0, 0.0], [0.0, 2.0]])).tolist()
    [[2.0, 0.0], [0.0, 2.0]]
    """
    with torch.autocast(z.device.type, enabled=False):
        z = z if z.dtype == torch.float64 else z.float()
        if centred:
            z = z - z.mean(0)
        return z.T @ z / z.shape[0]


def root_rule(correlation: Tensor, epsilon: float) -> Tensor:
    """`U diag(sqrt(s / max s) + epsilon) U^T`, in float64 on the CPU.

    There on any device: for a matrix this small it is as quick as elsewhere, and not every device has
    an eigendecomposition in double precision.

    >>> root_rule(torch.diag(torch.tensor([4.0, 1.0])), 0.0).tolist()
    [[1.0, 0.0], [0.0, 0.5]]
    """
    s, u = torch.linalg.eigh(correlation.to("cpu", torch.float64))
    p = _relative(s).sqrt() + epsilon
    return (u * p.clamp_min(LEAST)) @ u.T


def copy_rule(correlation: Tensor, epsilon: float) -> Tensor:
    """`F / |F| + epsilon I`, the norm being the largest eigenvalue (Wang et al., 2021).

    >>> copy_rule(torch.diag(torch.tensor([4.0, 1.0])), 0.0).tolist()
    [[1.0, 0.0], [0.0, 0.25]]
    """
    f = correlation.to("cpu", torch.float64)
    largest = torch.linalg.eigvalsh(f)[-1].clamp_min(torch.finfo(torch.float64).tiny)
    return f / largest + epsilon * torch.eye(f.shape[0], dtype=torch.float64)


def diagonal_rule(correlation: Tensor, epsilon: float) -> Tensor:
    """`diag(sqrt(F_jj / max F_jj) + epsilon)`: what is left without eigenvectors.

    >>> diagonal_rule(torch.tensor([[4.0, 1.0], [1.0, 1.0]]), 0.0).tolist()
    [[1.0, 0.0], [0.0, 0.5]]
    """
    s = correlation.diagonal().to("cpu", torch.float64)
    return torch.diag((_relative(s).sqrt() + epsilon).clamp_min(LEAST))


def _relative(s: Tensor) -> Tensor:
    """Shares of the largest; rounding may have made some of the smallest negative. Zeros stay zeros."""
    return s.clamp_min(0) / s.max().clamp_min(torch.finfo(torch.float64).tiny)


RULES: dict[str, Callable[[Tensor, float], Tensor]] = {
    "root": root_rule,
    "copy": copy_rule,
    "diagonal": diagonal_rule,
}
