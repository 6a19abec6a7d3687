"""A pool of other shares must differ in nothing else: neither in its size nor in what a label says."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tacita.data.dataset import Dataset
from tacita.data.shares import counts_of, with_shares
from tacita.errors import ConfigError, DataError
from tacita.tasks import Classification, Regression


def table() -> Dataset:
    """60 of `a`, 30 of `b`, 10 of `c` and 5 without a label; the first column says which."""
    truth = torch.tensor([0] * 60 + [1] * 30 + [2] * 10 + [-1] * 5)
    truth = truth[torch.randperm(105, generator=torch.Generator().manual_seed(0))]
    x = torch.stack([truth.float(), torch.arange(105).float()], 1)
    return Dataset.of("tables", x, truth, Classification(("a", "b", "c")))


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 0.75, 1.0])
def test_the_size_is_the_same_for_every_share_and_the_share_exact(share: float) -> None:
    pool = with_shares(table(), {"a": share, "b": 1 - share}, size=28)
    assert len(pool) == 28
    assert float((pool.y == 0).double().mean()) == share
    assert torch.equal(pool.x[:, 0], pool.y.float())


def test_its_own_shares_give_its_own_proportions() -> None:
    data = table()
    pool = with_shares(data, {"a": 0.6, "b": 0.3, "c": 0.1}, size=100)
    assert torch.equal(pool.index, data.index[data.labelled])
    half = with_shares(data, {"a": 0.6, "b": 0.3, "c": 0.1}, size=50)
    assert torch.bincount(half.y).tolist() == [30, 15, 5]


def test_samples_stay_in_order_once_each_and_the_larger_share_holds_the_smaller() -> None:
    data = table()
    few, many = (with_shares(data, {"a": s, "b": 1 - s}, size=30, seed=3) for s in (0.4, 0.8))
    for pool in (few, many):
        assert torch.equal(pool.index, pool.index.unique())
        assert torch.equal(data.x[pool.index], pool.x)
    assert set(few.index[few.y == 0].tolist()) < set(many.index[many.y == 0].tolist())


def test_a_seed_fixes_the_draw() -> None:
    draws = [with_shares(table(), {"a": 1.0}, size=20, seed=s).index for s in (0, 0, 1)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


@settings(deadline=None, max_examples=60)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=6), st.integers(1, 500))
def test_counts_are_whole_sum_up_and_are_less_than_one_off(parts: list[float], size: int) -> None:
    shares = torch.tensor([1.0, *parts], dtype=torch.float64)
    counts = counts_of(shares, size)
    assert sum(counts) == size
    for count, exact in zip(counts, (shares / shares.sum() * size).tolist(), strict=True):
        assert abs(count - exact) < 1 + 1e-6


def test_what_cannot_be_drawn_is_refused() -> None:
    data = table()
    with pytest.raises(DataError, match=r"30 of 'c', but there are 10") as raised:
        with_shares(data, {"a": 0.5, "c": 0.5}, size=60)
    assert "at most 20" in raised.value.remedy
    with_shares(data, {"a": 0.5, "c": 0.5}, size=20)
    with pytest.raises(ConfigError, match="'d', which is no class"):
        with_shares(data, {"d": 1.0}, size=2)
    for shares, size in [({"a": 0.5}, 4), ({"a": 1.5, "b": -0.5}, 4), ({"a": 1.0}, 0)]:
        with pytest.raises(ConfigError, match="no parts of a whole"):
            with_shares(data, shares, size=size)
    numbers = Dataset.of("tables", torch.zeros(3, 1), torch.zeros(3), Regression())
    with pytest.raises(ConfigError, match="regression"):
        with_shares(numbers, {"a": 1.0}, size=2)
