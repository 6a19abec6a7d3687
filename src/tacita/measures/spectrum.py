"""The spectrum of a representation: how many directions its samples fill, and how evenly.

`z (N, K)` are the features or embeddings of `N` samples. All of it is computed in float64, whatever
the precision of `z`, and no figure depends on a rotation, a common scale or the order of samples.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tacita.errors import ConfigError, DataError


def effective_rank(sigma: Tensor, epsilon: float = 0.0) -> float:
    """`exp(-sum p log p)` of `p = sigma / |sigma|_1 + epsilon`, for singular values `sigma (R,)`.

    Roy and Vetterli's effective rank (2007); with `epsilon` the RankMe of Garrido et al. (2023,
    equations 1 and 2). No spectrum at all counts as one direction.

    >>> round(effective_rank(torch.tensor([3.0, 1.0])), 4)
    1.7548
    """
    total = sigma.sum()
    if not total > 0:
        return 1.0
    p = sigma.double() / total + epsilon
    return float(torch.special.entr(p).sum().exp())


def singular_values(z: Tensor, *, centre: bool = False) -> Tensor:
    """`(min(N, K),)` singular values of `z (N, K)`, the largest first; with `centre`, about its mean.

    Rows that differ by rounding alone have no spread: then all are 0. Raises `DataError` naming a
    row that is not finite, `ConfigError` for what is not a matrix with a row and a column.

    >>> singular_values(torch.ones(4, 1)).tolist(), singular_values(torch.ones(4, 1), centre=True).tolist()
    ([2.0], [0.0])
    """
    values = checked(z)
    if centre:
        centred = values - values.mean(0)
        values = torch.zeros_like(values) if _rounding(centred, values, z.dtype) else centred
    return torch.linalg.svdvals(values)


def alpha_req(z: Tensor) -> float:
    """How fast the variances fall: `alpha` of `lambda_j ~ j^-alpha` (Agrawal et al., 2022).

    The least-squares slope of the logarithms, over the eigenvalues of the covariance that are more
    than rounding. Near 1 is good; much more means few directions. Infinite where there is but one.

    >>> deviations = torch.arange(1, 5).pow(-1.0)
    >>> round(alpha_req(torch.cat([deviations.diag(), -deviations.diag()])), 4)
    2.0
    """
    sigma = singular_values(z, centre=True)
    sigma = sigma[sigma > max(z.shape) * _precision(z.dtype) * sigma[0]]
    if len(sigma) < 2:
        return math.inf
    x = torch.arange(1, len(sigma) + 1, dtype=torch.float64).log()
    y = 2 * sigma.log()
    x = x - x.mean()
    return -float((x * y).sum() / x.square().sum())


def participation_ratio(z: Tensor) -> float:
    """`(sum lambda)^2 / sum lambda^2` over the eigenvalues of the covariance; 1 without any spread.

    >>> round(participation_ratio(torch.cat([torch.eye(3), -torch.eye(3)])), 4)
    3.0
    """
    variances = singular_values(z, centre=True).square()
    squared = variances.square().sum()
    return float(variances.sum().square() / squared) if squared > 0 else 1.0


def stable_rank(z: Tensor) -> float:
    """`|Z|_F^2 / |Z|_2^2`, of `z` as it is, not centred; 1 where all is zero.

    >>> round(stable_rank(torch.diag(torch.tensor([2.0, 1.0, 1.0]))), 4)
    1.5
    """
    return _over_largest(singular_values(z))


def nesum(z: Tensor) -> float:
    """`sum lambda_i / lambda_1` over the eigenvalues of the covariance (He and Ozay, 2022).

    That is the stable rank of the centred `z`; 1 without any spread.

    >>> round(nesum(torch.cat([torch.eye(3), -torch.eye(3)])), 4)
    3.0
    """
    return _over_largest(singular_values(z, centre=True))


class SpectrumTracker:
    """The spectrum of any number of samples, seen batch by batch in the memory of `K x K`.

    It keeps the mean and the scatter about it in float64 (Chan et al., 1983), from which the Gram
    matrix follows, so that nothing cancels where a large common mean hides a small spread. Singular
    values below 1e-8 of the largest are lost in rounding; they carry no weight in an entropy.

    dim: width K of the features.

    >>> tracker = SpectrumTracker(2)
    >>> for batch in torch.tensor([[1.0, 0.0], [0.0, 1.0]]).split(1):
    ...     tracker.update(batch)
    >>> round(tracker.rank(), 4), round(tracker.rank(centre=True), 4)
    (2.0, 1.0)
    """

    def __init__(self, dim: int) -> None:
        if dim < 1:
            raise ConfigError(f"dim={dim}: features have at least one column.")
        self.count = 0
        self.mean = torch.zeros(dim, dtype=torch.float64)
        self.scatter = torch.zeros(dim, dim, dtype=torch.float64)
        self._coarsest = torch.float64

    def update(self, z: Tensor) -> None:
        """Add a batch `(B, K)`. Raises as `singular_values` does, rows counted from the first batch."""
        values = checked(z, first=self.count)
        if values.shape[1] != len(self.mean):
            raise ConfigError(
                f"A batch of {values.shape[1]} features was added to a spectrum of {len(self.mean)}."
            )
        if _precision(z.dtype) > _precision(self._coarsest):
            self._coarsest = z.dtype
        total = self.count + len(values)
        mean = values.mean(0)
        centred, shift = values - mean, mean - self.mean
        self.scatter += centred.T @ centred
        self.scatter += self.count * len(values) / total * torch.outer(shift, shift)
        self.mean += shift * len(values) / total
        self.count = total

    @property
    def gram(self) -> Tensor:
        """`Z^T Z (K, K)` of all samples so far."""
        return self.scatter + self.count * torch.outer(self.mean, self.mean)

    @property
    def spread(self) -> float:
        """Share of the samples' mean square that is variance: 0 where all are one point, 1 at mean 0."""
        energy = self.gram.trace()
        return float(self.scatter.trace() / energy) if energy > 0 else 0.0

    def singular_values(self, *, centre: bool = False) -> Tensor:
        """`(min(N, K),)` of all samples so far, as the function of this name gives them."""
        sigma = gram_singular_values(self.scatter if centre else self.gram, self.count)
        if centre and self.spread <= (4 * _precision(self._coarsest)) ** 2:
            return torch.zeros_like(sigma)
        return sigma

    def rank(self, epsilon: float = 1e-7, *, centre: bool = False) -> float:
        """RankMe of all samples so far."""
        return effective_rank(self.singular_values(centre=centre), epsilon)


