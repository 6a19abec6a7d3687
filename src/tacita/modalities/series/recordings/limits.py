"""Rare extremes of sensors clipped at percentiles of the training data, before they are normalised."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tacita.data.dataset import Dataset
from tacita.errors import ConfigError, DataError
from tacita.modalities.series.rates import channel_rates
from tacita.values import length_mask, with_tensor

MOST = 2**24
"""Samples of a channel from which percentiles are taken; of more, every so many."""


@dataclass(frozen=True)
class Limits:
    """The lowest and highest value of each column, `(C,)`; the columns of a channel share them.

    `Limits.fit(train)` looks at training data only; the same limits then go over every other part:

        limits = Limits.fit(train)
        train, test = limits(train), limits(test)

    Clip first: `normalised` then takes mean and deviation of the clipped values. A saved model keeps
    its normaliser but not the limits, so apply them to later recordings too; `low` and `high` are
    plain tensors to be saved.
    """

    low: Tensor
    high: Tensor

    @classmethod
    def fit(cls, data: Dataset, *, percent: float = 0.5) -> Limits:
        """The `percent`-th and the `100 - percent`-th percentile of each channel, over all windows.

        percent: share cut off at either end; the default is that of Corponi et al., 2024.
        Raises `ConfigError` for a share that leaves nothing, `DataError` for data of another kind.
        """
        if not 0 <= percent < 50:
            raise ConfigError(f"percent={percent} is not from 0 to 50.", remedy="0.5 is usual.")
        if data.modality != "series":
            raise DataError(f"{data.source}: limits are for series, not {data.modality}.")
        rates = channel_rates(data.spec)
        lows: list[Tensor] = []
        highs: list[Tensor] = []
        mask = None if data.lengths is None else length_mask(data.lengths, data.x.shape[1])
        for channel in torch.split(data.x, list(rates), 2):
            values = (channel if mask is None else channel[mask]).flatten()
            values = values[:: max(1, -(-len(values) // MOST))].double()
            values = values[~values.isnan()].sort().values
            if not len(values):
                raise DataError(f"{data.source}: a channel has no value at all.")
            for found, share in ((lows, percent / 100), (highs, 1 - percent / 100)):
                found.append(_quantile(values, share).expand(channel.shape[2]))
        return cls(torch.cat(lows).float(), torch.cat(highs).float())

    def __call__(self, data: Dataset) -> Dataset:
        """The data set with every value within the limits; padding stays zero."""
        x = torch.minimum(torch.maximum(data.x, self.low), self.high)
        if data.lengths is not None:
            x = x * length_mask(data.lengths, x.shape[1])[:, :, None]
        return data.with_samples(with_tensor(data.samples, x))


def _quantile(ordered: Tensor, share: float) -> Tensor:
    """Linear between neighbours; `torch.quantile` takes at most 16 million values."""
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return torch.lerp(ordered[below], ordered[above], place - below)
