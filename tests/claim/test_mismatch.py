"""A pool with strangers is the whole of an experiment: a label that leaks or a wrong share spoils it."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tacita.claim.mismatch import mismatched
from tacita.data.dataset import Dataset
from tacita.data.splits import draw_labels
from tacita.errors import ConfigError, DataError
from tacita.tasks import Classification, Regression


def table(unlabelled: int = 3) -> Dataset:
    """Four classes of 40 samples; the first column says which class it is, whatever the label."""
    truth = torch.arange(160 + unlabelled) % 4
    y = truth.clone()
    y[160:] = -1
    x = torch.stack([truth.float(), torch.arange(len(y)).float()], 1)
    return Dataset.of("tables", x, y, Classification(("a", "b", "c", "d")))


@settings(deadline=None, max_examples=30)
@given(st.sampled_from([0.0, 0.2, 0.25, 1 / 3, 0.4, 0.5]), st.integers(0, 5))
def test_strangers_are_the_share_asked_for_and_have_no_label(share: float, seed: int) -> None:
    pool = mismatched(table(), ["d", "a"], share=share, seed=seed)
    stranger = ~pool.labelled
    assert int(pool.labelled.sum()) == 80
    # The fewest with which their share is not below the one asked for.
    unknown = int(stranger.sum())
    assert unknown / len(pool) >= share - 1e-9
    assert unknown == 0 or (unknown - 1) / (len(pool) - 1) < share
    assert set(pool.x[stranger, 0].tolist()) <= {1.0, 2.0}


def test_labels_are_codes_of_the_known_classes_in_the_order_given() -> None:
    pool = mismatched(table(), ["d", "a"], share=0.5)
    assert pool.task == Classification(("d", "a"))
    assert set(pool.x[pool.y == 0, 0].tolist()) == {3.0}
    assert set(pool.x[pool.y == 1, 0].tolist()) == {0.0}


def test_samples_stay_in_order_with_their_index() -> None:
    data = table()
    pool = mismatched(data, ["a", "b"], share=0.3, seed=4)
    assert torch.equal(pool.index, pool.index.sort().values)
    assert torch.equal(data.x[pool.index], pool.x)
    assert not bool((pool.index >= 160).any()), "a sample that may be of any class is in the pool"


def test_a_seed_fixes_the_strangers() -> None:
    draws = [mismatched(table(), ["a", "b"], share=0.3, seed=s).index for s in (0, 0, 1)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_labels_can_be_hidden_of_the_known_classes() -> None:
    pool = mismatched(table(), ["a", "b"], share=0.5)
    few = pool.hide_labels(draw_labels(pool, 5, 0))
    assert torch.bincount(few.y[few.labelled]).tolist() == [5, 5]
    assert len(few) == len(pool)


def test_what_cannot_be_is_refused() -> None:
    data = table()
    with pytest.raises(ConfigError, match="two or more"):
        mismatched(data, ["a", "z"], share=0.5)
    with pytest.raises(ConfigError, match="two or more"):
        mismatched(data, ["a"], share=0.5)
    with pytest.raises(ConfigError, match=r"share=1\.0"):
        mismatched(data, ["a", "b"], share=1.0)
    with pytest.raises(ConfigError, match="regression"):
        mismatched(data.with_labels(data.y.float(), Regression()), ["a", "b"], share=0.5)
    needed = math.ceil(0.8 * 80 / 0.2)
    with pytest.raises(DataError, match=f"needs {needed} samples.*there are 80") as caught:
        mismatched(data, ["a", "b"], share=0.8)
    assert "at most 0.5" in str(caught.value)
