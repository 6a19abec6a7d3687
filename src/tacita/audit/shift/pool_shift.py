"""Are the unlabelled samples like the labelled ones? A look before any training, by cheap features.

Unlabelled samples of another kind (another instrument, other classes, other shares of the classes) can make a
classifier worse than labels alone do. What is compared is the Frechet distance of a few features
that any samples have, against its own noise; see `tacita.measures.frechet`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tacita.data.dataset import Dataset
from tacita.measures.frechet import FrechetDistance, frechet
from tacita.values import CONSTANT

FEWEST = 20
"""Labelled samples below which nothing is said: the noise would hide all but another world."""
COMPONENTS = 6
SAMPLES = 2000
NUMBERS = 2**24
"""Of all values that are looked at: 2,000 small images, or 100 large ones."""
DRAWS = 199
"""So that at most one in 200 pools of the labelled samples' own kind is further than all draws."""
FAR = 0.05
"""Share of the variance below which a distance that is no chance is still nothing to speak of."""
OUTLYING = 4.0


def pool_shift(data: Dataset, *, seed: int = 0) -> FrechetDistance | None:
    """The distance of labelled and unlabelled samples by `cheap_features`, in a second or less.

    Samples of one group hang together, so a group's mean counts as one sample. None where there are
    fewer than 20 of either kind, and for samples without cheap features.
    """
    labelled = data.labelled
    parts = [_drawn(data, kind, seed) for kind in (labelled, ~labelled)]
    if min(len(part) for part in parts) < FEWEST:
        return None
    values = cheap_features(data.subset(torch.cat(parts)))
    if values is None:
        return None
    few = torch.arange(len(values)) < len(parts[0])
    if data.groups is not None:
        values, few = _by_group(values, few, data.groups[torch.cat(parts)])
        if min(int(few.sum()), int((~few).sum())) < FEWEST:
            return None
    return frechet(values[few], values[~few], draws=DRAWS, seed=seed)


def is_far(distance: FrechetDistance) -> bool:
    """Whether a distance is larger than all that chance gave, and large enough to be told.

    >>> is_far(FrechetDistance(1.0, 0.5, 0.1, 0.005, 8.0, (20, 200), 8))
    True
    """
    return distance.p <= 1 / (DRAWS + 1) and distance.excess >= FAR


def cheap_features(data: Dataset) -> Tensor | None:
    """`(N, D)` standardised features, `D` at most 8, that need no training.

    The first 6 principal components of coarse values (an image of 8 x 8 cells, 16 points of a series, a
    table's columns), and of all but tables how much neighbours differ and values spread. None for
    samples that have none.
    """
    found = data.kind.coarse(data)
    if found is None:
        return None
    coarse, texture = found
    coarse = _standardised(coarse)
    kept = min(COMPONENTS, *coarse.shape)
    _, _, directions = torch.linalg.svd(coarse, full_matrices=False)
    return _standardised(torch.cat([coarse @ directions[:kept].T, _standardised(texture)], 1))


def _drawn(data: Dataset, kind: Tensor, seed: int) -> Tensor:
    """Positions of at most so many samples of a kind that they can be looked at quickly."""
    positions = kind.nonzero().squeeze(1)
    most = min(SAMPLES, NUMBERS // (2 * max(1, data.x[0].numel())))
    order = torch.randperm(len(positions), generator=torch.Generator().manual_seed(seed))
    return positions[order[:most].sort().values]


def _standardised(values: Tensor) -> Tensor:
    """Each column to mean 0 and deviation 1 in float64; what is missing is the mean, outliers are cut."""
    values = values.double()
    mean = values.nanmean(0)
    centred = (values - mean).nan_to_num(0.0, 0.0, 0.0)
    deviation = centred.square().mean(0).sqrt()
    scaled = torch.where(deviation > CONSTANT * mean.abs(), centred / deviation, 0.0)
    return scaled.clamp(-OUTLYING, OUTLYING)


def _by_group(values: Tensor, few: Tensor, groups: Tensor) -> tuple[Tensor, Tensor]:
    """The mean of each group's samples of either kind, and of which kind it is."""
    keys, place = torch.unique(2 * groups + few.long(), return_inverse=True)
    sums = values.new_zeros(len(keys), values.shape[1]).index_add_(0, place, values)
    return sums / torch.bincount(place)[:, None], keys % 2 == 1
