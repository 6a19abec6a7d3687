"""The model of supervised dictionary learning: its value, its gradients, and its curvature.

Sizes, as in the paper: a sample a column, `X (p, n)` dense or sparse, of which `m` columns have a label;
covariates `X_aux (q, m)` and classes `Y (kappa, m)` of those, one-hot without class 0, the reference.
Dictionary `W (p, r)`, codes `H (r, n)`, weights `beta (r, kappa)` of the codes and `gamma (q, kappa)`
of the covariates. A label is read from the activation

    filter:   a_s = beta^T W^T x_s + gamma^T x'_s          A = W beta    (p, kappa)
    feature:  a_s = beta^T h_s     + gamma^T x'_s          A = beta^T H  (kappa, n), here transposed

and all is learnt from one objective, which depends on the products A and B = W H alone:

    f = sum_s l(y_s, a_s) + xi |X - B|^2 + nu/2 (|A|^2 + |gamma|^2).

Samples without a label are in the second term only; of a feature's A those with a label count.

What bounds it: products of X with `r + kappa` columns. `X - W H` is never formed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.sparse import issparse
from scipy.sparse.linalg import LinearOperator, eigsh

Array = NDArray[np.float64]
Variant = Literal["filter", "feature"]


class Factors(NamedTuple):
    """One point: `W (p, r)`, `H (r, n)`, `beta (r, kappa)`, `gamma (q, kappa)`."""

    W: Array
    H: Array
    beta: Array
    gamma: Array


@dataclass(frozen=True)
class Problem:
    """The data of one objective, in the sizes above; `labelled (m,)` are columns of X."""

    X: Any
    X_aux: Array
    Y: Array
    labelled: NDArray[np.int64]
    xi: float
    nu: float
    variant: Variant = "filter"

    @cached_property
    def X_labelled(self) -> Any:
        """`(p, m)`, a copy only where some samples have no label."""
        return self.X if len(self.labelled) == self.X.shape[1] else self.X[:, self.labelled]

    @cached_property
    def energy(self) -> float:
        """`|X|^2`."""
        return squared_norm(self.X)

    @cached_property
    def loss_curvature(self) -> float:
        """The most that the loss curves in an activation: 1/4 for two classes, else 1/2."""
        return 0.25 if len(self.Y) == 1 else 0.5

    @cached_property
    def spread(self) -> float:
        """The largest eigenvalue of the samples' Gram matrix, those with a label."""
        return largest_eigenvalue(self.X_labelled)

    @cached_property
    def spread_with_covariates(self) -> float:
        """The same of samples and covariates together."""
        return largest_eigenvalue(self.X_labelled, self.X_aux)


def value(problem: Problem, point: Factors) -> float:
    """The objective f at one point."""
    W, H, beta, gamma = point
    X_times_H = problem.X @ H.T
    reconstruction = problem.energy - 2 * np.vdot(X_times_H, W) + np.vdot(W.T @ W, H @ H.T)
    A = W @ beta if problem.variant == "filter" else beta.T @ H[:, problem.labelled]
    return float(
        logistic_loss(problem.Y, activation(problem, point))
        + problem.xi * max(reconstruction, 0.0)
        + problem.nu / 2 * (squared_norm(A) + squared_norm(gamma))
    )


def activation(problem: Problem, point: Factors) -> Array:
    """`(kappa, m)` of the samples with a label."""
    W, H, beta, gamma = point
    filtered = problem.variant == "filter"
    codes = (problem.X_labelled.T @ W).T if filtered else H[:, problem.labelled]
    return beta.T @ codes + gamma.T @ problem.X_aux


def gradients(problem: Problem, point: Factors) -> Factors:
    """Of f by every factor."""
    W, H, beta, gamma = point
    a = activation(problem, point)
    to_A, to_gamma = lifted_gradients(problem, lifted(problem, point), gamma, a)
    to_W = 2 * problem.xi * (W @ (H @ H.T) - problem.X @ H.T)
    to_H = 2 * problem.xi * (W.T @ W @ H - (problem.X.T @ W).T)
    if problem.variant == "filter":
        return Factors(to_W + to_A @ beta.T, to_H, W.T @ to_A, to_gamma)
    return Factors(to_W, to_H + beta @ to_A.T, H @ to_A, to_gamma)


