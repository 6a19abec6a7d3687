"""What a HiPPO state means: the basis functions of age, the weight of each age, and the way back.

The impulse response of state `n` is `K_n(t) = p_n(t) w(t)`, for polynomials or waves `p_n` orthonormal
under the measure `w`. So the state is the projection of the past, and `u(now - t)` is about
`sum_n x_n p_n(t)`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.special import eval_genlaguerre, eval_legendre, gammaln
from torch import Tensor

from tacita.errors import ConfigError
from tacita.layers.hippo.matrices import Floats, hippo

FADING = 0.6
"""What `fourier-decay` keeps of a window when the next one is written over it: `(1 - 1/4) / (1 + 1/4)`."""


def basis(
    measure: str, size: int, t: ArrayLike, *, alpha: float = 0.0, beta: float = 1.0
) -> Floats:
    """`(N, T)`: the functions `p_n` at ages `t (T,)` from 0 up, in units of the measure's time.

    Beyond a window they are zero: nothing is known there. Raises `ConfigError` as `hippo` does.

    >>> basis("legt", 3, [0.0, 0.5, 1.0]).round(3).tolist()
    [[1.0, 1.0, 1.0], [1.732, 0.0, -1.732], [2.236, -1.118, 2.236]]
    """
    hippo(measure, size, alpha=alpha, beta=beta)  # for its checks
    age = np.asarray(t, dtype=np.float64)
    n = np.arange(size)[:, None]
    if measure == "legs":
        return np.sqrt(2 * n + 1) * eval_legendre(n, 2 * np.exp(-age) - 1)
    if measure == "legt":
        return np.sqrt(2 * n + 1) * eval_legendre(n, 1 - 2 * age) * (age <= 1)
    if measure in ("lagt", "glagt"):
        alpha, beta = (alpha, beta) if measure == "glagt" else (0.0, 0.0)
        norm = np.exp((gammaln(n + alpha + 1) - gammaln(n + 1)) / 2)
        envelope = age**alpha * np.exp(-(1 - beta) / 2 * age)
        return eval_genlaguerre(n, alpha, age) / norm * envelope
    phase = 2 * np.pi * (n // 2) * age
    waves = np.where(n % 2 == 0, np.cos(phase), np.sin(phase))
    scaled = np.where(n == 0, 1.0, math.sqrt(2)) * waves
    return scaled * (age <= 1) if measure == "fout" else scaled


def measure_weight(measure: str, t: ArrayLike, *, alpha: float = 0.0, beta: float = 1.0) -> Floats:
    """`(T,)`: how much each age counts. Raises `ConfigError` as `hippo` does.

    >>> measure_weight("fout", [0.5, 1.5]).tolist()
    [1.0, 0.0]
    """
    hippo(measure, 2, alpha=alpha, beta=beta)
    age = np.asarray(t, dtype=np.float64)
    weights: dict[str, Callable[[], Floats]] = {
        "legs": lambda: np.exp(-age),
        "legt": lambda: np.where(age <= 1, 1.0, 0.0),
        "fout": lambda: np.where(age <= 1, 1.0, 0.0),
        "fourier-decay": lambda: (1 - FADING) * FADING ** np.floor(age),
        "lagt": lambda: np.ones_like(age),
        "glagt": lambda: age**-alpha * np.exp(-beta * age),
    }
    return weights[measure]()


def timescale(measure: str, steps: float, *, beta: float = 1.0) -> float:
    """The step size with which a memory reaches `steps` steps back.

    That is the whole window, or the time in which the measure falls by a factor of `e` (for `lagt`, in
    which the basis functions do). Raises `ConfigError` for an unknown measure, and for a `steps` that is
    not positive.

    >>> timescale("legs", 100)
    0.01
    """
    hippo(measure, 2, beta=beta)
    if not steps > 0:
        raise ConfigError(f"a memory of {steps} steps is none.", remedy="Give a positive number.")
    reach = {"fourier-decay": -1 / math.log(FADING), "lagt": 2.0, "glagt": 1 / beta}
    return reach.get(measure, 1.0) / steps


def reconstruct(
    x: Tensor, measure: str, t: ArrayLike, *, alpha: float = 0.0, beta: float = 1.0
) -> Tensor:
    """`(..., T)`: the past at ages `t (T,)` by the coefficients `x (..., N)`; ages as in `basis`.

    >>> reconstruct(torch.tensor([2.0, 0.0]), "legs", [0.0, 1.0])
    tensor([2., 2.])
    """
    functions = basis(measure, x.shape[-1], t, alpha=alpha, beta=beta)
    return x @ torch.as_tensor(functions, dtype=x.dtype, device=x.device)
