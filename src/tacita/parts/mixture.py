"""How much each of several models is to count, by what they say of samples they were not trained on.

The weights are those of a mixture: the answer of the whole is the weighted mean of all answers. They are
found by expectation maximisation, and drawn to those that were thought right before, as if some more labels
had spoken for these, so that a handful of labels does not decide alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

STRENGTH = 10.0
"""How many labels the weights that were thought right before count as."""
COVER = 0.6
"""Share of the weight that the models which are kept hold together."""
HEAT = 1.0
"""Standard deviation of the logarithm of a temperature, before any label is seen."""
ROUNDS = 500
TOLERANCE = 1e-6


def mixture_weights(
    log_likelihoods: Tensor, prior: Tensor | None = None, strength: float = STRENGTH
) -> Tensor:
    """`(C,)` weights of models, whose sum is 1, from `(n, C)` log-likelihoods of labels under each.

    The maximum of `sum_n log sum_c w_c p_nc + strength sum_c prior_c log w_c`: a mixture's likelihood under
    a Dirichlet prior (Dempster, Laird and Rubin, 1977). Without samples they are the prior's.

    prior: `(C,)` shares above 0 whose sum is 1, by default even. strength: how many labels it counts as;
        with 0 the weights are those of most likelihood.

    >>> alike = torch.zeros(4, 2)
    >>> mixture_weights(alike).tolist()
    [0.5, 0.5]
    >>> first = torch.tensor([[0.0, -3.0]]).expand(40, 2)
    >>> [round(weight, 2) for weight in mixture_weights(first).tolist()]
    [0.9, 0.1]
    """
    logs = log_likelihoods.double()
    samples, models = logs.shape
    begin = logs.new_full((models,), 1 / models) if prior is None else prior.to(logs)
    weights = begin
    for _ in range(ROUNDS if samples else 0):
        shares = (logs + weights.log()).softmax(1).sum(0)
        found = (shares + strength * begin) / (samples + strength)
        done = bool((found - weights).abs().max() < TOLERANCE)
        weights = found
        if done:
            break
    return weights


def kept_weights(weights: Tensor, cover: float = COVER) -> Tensor:
    """The weights with the least of them at zero: the largest ones stay that hold `cover` of all together.

    Of equal weights all stay or none does, so that the order of the models decides nothing.

    >>> [round(weight, 3) for weight in kept_weights(torch.tensor([0.5, 0.3, 0.2])).tolist()]
    [0.625, 0.375, 0.0]
    """
    weights = weights.double()
    order = weights.sort(descending=True).values
    enough = int((order.cumsum(0) < cover - TOLERANCE).sum())
    kept = torch.where(weights >= order[enough] - TOLERANCE, weights, 0.0)
    return kept / kept.sum()


def temperature(losses: Callable[[float], Tensor]) -> float:
    """The temperature by which a model's logits are divided: what makes its labels likeliest, drawn to 1.

    losses: `(n,)` of the samples at a temperature. Guo et al., "On Calibration of Modern Neural Networks",
    2017; here the logarithm is normal about 0 with a deviation of 1, so that few labels change little.

    >>> labels = torch.tensor([0, 0, 0, 1])
    >>> sure = torch.tensor([[8.0, 0.0]]).expand(4, 2)
    >>> temperature(lambda t: torch.nn.functional.cross_entropy(sure / t, labels, reduction="none")) > 3
    True
    """

    def against(log_heat: float) -> float:
        fit = float(losses(math.exp(log_heat)).double().sum())
        return fit + 0.5 * (log_heat / HEAT) ** 2

    found = minimize_scalar(against, bounds=(-3, 3), method="bounded", options={"xatol": 1e-3})
    return math.exp(float(found.x))