def lifted(problem: Problem, point: Factors) -> Array:
    """A, `(p, kappa)` of a filter and `(n, kappa)`, transposed, of a feature."""
    return (point.W if problem.variant == "filter" else point.H.T) @ point.beta


def lifted_gradients(problem: Problem, A: Array, gamma: Array, a: Array) -> tuple[Array, Array]:
    """Of f by A and by gamma, where `a` is the activation; that by B is `2 xi (B - X)`."""
    r = probabilities(a)[1:] - problem.Y
    to_gamma = problem.X_aux @ r.T + problem.nu * gamma
    if problem.variant == "filter":
        return problem.X_labelled @ r.T + problem.nu * A, to_gamma
    to_A = np.zeros_like(A)
    to_A[problem.labelled] = r.T + problem.nu * A[problem.labelled]
    return to_A, to_gamma


def lifted_activation(problem: Problem, A: Array, gamma: Array) -> Array:
    """`(kappa, m)` by A in place of its factors."""
    filtered = problem.variant == "filter"
    own = (problem.X_labelled.T @ A).T if filtered else A[problem.labelled].T
    return own + gamma.T @ problem.X_aux


def lifted_value(problem: Problem, A: Array, B: Array, gamma: Array) -> float:
    """f by its products, in which it is convex; equal to `value` where they come from factors."""
    penalised = A if problem.variant == "filter" else A[problem.labelled]
    return float(
        logistic_loss(problem.Y, lifted_activation(problem, A, gamma))
        + problem.xi * squared_norm(np.asarray(problem.X - B))
        + problem.nu / 2 * (squared_norm(penalised) + squared_norm(gamma))
    )


def normalised(point: Factors, variant: Variant) -> Factors:
    """The same products with `|W| = 1`."""
    norm = float(np.linalg.norm(point.W)) or 1.0
    # A = W beta of a filter, and beta^T H of a feature.
    beta = point.beta * norm if variant == "filter" else point.beta / norm
    return Factors(point.W / norm, point.H * norm, beta, point.gamma)


def descended(loss: Callable[[Array], tuple[float, Array]], begin: Array, steps: int) -> Array:
    """Where a few quasi-Newton steps lead; never to a higher loss."""

    def flat(x: Array) -> tuple[float, Array]:
        total, slope = loss(x.reshape(begin.shape))
        return total, slope.ravel()

    limits = {"maxiter": steps, "ftol": 1e-15, "gtol": 1e-10}
    found = minimize(flat, begin.ravel(), jac=True, method="L-BFGS-B", options=limits)
    point: Array = found.x.reshape(begin.shape)
    return point


def logistic_loss(Y: Array, a: Array) -> float:
    """`sum_s log(1 + sum_c exp a_c) - a_{y_s}` of activations `(kappa, m)`.

    >>> round(logistic_loss(np.ones((1, 1)), np.zeros((1, 1))), 6)
    0.693147
    """
    return float(log_normaliser(a).sum() - np.vdot(Y, a))


def log_normaliser(a: Array) -> Array:
    """`(m,)`: `log(1 + sum_c exp a_c)`, without overflow."""
    top = np.maximum(a.max(0), 0)
    found: Array = top + np.log(np.exp(-top) + np.exp(a - top).sum(0))
    return found


def probabilities(a: Array) -> Array:
    """`(kappa + 1, m)` of all classes, the reference first, from activations `(kappa, m)`."""
    return np.exp(np.concatenate([np.zeros((1, a.shape[1])), a]) - log_normaliser(a))


def squared_norm(matrix: Any) -> float:
    """Frobenius, of a dense or sparse matrix."""
    return float(np.linalg.norm(matrix.data if issparse(matrix) else matrix) ** 2)


def largest_eigenvalue(*blocks: Any) -> float:
    """Of the sum of `block^T block`: `(p_i, m)` matrices stacked."""
    m = blocks[0].shape[1]

    def gram(v: Array) -> Array:
        total: Array = sum((block.T @ (block @ v) for block in blocks), np.zeros_like(v))
        return total

    if not any(squared_norm(block) for block in blocks):
        return 0.0
    if m <= 3:
        return float(np.linalg.eigvalsh(gram(np.eye(m)))[-1])
    operator = LinearOperator((m, m), matvec=gram, matmat=gram, dtype=np.float64)
    first = np.random.default_rng(0).standard_normal(m)
    return float(eigsh(operator, k=1, v0=first, return_eigenvectors=False)[0])
