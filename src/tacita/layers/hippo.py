"""HiPPO: the matrices of systems whose state is the coefficients of the past in an orthogonal basis."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def legs(size: int) -> tuple[Floats, Floats]:
    """`A (N, N)` and `B (N,)` of LegS: Legendre polynomials under exponentially decaying time.

    >>> legs(2)[0].round(3).tolist()
    [[-1.0, 0.0], [-1.732, -2.0]]
    """
    root = np.sqrt(2 * np.arange(size) + 1.0)
    a = -np.tril(root[:, None] * root[None, :], -1) - np.diag(np.arange(size) + 1.0)
    return a, root


def legs_modes(size: int) -> tuple[NDArray[np.complex128], NDArray[np.complex128]]:
    """`(N/2,)` eigenvalues of LegS's normal part, and `B` in its eigenvectors: one of each conjugate pair.

    >>> legs_modes(4)[0].imag.round(4).tolist()
    [0.5565, 4.6033]
    """
    a, b = legs(size)
    p = np.sqrt(np.arange(size) + 0.5)
    skew = a + np.outer(p, p) + 0.5 * np.eye(size)
    frequencies, vectors = np.linalg.eigh(-1j * skew)
    upper = frequencies > 0
    basis = vectors[:, upper].astype(np.complex128)
    return -0.5 + 1j * frequencies[upper], basis.conj().T @ b.astype(np.complex128)
