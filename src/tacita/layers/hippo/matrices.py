"""The matrices of HiPPO: systems `x' = A x + B u` whose state is the past in an orthogonal basis.

All of them are written for one unit of time: a window is one unit long, an exponential measure falls by
`e` in one. Another time scale is another step size, and nothing else: `A / T` and `B / T`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import binom, gammaln

from tacita.errors import ConfigError

Floats = NDArray[np.float64]
Complexes = NDArray[np.complex128]
Measure = Literal["legs", "legt", "lagt", "glagt", "fout", "fourier-decay"]


def hippo(
    measure: str, size: int, *, alpha: float = 0.0, beta: float = 1.0
) -> tuple[Floats, Floats]:
    """`A (N, N)` and `B (N,)` in float64, of one measure of the past.

    measure: what of the past the state keeps.
        `legs`: everything, with weight `e^-t`, in Legendre polynomials of `e^-t`.
        `legt`: the last unit of time, evenly, in Legendre polynomials.
        `fout`: the last unit of time, evenly, in sines and cosines; `N` is even and state 1 is always 0,
            the sine of frequency zero, so that states come in pairs.
        `fourier-decay`: as `fout`, and every older unit with six tenths of the weight of the one after.
        `lagt`: everything, evenly, in Laguerre functions. It forgets sharply all the same: a basis of
            decaying functions represents only so much.
        `glagt`: with weight `t^-alpha e^-(beta t)`, in generalised Laguerre functions.
    size: `N`, the number of coefficients.

    Raises `ConfigError` for an unknown measure, a size that is not positive (and even for the Fourier
    bases), and for `alpha` outside of -1 to 1. Differs from the paper's code: there, `legt` and `fout`
    have windows of two units of time.

    >>> hippo("legs", 2)[0].round(3).tolist()
    [[-1.0, 0.0], [-1.732, -2.0]]
    >>> hippo("fout", 4)[1].round(3).tolist()
    [2.0, 0.0, 2.828, 0.0]
    """
    makers: dict[str, Callable[[int], tuple[Floats, Floats]]] = {
        "legs": _legs,
        "legt": _legt,
        "lagt": lambda n: _laguerre(n, 0.0, 0.0),
        "glagt": lambda n: _laguerre(n, alpha, beta),
        "fout": lambda n: _fourier(n, 2.0),
        "fourier-decay": lambda n: _fourier(n, 0.5),
    }
    if measure not in makers:
        raise ConfigError(f"measure={measure!r} is unknown.", remedy=f"Known: {', '.join(makers)}.")
    if size < 1:
        raise ConfigError(f"a state of size={size} holds nothing.", remedy="The usual size is 64.")
    if not -1 < alpha < 1:
        raise ConfigError(f"alpha={alpha} is not between -1 and 1.", remedy="The usual alpha is 0.")
    return makers[measure](size)


def nplr(
    measure: str, size: int, *, beta: float = 1.0
) -> tuple[Complexes, Complexes, Complexes, Complexes]:
    """A normal matrix minus one of low rank: `(Lambda (N/2,), P (rank, N/2), B (N/2,), V (N, N/2))`.

    With the conjugates beside them, `A = V (Lambda - sum_r P_r P_r*) V*` and `V* V = 1`: only one of
    each conjugate pair is given, that with the positive frequency. Eigenvalues come from a
    Hermitian solver, since those of `A` itself are hopelessly sensitive.

    Raises `ConfigError` as `hippo` does, and for an odd size.

    >>> nplr("legs", 4)[0].imag.round(4).tolist()
    [0.5565, 4.6033]
    >>> nplr("legt", 4)[1].shape
    (2, 2)
    """
    a, b = hippo(measure, size, beta=beta)
    if size % 2:
        raise ConfigError(f"size={size} is odd.", remedy="Conjugate pairs need an even size.")
    p = _low_rank(measure, size)
    normal = a + p.T @ p
    decay = float(np.diag(normal).mean())
    if measure in ("fout", "fourier-decay"):  # blocks of rotations: the first pair is degenerate
        frequencies = 2 * np.pi * np.arange(size // 2)
        vectors = np.kron(np.eye(size // 2), np.array([[1.0], [-1j]]) / np.sqrt(2))
    else:
        frequencies, vectors = np.linalg.eigh(-1j * (normal - decay * np.eye(size)))
        # Half of the frequencies are negative, and those come first.
        frequencies, vectors = frequencies[size // 2 :], vectors[:, size // 2 :]
    v: Complexes = vectors.astype(np.complex128)
    modes: Complexes = (decay + 1j * frequencies).astype(np.complex128)
    return modes, p @ v.conj(), b @ v.conj(), v


def legs_modes(size: int) -> tuple[Complexes, Complexes]:
    """`(N/2,)` eigenvalues of LegS's normal part, and `B` in its eigenvectors: one of each conjugate pair.

    >>> legs_modes(4)[0].imag.round(4).tolist()
    [0.5565, 4.6033]
    """
    modes, _, b, _ = nplr("legs", size)
    return modes, b


def _legs(size: int) -> tuple[Floats, Floats]:
    n = np.arange(size)
    root = np.sqrt(2 * n + 1.0)
    a = np.where(n[:, None] > n, -np.outer(root, root), 0.0)
    np.fill_diagonal(a, -(n + 1.0))
    return a, root


def _legt(size: int) -> tuple[Floats, Floats]:
    n = np.arange(size)
    root = np.sqrt(2 * n + 1.0)
    signs: Floats = np.where(n[:, None] >= n, 1.0, (-1.0) ** (n[:, None] - n))
    a: Floats = -np.outer(root, root) * signs
    return a, root


def _laguerre(size: int, alpha: float, beta: float) -> tuple[Floats, Floats]:
    n = np.arange(size)
    norm: Floats = np.exp((gammaln(n + alpha + 1) - gammaln(n + 1)) / 2)
    a: Floats = np.where(n[:, None] > n, -norm / norm[:, None], 0.0)
    np.fill_diagonal(a, -(1 + beta) / 2)
    b: Floats = binom(n + alpha, n) / norm
    return a, b


def _fourier(size: int, outflow: float) -> tuple[Floats, Floats]:
    """Rotations that carry the window along, less what leaves at its end, `outflow b b^T`."""
    b = _constant_and_cosines(size)
    a = np.multiply(-outflow, np.outer(b, b), dtype=np.float64)
    turn = 2 * np.pi * np.arange(size // 2)
    cosine, sine = 2 * np.arange(size // 2), 2 * np.arange(size // 2) + 1
    a[cosine, sine] -= turn
    a[sine, cosine] += turn
    return a, np.multiply(outflow, b)


def _low_rank(measure: str, size: int) -> Floats:
    n = np.arange(size)
    if measure == "legs":
        return np.sqrt(n + 0.5)[None]
    if measure == "legt":
        return np.sqrt(2 * n + 1.0) * (n % 2 == np.array([[0], [1]]))
    if measure in ("lagt", "glagt"):
        return np.full((1, size), np.sqrt(0.5))
    return np.sqrt(2.0 if measure == "fout" else 0.5) * _constant_and_cosines(size)[None]


def _constant_and_cosines(size: int) -> Floats:
    """The value at age zero of 1, (the sine of nothing), and root 2 times cosine, sine, ..."""
    if size % 2:
        raise ConfigError(
            f"size={size} is odd, and a Fourier basis has pairs.", remedy="Choose an even size."
        )
    b = np.where(np.arange(size) % 2 == 0, np.sqrt(2.0), 0.0)
    b[0] = 1.0
    return b