def gram_singular_values(gram: Tensor, count: int | None = None) -> Tensor:
    """The singular values of `z` from its Gram matrix `z^T z (K, K)`, the largest first.

    count: the number of samples; no more values than that are kept.

    >>> [round(value, 4) for value in gram_singular_values(torch.diag(torch.tensor([1.0, 9.0]))).tolist()]
    [3.0, 1.0]
    """
    if gram.ndim != 2 or gram.shape[0] != gram.shape[1]:
        raise ConfigError(f"A Gram matrix is square, but this one is {tuple(gram.shape)}.")
    variances = torch.linalg.eigvalsh(checked(gram)).flip(0).clamp_min(0)
    return variances.sqrt()[:count]


def checked(z: Tensor, first: int = 0) -> Tensor:
    """`z` as a finite float64 matrix on the CPU; `first` is the number of its first row in an error."""
    if z.ndim != 2 or not z.numel():
        raise ConfigError(
            f"A representation is (samples, features), but this one is {tuple(z.shape)}.",
            remedy="Give at least one sample; flatten or pool what has more axes.",
        )
    values = z.detach().cpu().double()
    finite = values.isfinite().all(1)
    if not bool(finite.all()):
        row = int((~finite).nonzero()[0])
        raise DataError(
            f"Row {first + row} of the features is not finite.",
            remedy="See the sample of this row, or train with a smaller learning_rate.",
        )
    return values


def _over_largest(sigma: Tensor) -> float:
    variances = sigma.square()
    return float(variances.sum() / variances[0]) if variances[0] > 0 else 1.0


def _precision(dtype: torch.dtype) -> float:
    return torch.finfo(dtype).eps if dtype.is_floating_point else torch.finfo(torch.float64).eps


def _rounding(centred: Tensor, values: Tensor, dtype: torch.dtype) -> bool:
    """Whether what is left about the mean is no more than the digits of `dtype` allow."""
    return bool(centred.norm() <= 4 * _precision(dtype) * values.norm())
