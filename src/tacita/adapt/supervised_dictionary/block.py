"""Block coordinate descent with a diminishing radius (Algorithm 2): one factor after the other.

A filter takes, in this order, a few steps on W, the best H, and the best (beta, gamma); a feature the best
W, the best (beta, gamma), and a few steps on H. Each block lowers f, and in iteration t none moves by more
than

    rho_t = c / ((t + 1) log(t + 2)),

so that every limit point is stationary; here in units of its own, so that the unit of X does not matter:
|W| is 1, that of H is |X|, and that of beta 1 over the size of a sample. W and H may be held non-negative.

What bounds it: products of X with `r` columns, a dozen an iteration of a filter and two of a feature; and
of a filter those of the samples with a label.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import numpy as np

from tacita.adapt.supervised_dictionary.objective import (
    Array,
    Factors,
    Problem,
    activation,
    descended,
    lifted_gradients,
    logistic_loss,
    normalised,
    probabilities,
    squared_norm,
)

RADIUS = 1000.0
"""The paper's c."""
INNER = 10
"""Steps of W or H in one iteration; the paper has 5 shorter ones."""
SWEEPS = 5
"""Of the rows of non-negative least squares, in one iteration."""
CLASSIFIER = 25
"""Steps of (beta, gamma), which start where the last iteration ended."""


def random_start(problem: Problem, rank: int, rng: np.random.RandomState) -> Factors:
    """W and H evenly from [0, 1], of the size of X; no weights."""
    p, n = problem.X.shape
    W, H = rng.uniform(size=(p, rank)), rng.uniform(size=(rank, n))
    size = math.sqrt(problem.energy / float(np.vdot(W.T @ W, H @ H.T)))
    kappa, q = len(problem.Y), len(problem.X_aux)
    return normalised(
        Factors(W, H * size, np.zeros((rank, kappa)), np.zeros((q, kappa))), problem.variant
    )


def radius(t: int, c: float = RADIUS) -> float:
    """rho_t, the most that a block moves in iteration t = 0, 1, ...: a Frobenius norm, in its unit."""
    return c / ((t + 1) * math.log(t + 2))


def block_steps(
    problem: Problem, start: Factors, *, non_negative: bool = False, c: float = RADIUS
) -> Iterator[Factors]:
    """The points after each iteration from `start` on; endless. f never rises."""
    point = start
    size = math.sqrt(problem.energy) or 1.0
    for t in count():
        rho = radius(t, c)
        if problem.variant == "filter":
            point = point._replace(
                W=within(rho, point.W, filter_dictionary(problem, point, non_negative))
            )
            best = least_squares(point.W, problem.X, point.H, non_negative)
            point = point._replace(H=within(rho * size, point.H, best))
            point = _with_classifier(problem, point, rho)
        else:
            best = least_squares(point.H.T, problem.X.T, point.W.T, non_negative)
            point = point._replace(W=within(rho, point.W, best.T))
            point = _with_classifier(problem, point, rho)
            point = point._replace(
                H=within(rho * size, point.H, feature_codes(problem, point, non_negative))
            )
        point = normalised(point, problem.variant)
        yield point


def within(rho: float, old: Array, new: Array) -> Array:
    """`new`, or the point on the way to it at the distance rho; between the two f is convex."""
    distance = float(np.linalg.norm(new - old))
    return new if distance <= rho else old + rho / distance * (new - old)


def filter_dictionary(problem: Problem, point: Factors, non_negative: bool) -> Array:
    """A few steps on W: the reconstruction, and the activations beta^T W^T x."""
    HH, XH = point.H @ point.H.T, problem.X @ point.H.T
    weights = np.linalg.norm(point.beta.T @ point.beta, 2)
    curvature = 2 * problem.xi * np.linalg.norm(HH, 2) + weights * (
        problem.loss_curvature * problem.spread + problem.nu
    )

    def loss(W: Array) -> tuple[float, Array]:
        a = activation(problem, point._replace(W=W))
        to_A, _ = lifted_gradients(problem, W @ point.beta, point.gamma, a)
        WHH = W @ HH
        total = logistic_loss(problem.Y, a) + problem.nu / 2 * squared_norm(W @ point.beta)
        total += problem.xi * float(np.vdot(WHH - 2 * XH, W))
        return total, 2 * problem.xi * (WHH - XH) + to_A @ point.beta.T

    return projected_steps(loss, point.W, float(curvature), non_negative)


