"""Weights of samples: what is refused, what a ratio alone decides, and whose they stay.

What could go wrong: a scale that changes what is learnt, a weight that goes to another sample, or a sample
of weight 0 that is still there.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tacita.data.dataset import Dataset, joined
from tacita.data.weights import checked_weights, even_weights
from tacita.engine.batches import Batches
from tacita.errors import DataError
from tacita.modalities.memory import as_dataset
from tacita.report.describe import describe

LABELLED = torch.tensor([True, True, False])


def rows() -> Dataset:
    return as_dataset(torch.arange(8.0).view(4, 2), ["a", "b", None, "a"], groups=[5, 6, 5, 7])


@pytest.mark.parametrize(
    "weights, said",
    [
        ([1.0, 2.0], r"weights of shape \(2,\) for 3 samples"),
        (np.ones((3, 1)), r"weights of shape \(3, 1\)"),
        ([1.0, np.inf, 1.0], "weight of sample 1 is inf"),
        ([1.0, 1.0, -2.0], "weight of sample 2 is -2"),
        ([0, 0, 0], "all sample weights are zero"),
        ([1.0, np.nan, 1.0], "sample 1, which has a label, is missing"),
        ([1.0, None, 1.0], "sample 1, which has a label, is missing"),
        (["1", "heavy", "1"], "sample 1 is 'heavy', not a number"),
    ],
)
def test_what_is_no_weight_is_refused_by_its_sample(weights: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        checked_weights(weights, LABELLED, "example")


@pytest.mark.parametrize("missing", [None, "", float("nan")])
def test_where_there_is_no_label_a_weight_may_be_missing(missing: Any) -> None:
    weights = checked_weights([2, "3", missing], LABELLED, "example")
    assert weights.tolist() == [2.0, 3.0, 1.0]


positive = st.floats(1e-6, 1e6)


@settings(deadline=None)
@given(st.lists(positive, min_size=3, max_size=3), positive)
def test_only_ratios_of_weights_count(weights: list[float], factor: float) -> None:
    one = even_weights(torch.tensor(weights, dtype=torch.float64), LABELLED)
    other = even_weights(factor * torch.tensor(weights, dtype=torch.float64), LABELLED)
    if one is None or other is None:
        assert weights[0] == pytest.approx(weights[1])
        return
    torch.testing.assert_close(one, other, rtol=1e-12, atol=0)
    assert one[LABELLED].mean().item() == pytest.approx(1)
    assert (one[0] / one[1]).item() == pytest.approx(weights[0] / weights[1])


def test_weights_near_the_largest_number_have_a_mean() -> None:
    weights = even_weights(torch.tensor([1e308, 1.5e308, 1.0], dtype=torch.float64), LABELLED)
    assert weights is not None
    torch.testing.assert_close(weights[:2], torch.tensor([0.8, 1.2], dtype=torch.float64))


def test_a_sample_of_weight_zero_is_absent_and_the_others_keep_theirs() -> None:
    data = rows().weighted([3, 0, 1, 2])
    assert data.weights is not None
    assert (data.weights.tolist(), data.index.tolist()) == ([3.0, 1.0, 2.0], [0, 2, 3])
    assert (data.x.tolist(), data.groups.tolist()) == ([[0, 1], [4, 5], [6, 7]], [0, 0, 2])  # type: ignore[union-attr]
    assert "1 sample of weight 0 left out" in describe(data).notes
    assert data.subset(torch.tensor([2, 0])).weights.tolist() == [2.0, 3.0]  # type: ignore[union-attr]
    assert data.take(torch.tensor([2])).weights.tolist() == [2.0]  # type: ignore[union-attr]
    assert rows().take(torch.arange(2)).weights is None


def test_data_sets_end_to_end_keep_their_weights() -> None:
    weighted = rows().weighted([3, 1, 1, 2])
    assert joined([weighted, rows()]).weights.tolist() == [3, 1, 1, 2, 1, 1, 1, 1]  # type: ignore[union-attr]
    assert joined([rows(), rows()]).weights is None


def test_the_description_says_what_weights_leave_of_the_labels() -> None:
    data = rows().weighted([1, 1, 100, 4])
    # The mean of the labelled is 2; (1 + 1 + 4)^2 / (1 + 1 + 16) = 2.
    assert "weights   0.5 to 2 times the mean, as good as 2 of 3 labels" in str(describe(data))
    assert "weights" not in str(describe(rows().weighted([2, 2, 5, 2])))


def test_batches_without_labels_have_no_weights() -> None:
    from tacita.encoders import build
    from tacita.semisup.fixmatch import FixMatch

    data = rows().normalised().weighted([1, 2, 1, 3]).evened()
    objective = FixMatch(build("feature-tokens", data.spec, dim=8, depth=1), data.task)
    (pair,) = Batches(objective, data, 3, device=torch.device("cpu")).at(0)
    at = {int(i): w for i, w in zip(data.index, data.weights, strict=True)}  # type: ignore[arg-type]
    expected = torch.stack([at[int(i)] for i in pair.labelled.index]).float()  # type: ignore[union-attr]
    assert torch.equal(pair.labelled.weights, expected)  # type: ignore[union-attr]
    assert pair.unlabelled.weights is None  # type: ignore[union-attr]
