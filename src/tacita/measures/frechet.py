"""How far are two sets of samples from each other, and is that more than their own noise?

The Frechet distance of the Gaussians that have the mean and the covariance of each set's features
(Dowson and Landau, 1982; the FID of image generation, and of labelled against unlabelled radio galaxies
in Slijepcevic et al., 2022, arXiv 2204.08816). It is estimated too large: two halves of one set are
apart as well, by about `1/n`. So a distance is given with what it is between random parts of the same
sizes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tacita.errors import ConfigError
from tacita.measures.spectrum import checked

DRAWS = 50


@dataclass(frozen=True)
class FrechetDistance:
    """A distance in squared units of the features, read against that of parts of one set.

    value: the distance of the two sets.
    noise, spread: mean and deviation of the distance where both sets are shuffled together and parted
        anew: what the sizes alone make of no difference.
    p: share of those that are as large as the value, the value itself counted.
    variance: of all features of both sets together, summed, as a unit.
    sizes, dim: samples of each set, and features.
    """

    value: float
    noise: float
    spread: float
    p: float
    variance: float
    sizes: tuple[int, int]
    dim: int

    @property
    def excess(self) -> float:
        """The value without its noise, as a share of the variance: 0 in the mean for sets of one law."""
        return (self.value - self.noise) / self.variance if self.variance > 0 else 0.0

    def line(self) -> str:
        """One line for the screen."""
        return (
            f"{self.value:.4g} between {self.sizes[0]} and {self.sizes[1]} samples of {self.dim} "
            f"features; {self.noise:.4g} +- {self.spread:.2g} by chance (p {self.p:.2g})"
        )


def frechet(a: Tensor, b: Tensor, *, draws: int = DRAWS, seed: int = 0) -> FrechetDistance:
    """The distance of the features `a (N, D)` and `b (M, D)`, in float64, with its noise.

    draws: random partings of both sets together; no p is below `1 / (draws + 1)`. Each costs `D^3`.

    Fewer samples than features are no error: a singular covariance has a root too. But then the noise
    is most of the distance; a few principal components say more. Raises `ConfigError` for features of
    different widths or fewer than two samples, `DataError` naming a row that is not finite.

    >>> a = torch.randn(200, 4, generator=torch.Generator().manual_seed(0))
    >>> far = frechet(a[:100], a[100:] + 1)
    >>> round(far.value), far.value > far.noise, round(far.p, 2)
    (4, True, 0.02)
    """
    a, b = checked(a), checked(b)
    if a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2 or draws < 1:
        raise ConfigError(
            f"There is no distance of features {tuple(a.shape)} and {tuple(b.shape)} "
            f"with {draws} draws.",
            remedy="Give two samples or more of each set, in features of one encoder.",
        )
    value = gaussian_distance(*moments(a), *moments(b))
    both = torch.cat([a, b])
    both = both - both.mean(0)
    generator = torch.Generator().manual_seed(seed)
    gram, count = both.T @ both, min(len(a), len(b))
    by_chance = torch.tensor(
        [_parted(both, gram, count, generator) for _ in range(draws)], dtype=torch.float64
    )
    return FrechetDistance(
        value=value,
        noise=float(by_chance.mean()),
        spread=float(by_chance.std(correction=0)),
        p=float((1 + (by_chance >= value).sum()) / (1 + draws)),
        variance=float(both.square().sum() / (len(both) - 1)),
        sizes=(len(a), len(b)),
        dim=a.shape[1],
    )


def gaussian_distance(
    mean_a: Tensor, covariance_a: Tensor, mean_b: Tensor, covariance_b: Tensor
) -> float:
    """`|mean_a - mean_b|^2 + tr(A + B - 2 (A B)^(1/2))` for means `(D,)` and covariances `A`, `B (D, D)`.

    The trace of the root is the sum of the singular values of `A^(1/2) B^(1/2)`: real, never negative,
    and exact for singular covariances, where the root of the product `A B` is not.

    >>> one = torch.eye(2, dtype=torch.float64)
    >>> round(gaussian_distance(torch.zeros(2), one, torch.ones(2), 4 * one), 6)
    4.0
    """
    shift = (mean_a - mean_b).square().sum()
    shared = torch.linalg.svdvals(_root(covariance_a) @ _root(covariance_b)).sum()
    return max(0.0, float(shift + covariance_a.trace() + covariance_b.trace() - 2 * shared))


def moments(z: Tensor) -> tuple[Tensor, Tensor]:
    """Mean `(D,)` and covariance `(D, D)` of features `z (N, D)`, in float64."""
    z = z.double()
    mean = z.mean(0)
    centred = z - mean
    return mean, centred.T @ centred / (len(z) - 1)


def _parted(both: Tensor, gram: Tensor, count: int, generator: torch.Generator) -> float:
    """The distance of `count` random rows and the others, whose sums are what is left of the whole."""
    part = both[torch.randperm(len(both), generator=generator)[:count]]
    total, own = part.sum(0), part.T @ part
    some = _from_sums(total, own, count)
    return gaussian_distance(*some, *_from_sums(-total, gram - own, len(both) - count))


def _from_sums(total: Tensor, gram: Tensor, count: int) -> tuple[Tensor, Tensor]:
    mean = total / count
    return mean, (gram - count * torch.outer(mean, mean)) / (count - 1)


def _root(covariance: Tensor) -> Tensor:
    """The symmetric root; eigenvalues that are rounding alone are none."""
    values, vectors = torch.linalg.eigh(covariance)
    least = len(values) * torch.finfo(values.dtype).eps * values[-1]
    values = torch.where(values > least, values, 0.0)
    return (vectors * values.sqrt()) @ vectors.T
