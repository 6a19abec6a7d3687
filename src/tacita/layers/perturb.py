"""Perturb, then diagonalise: a system next to another one, with eigenvectors one can work with.

Yu et al., "Robustifying State-space Models for Long Sequences via Approximate Diagonalization", 2024.
The condition of the eigenvectors of HiPPO's matrix grows exponentially, so other layers drop its
low-rank part, and what is left differs without bound near its own frequencies. A small dense `E`,
chosen well, gives `A + E = V Lambda V^-1` with a condition of some tens, and moves the transfer
function by no more than about `log(N) |E|` of normalised systems.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from tacita.errors import ConfigError
from tacita.layers.hippo import hippo

Floats = NDArray[np.float64]
Complexes = NDArray[np.complex128]
System = tuple[ArrayLike, ArrayLike, ArrayLike]
"""`A (N, N)`, or `(N,)` where it is diagonal, `B (N,)` or `(N, H)`, and `C (N,)` or `(K, N)`."""

STEPS = 300
MARGIN = 0.25
"""Eigenvalues with a real part above its negative are pushed back."""


@dataclass(frozen=True)
class Diagonalised:
    """`A + E`, which is real, by its eigenvalues: one of each conjugate pair, and the real ones.

    modes: `(M,)`. vectors: `(N, M)`, unit columns. inverse: `(M, N)`, these rows of their inverse.
    weights: `(M,)`, 1 for a pair and 1/2 for a real one: a matrix function is
        `2 Re(vectors weights f(modes) inverse)`.
    perturbation: `E (N, N)`.
    """

    modes: Complexes
    vectors: Complexes
    inverse: Complexes
    weights: Floats
    perturbation: Floats


def perturb_then_diagonalise(
    a: ArrayLike, size: float = 1e-2, *, stable: bool = True, seed: int = 0
) -> Diagonalised:
    """A real `E` no larger than `size |A|` in the spectral norm, chosen so that `A + E` diagonalises well.

    From a Gaussian matrix of that size, 300 steps of Adam lower the logarithm of the eigenvectors'
    condition; with `stable`, eigenvalues are kept where nothing grows. In float64 throughout; the same
    `E` for the same arguments. `N = 64` takes a second or two, `N = 256` a minute or more.

    Raises `ConfigError` for a matrix that is not square and real, a `size` that is not positive, and
    where no stable `E` is found.

    >>> near = perturb_then_diagonalise([[-1.0, 0.0], [-9.0, -2.0]], 0.05)
    >>> bool(near.modes.real.max() < 0)
    True
    """
    matrix = np.asarray(a)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or np.iscomplexobj(matrix):
        raise ConfigError(f"A is {matrix.shape} of {matrix.dtype}.", remedy="Give a real (N, N).")
    if not 0 < size < float("inf"):
        raise ConfigError(
            f"size={size} is not positive: unperturbed, the eigenvectors are as good as dependent.",
            remedy="Choose 0.01, a hundredth of the matrix.",
        )
    matrix = matrix.astype(np.float64)
    best = _optimise(matrix, size, stable, seed)
    modes, vectors = np.linalg.eig(matrix + best)
    modes, vectors = modes.astype(np.complex128), vectors.astype(np.complex128)
    # Of a real matrix, LAPACK gives exact conjugates, and real eigenvalues exactly real.
    kept = modes.imag >= 0
    return Diagonalised(
        modes[kept],
        vectors[:, kept],
        np.linalg.inv(vectors)[kept],
        np.where(modes[kept].imag > 0, 1.0, 0.5),
        best,
    )


@cache
def perturbed_legs(d_state: int, size: float) -> Diagonalised:
    """HiPPO's LegS perturbed and diagonalised, once a process for each size.

    >>> len(perturbed_legs(4, 0.01).weights) >= 2
    True
    """
    return perturb_then_diagonalise(hippo("legs", d_state)[0], size)


def _optimise(matrix: Floats, size: float, stable: bool, seed: int) -> Floats:
    """The best perturbation on the way; whatever mode and device the caller is in."""
    with torch.inference_mode(False), torch.enable_grad(), torch.device("cpu"):
        a = torch.from_numpy(matrix)
        largest = size * float(torch.linalg.matrix_norm(a, 2))
        noise = np.random.default_rng(seed).standard_normal(matrix.shape)
        e = torch.from_numpy(noise * (largest / np.linalg.norm(noise, 2))).requires_grad_()
        adam = torch.optim.Adam([e], lr=0.003 * largest)
        least, best = float("inf"), None
        for _ in range(STEPS):
            condition, worst = condition_and_growth(a + e)
            with torch.no_grad():
                if float(condition) < least and (not stable or float(worst.max()) < 0):
                    least, best = float(condition), e.numpy().copy()
            adam.zero_grad()
            loss = condition + (torch.relu(worst + MARGIN).sum() if stable else 0.0)
            loss.backward()  # type: ignore[no-untyped-call]
            adam.step()
            with torch.no_grad():  # back into the ball
                e.mul_((largest / torch.linalg.matrix_norm(e, 2)).clamp(max=1))
    if best is None:
        raise ConfigError(
            f"no perturbation of size={size} was found that leaves the system stable.",
            remedy="Choose a smaller size, or stable=False if A itself is not stable.",
        )
    return best


def condition_and_growth(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """The logarithm of the condition of the unit eigenvectors, and the real parts `(N,)` of the eigenvalues.

    >>> float(condition_and_growth(torch.diag(torch.tensor([-1.0, -2.0])))[0])
    0.0
    """
    modes, vectors = torch.linalg.eig(matrix)
    values = torch.linalg.svdvals(vectors)
    return values[0].log() - values[-1].log(), modes.real


def eigvec_condition(a: ArrayLike) -> float:
    """The condition of the eigenvectors of `a (N, N)`, each of length 1: 1 for a normal matrix.

    >>> round(eigvec_condition([[0.0, 1.0], [-1.0, 0.0]]), 6)
    1.0
    """
    return float(np.linalg.cond(np.linalg.eig(np.asarray(a))[1]))


def with_conjugates(modes: ArrayLike, b: ArrayLike, c: ArrayLike) -> System:
    """The whole diagonal system of `y = 2 Re(c x)`, of which one of each conjugate pair is given.

    >>> a, b, c = with_conjugates([-1 + 2j], [1.0], [0.5])
    >>> a.tolist()
    [(-1+2j), (-1-2j)]
    """
    a, b, c = (np.asarray(part, dtype=np.complex128) for part in (modes, b, c))
    return (
        np.concatenate([a, a.conj()]),
        np.concatenate([b, b.conj()]),
        np.concatenate([c, c.conj()], -1),
    )


def transfer_function(a: ArrayLike, b: ArrayLike, c: ArrayLike, s: ArrayLike) -> Complexes:
    """`C (s - A)^-1 B` at each of `s (S,)`: `(S,)`, or `(S, K, H)` for `K` outputs and `H` inputs.

    >>> transfer_function([-1.0], [2.0], [3.0], [0.0, 1.0j])
    array([6.+0.j, 3.-3.j])
    """
    a, b, c = (np.asarray(part) for part in (a, b, c))
    points = np.asarray(s, dtype=np.complex128)
    if a.ndim == 1:
        states = b / (points.reshape(-1, *[1] * b.ndim) - a.reshape(-1, *[1] * (b.ndim - 1)))
        return np.asarray(states @ c.T if b.ndim == 1 else c @ states)
    one = np.eye(len(a))
    return np.stack([c @ np.linalg.solve(point * one - a, b) for point in points])


def hinf_gap(first: System, second: System, grid: ArrayLike) -> float:
    """The largest distance of two systems' transfer functions on the imaginary axis.

    It is looked for at the frequencies of `grid` and at those of both systems' own modes, between
    which an even grid misses the peaks.

    >>> round(hinf_gap(([-1.0], [1.0], [1.0]), ([-2.0], [1.0], [1.0]), [0.0, 1.0]), 3)
    0.5
    """
    spectra = [np.asarray(system[0]) for system in (first, second)]
    own = [a if a.ndim == 1 else np.linalg.eigvals(a) for a in spectra]
    frequencies = np.concatenate([np.asarray(grid, dtype=np.float64), *(m.imag for m in own)])
    points = 1j * frequencies
    gap = transfer_function(*first, points) - transfer_function(*second, points)
    return float(np.abs(gap).max() if gap.ndim == 1 else np.linalg.norm(gap, 2, (1, 2)).max())
