"""Samples in the wrong order or of the wrong channel would still have the right shape."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tacita.modalities.series.rates import per_column, rate_groups, to_rows, to_signals

RATES = st.lists(st.integers(1, 5), min_size=1, max_size=6)


@given(RATES, st.integers(1, 6))
@settings(max_examples=60, deadline=None)
def test_signals_are_the_samples_of_each_channel_in_time(rates, seconds):
    x = torch.randn(2, seconds, sum(rates))
    channels = x.split(rates, 2)
    for group in rate_groups(rates):
        signals = to_signals(x, torch.tensor(group.columns), group.rate)
        for own, channel in zip(signals.unbind(1), group.channels, strict=True):
            assert torch.equal(own, channels[channel].flatten(1))
        assert torch.equal(to_rows(signals, group.rate), x[:, :, list(group.columns)])


@given(RATES)
@settings(max_examples=60, deadline=None)
def test_every_channel_and_column_is_in_one_group(rates):
    groups = rate_groups(rates)
    assert sorted(c for group in groups for c in group.channels) == list(range(len(rates)))
    assert sorted(c for group in groups for c in group.columns) == list(range(sum(rates)))
    owner = per_column(torch.arange(len(rates)), rates)
    for group in groups:
        rows = [c for channel in group.channels for c in [channel] * group.rate]
        assert owner[list(group.columns)].tolist() == rows
