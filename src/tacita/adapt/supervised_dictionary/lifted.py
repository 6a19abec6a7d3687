"""Low-rank projected gradient descent (Algorithm 1): the products are learnt, then factored.

In `Z = [A | B]` and gamma the objective is convex; the factors are back in as rank Z <= r. Each step is

    Z <- P_r(Z - tau grad_Z f),    gamma <- gamma - tau grad_gamma f,

with P_r the nearest matrix of rank r, a truncated SVD. Where f curves between mu and L with L / mu < 3,
any constant tau in (1 / (2 mu), 3 / (2 L)) brings the distance to the minimiser down by the factor
`2 (1 - tau mu)` a step, whatever the start.

The unit in which A is measured changes neither its rank nor f, but L, mu and what is nearest. B curves by
2 xi everywhere. The unit is chosen here such that tau = 1 / (2 xi) is in the middle of the interval: the
step then puts B on X, and P_r is that of `[t A | X]`. (Where tau is larger, B goes beyond X, which raises
the directions that were left out over those that were kept; the descent can then swap them for ever.)

What bounds it: products of X, dense or sparse, with a vector, a few tens a step. `[t A | X]` is formed
where one side is short.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import issparse
from scipy.sparse.linalg import LinearOperator, svds

from tacita.adapt.supervised_dictionary.block import classifier
from tacita.adapt.supervised_dictionary.objective import (
    Array,
    Factors,
    Problem,
    descended,
    largest_eigenvalue,
    lifted,
    lifted_activation,
    lifted_gradients,
    logistic_loss,
    squared_norm,
    value,
)

SHORT = 200
"""Sides up to this are decomposed exactly."""
START = 100
"""Steps to the start."""


class Conditioning(NamedTuple):
    """t and the unit of gamma, how f curves in these units, and tau."""

    scale_A: float
    scale_gamma: float
    mu: float
    L: float
    step: float

    @property
    def number(self) -> float:
        """L / mu: below 3 the convergence is exponential."""
        return self.L / self.mu if self.mu > 0 else np.inf

    @property
    def rate(self) -> float:
        """What the distance to the minimiser is multiplied by in a step, at most, where `number` < 3."""
        return 2 * (1 - self.step * self.mu)


def condition(problem: Problem) -> Conditioning:
    """The units for a problem; where L / mu is 3 or more, those in which tau is 1 / L.

    By `mu = nu` and `L = nu + c |[X; X_aux]|^2` in A's own unit, c the most that the loss curves; for a
    feature, `L = nu + 2 c`, and mu is less by what the covariates' weights are scaled.
    """
    c, nu = problem.loss_curvature, problem.nu
    if problem.variant == "filter":
        ratio, most, least = 1.0, nu + c * problem.spread_with_covariates, nu
    else:
        ratio, most = max(1.0, largest_eigenvalue(problem.X_aux)), nu + 2 * c
        # Nothing holds the activation of a sample without a label but the rank.
        least = nu / ratio if len(problem.labelled) == problem.X.shape[1] else 0.0
    step = 1 / (2 * problem.xi)
    # In A's own unit the step is 1 / `most`, or the middle of (1 / (2 mu), 3 / (2 L)).
    own_step = (1 / (2 * least) + 3 / (2 * most)) / 2 if most < 3 * least else 1 / most
    scale = (step / own_step) ** 0.5
    mu, L = min(1 / step, least / scale**2), max(1 / step, most / scale**2)
    return Conditioning(scale, scale * ratio**0.5, mu, L, step)


def best_start(problem: Problem, rank: int, units: Conditioning) -> Factors:
    """The better of two points: what reconstructs best with a classifier on it, and what classifies best.

    The second is P_r of the minimiser of f without the bound on the rank, found in a few steps: B = X, and
    the logistic regression on all of X (for a feature, activations that say the labels). Where L / mu is
    large, the descent can neither let a weak direction grow past the truncation nor give one up.
    """
    zero = np.zeros((problem.X.shape[0 if problem.variant == "filter" else 1], len(problem.Y)))
    gamma = np.zeros((len(problem.X_aux), len(problem.Y)))
    point = _projected(problem, zero, gamma, rank, units.scale_A)
    beta, gamma = classifier(problem, point)
    starts = point._replace(beta=beta, gamma=gamma), _labels_first(problem, rank, units)
    return min(starts, key=lambda start: value(problem, start))


def _labels_first(problem: Problem, rank: int, units: Conditioning) -> Factors:
    rows = problem.X.shape[0 if problem.variant == "filter" else 1]
    kappa, q = len(problem.Y), len(problem.X_aux)

    def loss(weights: Array) -> tuple[float, Array]:
        A, gamma = weights[:rows], weights[rows:]
        a = lifted_activation(problem, A, gamma)
        penalised = squared_norm(A) + squared_norm(gamma)
        slopes = np.concatenate(lifted_gradients(problem, A, gamma, a))
        return logistic_loss(problem.Y, a) + problem.nu / 2 * penalised, slopes

    weights = descended(loss, np.zeros((rows + q, kappa)), steps=START)
    return _projected(problem, weights[:rows], weights[rows:], rank, units.scale_A)


def lifted_steps(problem: Problem, start: Factors, units: Conditioning) -> Iterator[Factors]:
    """The points of the descent from `start` on, whose rank they keep; endless.

    Where L / mu is 3 or more, each step starts a little ahead of the point (Nesterov's momentum, from
    anew wherever it leads uphill); else it is the paper's.
    """
    t, rank = units.scale_A, len(start.beta)
    A, gamma = lifted(problem, start), start.gamma
    A_ahead, gamma_ahead, age = A, gamma, 0
    while True:
        a = lifted_activation(problem, A_ahead, gamma_ahead)
        to_A, to_gamma = lifted_gradients(problem, A_ahead, gamma_ahead, a)
        new_gamma = gamma_ahead - units.step / units.scale_gamma**2 * to_gamma
        point = _projected(problem, A_ahead - units.step / t**2 * to_A, new_gamma, rank, t)
        moved, turned = lifted(problem, point) - A, new_gamma - gamma
        uphill = np.vdot(to_A, moved) + np.vdot(to_gamma, turned) > 0
        age = 0 if uphill or units.number < 3 else age + 1
        A, gamma = A + moved, new_gamma
        A_ahead, gamma_ahead = A + age / (age + 3) * moved, gamma + age / (age + 3) * turned
        yield point


def _projected(problem: Problem, A: Array, gamma: Array, rank: int, t: float) -> Factors:
    """P_r of `[t A | X]`, factored. A feature is a filter of the transpose: Z^T = [A^T | B^T]."""
    filtered = problem.variant == "filter"
    U, s, Vt = truncated(t * A, problem.X if filtered else problem.X.T, rank)
    left, right = U * np.sqrt(s), np.sqrt(s)[:, None] * Vt
    beta, right = right[:, : A.shape[1]] / t, right[:, A.shape[1] :]
    W, H = (left, right) if filtered else (right.T, left.T)
    return Factors(W, H, beta, gamma)


def truncated(A: Array, X: Any, rank: int) -> tuple[Array, Array, Array]:
    """P_r of `[A | X]` in its parts: `U (., r)`, `s (r,)` the largest first, `V^T (r, .)`."""
    side = min(X.shape[0], A.shape[1] + X.shape[1])
    if side <= SHORT or 3 * rank >= side:
        both = np.concatenate([A, X.toarray() if issparse(X) else X], axis=1)
        U, s, Vt = np.linalg.svd(both, full_matrices=False)
        return U[:, :rank], s[:rank], Vt[:rank]
    joined = _SideBySide(A, X)
    rows, columns = joined.shape
    # A fixed draw, in which the leading directions already weigh most.
    draw = np.random.default_rng(0).standard_normal(max(rows, columns))
    first = joined @ draw if rows <= columns else joined.T @ draw
    U, s, Vt = svds(joined, k=rank, v0=first, tol=1e-10)
    return U[:, ::-1], s[::-1], Vt[::-1]


class _SideBySide(LinearOperator):
    """`[A | X]` by its products."""

    def __init__(self, A: Array, X: Any) -> None:
        super().__init__(np.float64, (X.shape[0], A.shape[1] + X.shape[1]))
        self.A, self.X = A, X

    def _matmat(self, V: Array) -> Array:
        kappa = self.A.shape[1]
        found: Array = self.A @ V[:kappa] + self.X @ V[kappa:]
        return found

    def _matvec(self, v: Array) -> Array:
        return self._matmat(v.reshape(-1, 1))[:, 0]

    def _rmatmat(self, U: Array) -> Array:
        return np.concatenate([self.A.T @ U, self.X.T @ U])

    def _rmatvec(self, u: Array) -> Array:
        return self._rmatmat(u.reshape(-1, 1))[:, 0]