def feature_codes(problem: Problem, point: Factors, non_negative: bool) -> Array:
    """A few steps on H: the reconstruction, and the activations beta^T h where there is a label."""
    WW, WX = point.W.T @ point.W, (problem.X.T @ point.W).T
    weights = np.linalg.norm(point.beta.T @ point.beta, 2)
    curvature = 2 * problem.xi * np.linalg.norm(WW, 2) + weights * (
        problem.loss_curvature + problem.nu
    )

    def loss(H: Array) -> tuple[float, Array]:
        a = activation(problem, point._replace(H=H))
        to_A, _ = lifted_gradients(problem, H.T @ point.beta, point.gamma, a)
        WWH = WW @ H
        penalised = squared_norm(point.beta.T @ H[:, problem.labelled])
        total = logistic_loss(problem.Y, a) + problem.nu / 2 * penalised
        total += problem.xi * float(np.vdot(WWH - 2 * WX, H))
        return total, 2 * problem.xi * (WWH - WX) + point.beta @ to_A.T

    return projected_steps(loss, point.H, float(curvature), non_negative)


def projected_steps(
    loss: Callable[[Array], tuple[float, Array]],
    begin: Array,
    curvature: float,
    non_negative: bool,
) -> Array:
    """Where a few projected gradient steps lead; never to a higher loss.

    The first is of the length that the most curvature allows, the others of one that the last step showed
    to fit (Barzilai and Borwein), shortened where the loss would not fall.
    """
    point, (total, slope) = begin, loss(begin)
    step = 1 / max(curvature, 1e-300)
    for _ in range(INNER):
        for _ in range(20):
            new = np.maximum(point - step * slope, 0) if non_negative else point - step * slope
            moved = new - point
            new_total, new_slope = loss(new)
            if new_total <= total + 1e-4 * np.vdot(slope, moved):
                break
            step /= 4
        else:
            break
        bent = float(np.vdot(moved, new_slope - slope))
        step = squared_norm(moved) / bent if bent > 0 else step
        point, total, slope = new, new_total, new_slope
    return point


def least_squares(W: Array, X: Any, H: Array, non_negative: bool, sweeps: int = SWEEPS) -> Array:
    """The H that minimises |X - W H|^2; held non-negative, it descends from the given one.

    Then each row in turn is the best one for the others (hierarchical alternating least squares).
    """
    WW, WX = W.T @ W, (X.T @ W).T
    if not non_negative:
        found: Array = np.linalg.pinv(WW, hermitian=True) @ WX
        return found
    H = H.copy()
    for _ in range(sweeps):
        for k in np.flatnonzero(WW.diagonal() > 0):
            H[k] = np.maximum(H[k] + (WX[k] - WW[k] @ H) / WW[k, k], 0)
    return H


def classifier(problem: Problem, point: Factors) -> tuple[Array, Array]:
    """The best (beta, gamma) for the dictionary and codes: a logistic regression.

    The penalty is on A, so that it is an ordinary ridge in an orthonormal basis of the dictionary (of
    the codes, for a feature).
    """
    filtered = problem.variant == "filter"
    spanning = point.W if filtered else point.H[:, problem.labelled].T
    U, s, Vt = np.linalg.svd(spanning, full_matrices=False)
    kept = s > s[0] * 1e-10 if len(s) else s > 0
    U, back = U[:, kept], (Vt[kept] / s[kept, None]).T
    codes = (problem.X_labelled.T @ U).T if filtered else U.T
    inputs = np.concatenate([codes, problem.X_aux])

    def loss(weights: Array) -> tuple[float, Array]:
        a = weights.T @ inputs
        to_weights = inputs @ (probabilities(a)[1:] - problem.Y).T + problem.nu * weights
        return logistic_loss(problem.Y, a) + problem.nu / 2 * squared_norm(weights), to_weights

    begin = np.concatenate([U.T @ (spanning @ point.beta), point.gamma])
    weights = descended(loss, begin, steps=CLASSIFIER)
    return back @ weights[: len(codes)], weights[len(codes) :]


def _with_classifier(problem: Problem, point: Factors, rho: float) -> Factors:
    beta, gamma = classifier(problem, point)
    sample = math.sqrt(problem.energy / problem.X.shape[1]) or 1.0
    return point._replace(
        beta=within(rho / sample, point.beta, beta), gamma=within(rho, point.gamma, gamma)
    )
