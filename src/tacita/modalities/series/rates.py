"""Rows of seconds to signals and back, for series whose channels have rates of their own.

`x (B, S, C)` holds in each of `S` rows the samples of one second, channel after channel
(`InputSpec.rates`). Channels of one rate are handled together, so that there is no loop over channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tacita.data.batch import InputSpec


@dataclass(frozen=True)
class RateGroup:
    """The channels that have one rate, and where their samples stand in a row.

    Shapes: `columns` is `len(channels) * rate` positions, channel after channel.
    """

    rate: int
    channels: tuple[int, ...]
    columns: tuple[int, ...]


def channel_rates(spec: InputSpec) -> tuple[int, ...]:
    """Samples a row of each channel; an ordinary series has one of each.

    >>> channel_rates(InputSpec("series", (10, 3))), channel_rates(InputSpec("series", (10, 3), rates=(1, 2)))
    ((1, 1, 1), (1, 2))
    """
    return spec.rates or (1,) * spec.channels


def rate_groups(rates: Sequence[int]) -> tuple[RateGroup, ...]:
    """The channels by their rate, in the order in which rates first come.

    >>> [(g.rate, g.channels, g.columns) for g in rate_groups((2, 1, 2))]
    [(2, (0, 2), (0, 1, 3, 4)), (1, (1,), (2,))]
    """
    begins = [sum(rates[:channel]) for channel in range(len(rates))]
    groups = []
    for rate in dict.fromkeys(rates):
        channels = tuple(i for i, own in enumerate(rates) if own == rate)
        columns = tuple(begins[i] + sample for i in channels for sample in range(rate))
        groups.append(RateGroup(rate, channels, columns))
    return tuple(groups)


def to_signals(x: Tensor, columns: Tensor, rate: int) -> Tensor:
    """`(B, S, C)` to `(B, n, S * rate)`: the signals of the channels at these columns `(n * rate,)`."""
    batch, seconds = x.shape[:2]
    rows = x[:, :, columns].reshape(batch, seconds, -1, rate)
    return rows.transpose(1, 2).flatten(2)


def to_rows(signals: Tensor, rate: int) -> Tensor:
    """`(B, n, S * rate)` signals to rows `(B, S, n * rate)`: what `to_signals` took."""
    batch, channels = signals.shape[:2]
    return signals.reshape(batch, channels, -1, rate).transpose(1, 2).flatten(2)


def per_column(values: Tensor, rates: Sequence[int]) -> Tensor:
    """`(..., channels)` repeated for every sample of a channel: `(..., C)`.

    >>> per_column(torch.tensor([1, 2]), (1, 3)).tolist()
    [1, 2, 2, 2]
    """
    times = torch.tensor(tuple(rates), device=values.device)
    return values.repeat_interleave(times, -1, output_size=sum(rates))
