"""When does learning from two views collapse? The gradient flow of linear networks, exactly.

Tian et al., "Understanding Self-Supervised Learning Dynamics without Contrastive Pairs", 2021: an
encoder `W`, a predictor `W_p` and a teacher `W_a`, all linear, under the squared error between
prediction and target. `X` is the covariance of samples averaged over their views, `X'` that of views
about their sample. `matrix_flow` integrates all entries; `mode_flow` one eigenvalue `p` of the
predictor and one `s` of `F = W W^T` a mode, which share eigenvectors once they have aligned; and
`fixed_points` says where a mode ends. For networks that are not linear it is a guide and no more.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.integrate import solve_ivp

from tacita.errors import ConfigError

Array = NDArray[np.float64]
Form = Literal["full", "no predictor", "no stop-gradient"]
FORMS: tuple[Form, ...] = ("full", "no predictor", "no stop-gradient")
PRECISION: dict[str, Any] = {"method": "DOP853", "rtol": 1e-9, "atol": 1e-12}


class FixedPoints(NamedTuple):
    """Where an aligned mode stands still besides 0, as eigenvalues of the predictor.

    threshold: unstable: below it a mode dies, above it it grows.
    stable: what a mode that lives comes to.
    """

    threshold: float
    stable: float


def fixed_points(
    *, weight_decay: float, augmentation: float = 0.0, tau: float = 1.0
) -> FixedPoints | None:
    """`p = (tau -+ sqrt(tau^2 - 4 eta (1 + sigma^2))) / (2 (1 + sigma^2))`; None where all modes die.

    weight_decay: eta.
    augmentation: sigma^2, the variance of views about their sample, `X = I` being that of samples.
    tau: the teacher's weights as a share of the student's; it ends at 1.

    >>> fixed_points(weight_decay=0.09)
    FixedPoints(threshold=0.09999999999999998, stable=0.9)
    >>> fixed_points(weight_decay=0.3) is None
    True
    """
    noisy = 1 + augmentation
    square = tau**2 - 4 * weight_decay * noisy
    if square < 0:
        return None
    return FixedPoints(
        (tau - math.sqrt(square)) / (2 * noisy), (tau + math.sqrt(square)) / (2 * noisy)
    )


def largest_weight_decay(*, augmentation: float = 0.0, tau: float = 1.0) -> float:
    """`tau^2 / (4 (1 + sigma^2))`: above it every mode dies, wherever it begins.

    >>> largest_weight_decay(augmentation=1.0)
    0.125
    """
    return tau**2 / (4 * (1 + augmentation))


@dataclass(frozen=True)
class ModeFlow:
    """A path of `K` modes at the `times (T,)`: `p, s, tau (T, K)`."""

    times: Array
    p: Array
    s: Array
    tau: Array


def mode_flow(
    p: ArrayLike,
    s: ArrayLike,
    times: ArrayLike,
    *,
    weight_decay: float,
    augmentation: float = 0.0,
    predictor_rate: float = 1.0,
    tau: float = 1.0,
    teacher_rate: float | None = None,
) -> ModeFlow:
    """The aligned modes from `p, s (K,)` at the first of the `times (T,)` on.

        p' = alpha s (tau - (1 + sigma^2) p) - eta p
        s' = 2 p s (tau - (1 + sigma^2) p) - 2 eta s
        tau' = beta (1 - tau) - tau s' / (2 s)

    weight_decay: eta. augmentation: sigma^2.
    predictor_rate: alpha, how much faster the predictor learns than the encoder.
    tau: the teacher's share at the beginning.
    teacher_rate: beta, by which the teacher follows; None holds `tau`, of which 1 is no teacher.

    Whatever happens, `s - p^2 / alpha` falls as `exp(-2 eta t)`.

    >>> flow = mode_flow([0.05, 0.5], [0.0025, 0.25], [0.0, 200.0], weight_decay=0.09)
    >>> flow.p[-1].round(3).tolist()
    [0.0, 0.9]
    """
    times = np.asarray(times, dtype=np.float64)
    p, s = np.broadcast_arrays(np.atleast_1d(p), np.atleast_1d(s))
    if (s < 0).any():
        raise ConfigError(f"s={s.min()} is no eigenvalue of W W^T, which has none below 0.")
    modes = p.size

    def slope(_: float, state: Array) -> Array:
        p, s, tau = state.reshape(3, modes)
        error = tau - (1 + augmentation) * p
        rise = p * error - weight_decay  # of s, as half a share of it
        follow = np.zeros(modes) if teacher_rate is None else teacher_rate * (1 - tau) - tau * rise
        return np.concatenate([predictor_rate * s * error - weight_decay * p, 2 * s * rise, follow])

    path = _integrate(slope, np.concatenate([p, s, np.full(modes, tau)]), times)
    return ModeFlow(times, *path.reshape(-1, 3, modes).transpose(1, 0, 2))


@dataclass(frozen=True)
class MatrixFlow:
    """A path of all weights at the `times (T,)`.

    Shapes: `encoder, teacher (T, D, K)`, `predictor (T, D, D)`; K is the width of a sample.
    """

    times: Array
    encoder: Array
    predictor: Array
    teacher: Array

    @property
    def correlation(self) -> Array:
        """`F = W W^T`, `(T, D, D)`."""
        return self.encoder @ self.encoder.transpose(0, 2, 1)

    @property
    def misalignment(self) -> Array:
        """`|F W_p - W_p F| / (|F| |W_p|)`, `(T,)`: 0 where predictor and correlation share eigenvectors."""
        f, w = self.correlation, self.predictor
        return _norm(f @ w - w @ f) / np.maximum(_norm(f) * _norm(w), np.finfo(float).tiny)


def matrix_flow(
    encoder: ArrayLike,
    predictor: ArrayLike,
    times: ArrayLike,
    *,
    samples: ArrayLike,
    views: ArrayLike,
    weight_decay: float,
    predictor_rate: float = 1.0,
    teacher_rate: float | None = None,
    form: Form = "full",
) -> MatrixFlow:
    """The gradient flow of all weights from `W (D, K)` and `W_p (D, D)` on, at the `times (T,)`.

        W_p' = alpha (-W_p W (X + X') + W_a X) W^T - eta W_p
        W'   = W_p^T (-W_p W (X + X') + W_a X) - eta W
        W_a' = beta (W - W_a)

    samples, views: the covariances `X` and `X'`, `(K, K)`.
    teacher_rate: beta; the teacher begins as the encoder. None for no teacher: `W_a = W`.
    form: "no predictor" has the identity in its place, and "no stop-gradient" lets the gradient into
        the target too, which is then the encoder's own; both collapse.

    In full form `F - W_p^T W_p / alpha` falls as `exp(-2 eta t)`, whatever the data.
    Raises `ConfigError` for an unknown form, and for a teacher without a stop-gradient.

    >>> I = np.eye(2)
    >>> for form in ("full", "no predictor", "no stop-gradient"):
    ...     flow = matrix_flow(I, I, [0.0, 60.0], samples=I, views=0.5 * I, weight_decay=0.05, form=form)
    ...     print(form, flow.correlation[-1].diagonal().round(2))
    full [0.37 0.37]
    no predictor [0. 0.]
    no stop-gradient [0. 0.]
    """
    if form not in FORMS:
        raise ConfigError(f"form={form!r}: unknown.", remedy=f"Known: {', '.join(FORMS)}.")
    if form == "no stop-gradient" and teacher_rate is not None:
        raise ConfigError(
            f"teacher_rate={teacher_rate}: a teacher gets no gradient.",
            remedy="Leave it None for a target that does.",
        )
    times = np.asarray(times, dtype=np.float64)
    start = [np.asarray(m, dtype=np.float64) for m in (encoder, predictor, encoder)]
    if form == "no predictor":
        start[1] = np.eye(start[1].shape[0])
    x, x_views = (np.asarray(m, dtype=np.float64) for m in (samples, views))

    def slope(_: float, state: Array) -> Array:
        w, w_p, w_a = _matrices(state, start)
        if teacher_rate is None:
            w_a = w
        error = w_a @ x - w_p @ w @ (x + x_views)  # E (target - prediction) sample^T
        down = w_p.T @ error - weight_decay * w
        down_p = predictor_rate * error @ w.T - weight_decay * w_p
        if form == "no predictor":
            down_p = np.zeros_like(w_p)
        if form == "no stop-gradient":
            down += w_p @ w @ x - w @ (x + x_views)
        follow = down if teacher_rate is None else teacher_rate * (w - w_a)
        return np.concatenate([m.ravel() for m in (down, down_p, follow)])

    path = _integrate(slope, np.concatenate([m.ravel() for m in start]), times)
    return MatrixFlow(times, *_matrices(path, start))


def _matrices(state: Array, like: Sequence[Array]) -> list[Array]:
    """Flat states `(..., n)` as matrices of these shapes, `(..., rows, columns)`."""
    ends = np.cumsum([m.size for m in like])[:-1]
    parts = np.split(state, ends, axis=-1)
    return [part.reshape(*state.shape[:-1], *m.shape) for part, m in zip(parts, like, strict=True)]


def _integrate(slope: Any, start: Array, times: Array) -> Array:
    """`(T, n)` states at the times, which rise."""
    solved = solve_ivp(slope, (times[0], times[-1]), start, t_eval=times, **PRECISION)
    assert solved.success, solved.message
    return solved.y.T


def _norm(matrices: Array) -> Array:
    return np.linalg.norm(matrices, axis=(1, 2))
