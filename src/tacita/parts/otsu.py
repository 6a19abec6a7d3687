"""Otsu's threshold: the cut that parts numbers into two groups as far from each other as can be.

Otsu, "A Threshold Selection Method from Gray-Level Histograms", 1979.
"""

from __future__ import annotations

import torch
from torch import Tensor


def otsu(values: Tensor, bins: int = 256) -> float:
    """The centre of the bin after which `(N,)` values, in bins of equal width, are best parted.

    Best is the largest variance between the groups, `n_0 n_1 (m_0 - m_1)^2` of their sizes and
    means; of several such cuts the lowest. Values that are all equal are their own threshold. Computed
    on the CPU in float64: three passes over the values.

    >>> 0 < otsu(torch.tensor([0.0, 0.0, 1.0])) < 1
    True
    """
    values = values.detach().cpu().double()
    low, high = (float(end) for end in values.aminmax())
    if low == high:
        return low
    counts = torch.histc(values, bins, low, high)
    centres = low + (high - low) / bins * (torch.arange(bins).double() + 0.5)
    # The lowest value is in the first bin and the highest in the last, so neither group is empty.
    below, sums = counts.cumsum(0)[:-1], (counts * centres).cumsum(0)
    above = counts.sum() - below
    apart = sums[:-1] / below - (sums[-1] - sums[:-1]) / above
    return float(centres[(below * above * apart.square()).argmax()])
