"""The codes of samples that were not learnt from, where the label is read from codes.

What bounds it: products of X with `r` columns, once; then `r x r` matrices on `r` rows, a class at a time.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tacita.adapt.supervised_dictionary.block import least_squares
from tacita.adapt.supervised_dictionary.objective import (
    Array,
    probabilities,
)

SWEEPS = 100
STEPS = 200


def reconstruction_codes(W: Array, X: Any, non_negative: bool) -> Array:
    """`(r, n)` that reconstruct `X (p, n)` best, whatever the label."""
    H = np.zeros((W.shape[1], X.shape[1]))
    return least_squares(W, X, H, non_negative, sweeps=SWEEPS)


def joint_values(
    W: Array, beta: Array, of_covariates: Array, X: Any, xi: float, nu: float, non_negative: bool
) -> Array:
    """`(K, n)`: what the objective of each sample would be with each class, with the best code for it.

    Accelerated projected gradient descent from the code that reconstructs best; |x|^2 is left out.
    """
    WW, WX = W.T @ W, (X.T @ W).T
    begin = reconstruction_codes(W, X, non_negative)
    bound = 0.25 if beta.shape[1] == 1 else 0.5
    weights = np.linalg.norm(beta.T @ beta, 2)
    curvature = 2 * xi * np.linalg.norm(WW, 2) + (bound + nu) * weights
    values = []
    for label in range(beta.shape[1] + 1):
        Y = np.zeros((beta.shape[1], 1))
        if label:
            Y[label - 1] = 1
        H, ahead = begin, begin
        for t in range(STEPS):
            own = beta.T @ ahead
            r = probabilities(own + of_covariates)[1:] - Y
            slope = 2 * xi * (WW @ ahead - WX) + beta @ (r + nu * own)
            new = ahead - slope / max(curvature, 1e-300)
            new = np.maximum(new, 0) if non_negative else new
            H, ahead = new, new + t / (t + 3) * (new - H)
        own = beta.T @ H
        loss = -np.log(probabilities(own + of_covariates)[label])
        reconstruction = np.einsum("rn,rn->n", H, WW @ H - 2 * WX)
        values.append(loss + xi * reconstruction + nu / 2 * np.einsum("cn,cn->n", own, own))
    return np.array(values)
